//! Input that does not end while a test does something: small files, put there whole, and one that grows. However fast the machine is, there
//! is something to ship and a transaction under way.

use std::fs::{self, File};
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use fastrand::Rng;

use super::agent::Agent;
use super::check::{Written, exactly};
use super::corpus;
use super::job::Job;

const GROWS: &str = "grows.log";

/// Runs until it is stopped or dropped.
pub struct Feed {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Vec<Written>>>,
}

impl Feed {
    /// Something new every `pace`.
    pub fn start(job: &Job, seed: u64, pace: Duration) -> Feed {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, spool, new) = (stop.clone(), job.spool.clone(), job.home().join("fed"));
        let thread = std::thread::spawn(move || {
            let mut rng = Rng::with_seed(seed);
            let mut growing = File::create(spool.join(GROWS)).unwrap();
            let (mut grown, mut written) = (vec![], vec![]);
            while !stopped.load(Ordering::SeqCst) {
                let lines = rng.usize(0..60);
                let content = corpus::lines(rng.u64(..), 1, lines);
                // Not at the end of a line, as writers with a buffer do.
                let part = &content[..content.len() - content.len() / 7];
                growing.write_all(part).unwrap();
                grown.extend_from_slice(part);
                let name = format!("fed-{:05}.log", written.len());
                fs::write(&new, &content).unwrap();
                fs::rename(&new, spool.join(&name)).unwrap();
                written.push(Written::of(name.as_bytes(), content));
                std::thread::sleep(pace);
            }
            written.push(Written::of(GROWS.as_bytes(), grown));
            written
        });
        Feed { stop, thread: Some(thread) }
    }

    /// No more input; all that there was.
    pub fn stop(mut self) -> Vec<Written> {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.take().unwrap().join().unwrap()
    }

    /// No more input, and when the agent has shipped all that there was, it is there once and in order.
    pub fn ends_exactly(self, job: &Job, agent: &Agent) {
        let written = self.stop();
        agent.drained(written.len() as u64, Duration::from_secs(300));
        exactly(job, &written);
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // where the test failed, its own words matter
        }
    }
}
