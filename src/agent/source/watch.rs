//! inotify as a hint that something changed. Without it (limits, old kernels) polling finds everything, only later.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};

/// What is a change of a directory.
const EVENTS: WatchFlags = WatchFlags::CREATE
    .union(WatchFlags::MOVED_TO)
    .union(WatchFlags::MODIFY)
    .union(WatchFlags::CLOSE_WRITE)
    .union(WatchFlags::ATTRIB)
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::MOVE_SELF)
    .union(WatchFlags::ONLYDIR);

/// A watch on the directories, and the descriptor that tells to stop.
pub struct Watch {
    inotify: Option<OwnedFd>,
    stop: OwnedFd,
    /// A change was seen and not yet listed: more of them need not wake anybody.
    changed: bool,
}

impl Watch {
    /// Watches nothing yet; `stop` becomes readable when the agent is to end.
    pub fn new(stop: OwnedFd) -> Self {
        Watch { inotify: None, stop, changed: false }
    }

    /// Watches the directory behind `path` from now on, instead of the one before.
    pub fn on(&mut self, path: &str) {
        self.inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)
            .and_then(|fd| inotify::add_watch(&fd, path, EVENTS).map(|_| fd))
            .inspect_err(|e| tracing::debug!("no inotify ({e}); the directory is polled"))
            .ok();
        self.changed = false;
    }

    /// Watches one more directory.
    pub fn also(&self, path: &str) {
        if let Some(Err(e)) = self.inotify.as_ref().map(|fd| inotify::add_watch(fd, path, EVENTS)) {
            tracing::debug!("no inotify for a sub-directory ({e}); it is polled");
        }
    }

    /// A listing is about to see everything up to now.
    pub fn listed(&mut self) {
        self.drain();
        self.changed = false;
    }

    /// Waits for the time to pass, a stop, or a change; true for a change.
    pub fn wait(&mut self, time: Duration) -> bool {
        let inotify = self.inotify.as_ref().filter(|_| !self.changed).map(AsFd::as_fd);
        let fds: Vec<BorrowedFd> = [Some(self.stop.as_fd()), inotify].into_iter().flatten().collect();
        let mut polled: Vec<PollFd> = fds.iter().map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)).collect();
        let timeout = Timespec { tv_sec: time.as_secs() as i64, tv_nsec: i64::from(time.subsec_nanos()) };
        // An interrupted poll ends the wait early, which is harmless: the channel is asked again.
        let _ = poll(&mut polled, Some(&timeout));
        let changed = polled.get(1).is_some_and(|fd| fd.revents().contains(PollFlags::IN));
        if changed {
            self.drain();
            self.changed = true;
        }
        changed
    }

    fn drain(&mut self) {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        if let Some(fd) = &self.inotify {
            let mut events = inotify::Reader::new(fd, &mut buffer);
            while events.next().is_ok() {}
        }
    }
}
