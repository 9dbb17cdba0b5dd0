//! Points between two steps of I/O, where a test kills this process or lets the next call fail. I/O: it kills.
//!
//! Nothing of it is in a build without the feature `failpoints`, and only the tests make one with it (`make test`, `make storm`). There
//! the environment variable [`VARIABLE`] says what happens at the n-th time that a point is passed, several of them with commas:
//! * `after-append=kill@3`: at the third time the process is gone, as by `kill -9`: nothing unwinds, nothing is dropped.
//! * `before-commit=kill@3+5`: the same 5 ms later, so in the middle of what comes next.
//! * `before-rename=ENOSPC@1-4`: the first four times the call fails so. Only where the point is in front of a call on a disk.
//!
//! Invariant: in other builds a point is an empty function that never fails.

use std::str::FromStr;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::io::Errno;

/// Says what happens where.
pub const VARIABLE: &str = "SPOOLWAY_FAULTS";

macro_rules! points {
    ($($(#[$doc:meta])+ $point:ident = $name:literal,)+) => {
        /// A place in the code; all there are.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Point { $($(#[$doc])+ $point,)+ }

        impl Point {
            /// All of them.
            pub const ALL: &[Point] = &[$(Point::$point,)+];

            /// What [`VARIABLE`] calls it.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Point::$point => $name,)+ }
            }
        }
    };
}

points! {
    /// The directory is about to be listed.
    BeforeList = "before-list",
    /// It is listed.
    AfterList = "after-list",
    /// A file is about to be read.
    BeforeRead = "before-read",
    /// A chunk is read.
    AfterRead = "after-read",
    /// A file is about to get its completed name.
    BeforeRename = "before-rename",
    /// It has it.
    AfterRename = "after-rename",
    /// A file is about to be deleted.
    BeforeDelete = "before-delete",
    /// It is.
    AfterDelete = "after-delete",
    /// The directory is about to be synced.
    BeforeSync = "before-sync",
    /// It is.
    AfterSync = "after-sync",
    /// `init_transactions` returned; progress is not read yet.
    AfterInit = "after-init",
    /// Progress is read.
    AfterProgressRead = "after-progress-read",
    /// A transaction is begun.
    AfterBegin = "after-begin",
    /// Lines of a chunk are with the client.
    AfterAppend = "after-append",
    /// The records of a transaction are about to be waited for.
    BeforeFlush = "before-flush",
    /// The brokers have them.
    AfterFlush = "after-flush",
    /// A file's progress is about to be added.
    BeforeProgress = "before-progress",
    /// It is with the client.
    AfterProgress = "after-progress",
    /// A segment or receipt is about to be added.
    BeforeEvidence = "before-evidence",
    /// It is with the client.
    AfterEvidence = "after-evidence",
    /// The transaction is about to be committed.
    BeforeCommit = "before-commit",
    /// It is; nobody was told yet.
    AfterCommit = "after-commit",
}

/// A point that nothing but a kill can happen at.
pub fn at(point: Point) {
    if cfg!(feature = "failpoints") {
        // An error makes no sense here, and none is let in.
        let _ = PLAN.iter().try_for_each(|fault| fault.passed(point));
    }
}

/// A point in front of a call on a disk.
///
/// # Errors
/// The one that a test wants the call to end with.
pub fn fails(point: Point) -> Result<(), Errno> {
    if cfg!(feature = "failpoints") { PLAN.iter().try_for_each(|fault| fault.passed(point)) } else { Ok(()) }
}

static PLAN: LazyLock<Vec<Fault>> = LazyLock::new(|| {
    let text = std::env::var(VARIABLE).unwrap_or_default();
    plan(&text).unwrap_or_else(|why| {
        tracing::error!("{VARIABLE}: {why}");
        std::process::exit(2)
    })
});

#[derive(Debug, Clone, Copy, PartialEq)]
enum What {
    Kill { after: Duration },
    Fail(Errno),
}

#[derive(Debug)]
struct Fault {
    point: Point,
    what: What,
    first: u64,
    last: u64,
    passed: AtomicU64,
}

impl Fault {
    fn passed(&self, point: Point) -> Result<(), Errno> {
        if point != self.point {
            return Ok(());
        }
        let count = self.passed.fetch_add(1, Ordering::Relaxed) + 1;
        match self.what {
            _ if !(self.first..=self.last).contains(&count) => Ok(()),
            What::Fail(errno) => Err(errno),
            What::Kill { after: Duration::ZERO } => die(),
            What::Kill { after } => {
                std::thread::spawn(move || {
                    std::thread::sleep(after);
                    die()
                });
                Ok(())
            }
        }
    }
}

fn die() -> ! {
    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    std::process::abort()
}

fn plan(text: &str) -> Result<Vec<Fault>, String> {
    text.split(',').filter(|part| !part.is_empty()).map(str::parse).collect()
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("'{text}' is not POINT=kill@N, POINT=kill@N+MILLISECONDS or POINT=ERRNO@N-M");
        let (name, rest) = text.split_once('=').ok_or_else(wrong)?;
        let (what, when) = rest.split_once('@').ok_or_else(wrong)?;
        let number = |text: &str| text.parse::<u64>().map_err(|_| wrong());
        let point = Point::ALL.iter().find(|point| point.name() == name);
        let point = *point.ok_or_else(|| format!("there is no point '{name}'"))?;
        let ((first, last), what) = match errno(what) {
            Some(errno) => {
                let (first, last) = when.split_once('-').unwrap_or((when, when));
                ((number(first)?, number(last)?), What::Fail(errno))
            }
            None if what == "kill" => {
                let (first, after) = when.split_once('+').unwrap_or((when, "0"));
                let first = number(first)?;
                ((first, first), What::Kill { after: Duration::from_millis(number(after)?) })
            }
            None => return Err(wrong()),
        };
        Ok(Fault { point, what, first, last, passed: AtomicU64::new(0) })
    }
}

fn errno(name: &str) -> Option<Errno> {
    let known = [
        ("EACCES", Errno::ACCESS),
        ("EIO", Errno::IO),
        ("ENOSPC", Errno::NOSPC),
        ("EROFS", Errno::ROFS),
        ("ESTALE", Errno::STALE),
    ];
    known.into_iter().find(|(known, _)| *known == name).map(|(_, errno)| errno)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_fails_at_the_times_named_and_at_no_others() {
        let faults = plan("before-rename=ENOSPC@2-3").unwrap();
        let passed: Vec<_> = (0..5).map(|_| faults[0].passed(Point::BeforeRename)).collect();
        assert_eq!(passed, [Ok(()), Err(Errno::NOSPC), Err(Errno::NOSPC), Ok(()), Ok(())]);
        assert_eq!(faults[0].passed(Point::AfterRename), Ok(()));
    }

    #[test]
    fn a_plan_names_point_what_and_when() {
        let [one, two] = &plan("after-append=kill@3,before-commit=kill@1+5").unwrap()[..] else { panic!() };
        assert_eq!((one.point, one.what), (Point::AfterAppend, What::Kill { after: Duration::ZERO }));
        assert_eq!((one.first, one.last), (3, 3));
        assert_eq!((two.point, two.what), (Point::BeforeCommit, What::Kill { after: Duration::from_millis(5) }));
        assert!(plan("").unwrap().is_empty());
        for wrong in
            ["after-append", "after-append=kill", "after-append=kill@x", "nowhere=kill@1", "after-list=EWHAT@1"]
        {
            plan(wrong).unwrap_err();
        }
    }
}
