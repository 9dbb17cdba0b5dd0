//! How the agent ends: the first signal commits what is read, a watchdog sees that it leaves in time, a second signal leaves at once.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// Signals closer than this are one: `timeout` and shells send one to a process and to its group.
const SAME: Duration = Duration::from_millis(100);
/// Exit code when the watchdog, or a second signal, ended the process.
const LEFT: i32 = 1;

/// Tells the loop to end.
#[derive(Clone)]
pub struct Stop {
    flag: Arc<AtomicBool>,
    /// Closed on stop, which wakes a waiting loop.
    pipe: Arc<Mutex<Option<OwnedFd>>>,
}

impl Stop {
    /// The stop, and the descriptor that becomes readable (hung up) with it.
    ///
    /// # Errors
    /// No pipe can be made.
    pub fn new() -> std::io::Result<(Stop, OwnedFd)> {
        let (wakes, pipe) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        let stop = Stop { flag: Arc::default(), pipe: Arc::new(Mutex::new(Some(pipe))) };
        Ok((stop, wakes))
    }

    /// Set once the agent is to end.
    pub fn flag(&self) -> Arc<AtomicBool> {
        self.flag.clone()
    }

    /// Ends the loop at the next transaction boundary.
    pub fn stop(&self) {
        self.flag.store(true, Ordering::Relaxed);
        self.pipe.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Stops on SIGTERM and SIGINT. The process is gone `drain` after the first of them, whatever Kafka does: what was open is
    /// then aborted by the successor.
    ///
    /// # Errors
    /// The handlers cannot be installed.
    pub fn on_signals(&self, drain: Duration) -> std::io::Result<()> {
        let mut signals = Signals::new([SIGTERM, SIGINT])?;
        let stop = self.clone();
        std::thread::Builder::new().name("signals".into()).spawn(move || {
            let mut first: Option<Instant> = None;
            for _ in signals.forever() {
                if first.is_some_and(|at| at.elapsed() < SAME) {
                    continue;
                }
                if first.replace(Instant::now()).is_some() {
                    tracing::warn!("second signal: leaving at once; what is not committed is read again next time");
                    std::process::exit(LEFT);
                }
                tracing::info!("stopping: what is read is committed first, within {} s", drain.as_secs_f64());
                stop.stop();
                watchdog(drain);
            }
        })?;
        Ok(())
    }
}

fn watchdog(drain: Duration) {
    std::thread::spawn(move || {
        std::thread::sleep(drain);
        tracing::warn!(
            "not done after {} s: leaving; what is not committed is read again next time",
            drain.as_secs_f64()
        );
        std::process::exit(LEFT);
    });
}
