//! Why a spool directory cannot be used, and what to do about it. Asks the directory who owns it, nothing else.

use std::os::fd::OwnedFd;

use rustix::fs::{Access, AtFlags};
use rustix::io::Errno;

use super::super::SourceError;
use super::SpoolDir;
use crate::pipeline::{self, report::FlowReason};

impl SpoolDir {
    pub(in crate::agent::source) fn missing(&self, errno: Errno) -> SourceError {
        let path = self.settings.path.escape_debug();
        if let Some(root) = self.way.root_is_gone() {
            let message = format!(
                "{root} was removed on this node while the agent had it mounted; it ends, so that what is there now is mounted"
            );
            return SourceError { ends: true, ..SourceError::new(FlowReason::SpoolDirectoryMissing, message) };
        }
        let message = match errno {
            Errno::NOENT => {
                format!("spool directory {path} does not exist; create it, or correct spec.source.spoolDir.path")
            }
            Errno::NOTDIR => {
                format!("spool directory {path} is not a directory; correct spec.source.spoolDir.path")
            }
            Errno::ACCESS | Errno::PERM => {
                format!("spool directory {path} cannot be read by uid {}; {}", uid(), self.owner_advice())
            }
            Errno::LOOP | Errno::XDEV => format!(
                "spool directory {path} is reached by a link, which is not followed; put a directory there, or correct spec.source.spoolDir.path"
            ),
            Errno::STALE => format!("spool directory {path} was replaced by another; it is opened anew"),
            other => format!("spool directory {path} cannot be read: {other}"),
        };
        SourceError::new(FlowReason::SpoolDirectoryMissing, message)
    }

    pub(in crate::agent::source) fn unlocked(&self, errno: Errno) -> SourceError {
        let path = self.settings.path.escape_debug();
        if errno == Errno::WOULDBLOCK {
            let message =
                format!("another agent has {path} locked; this one waits, and takes over when the other ends");
            return SourceError::new(FlowReason::AnotherAgentRunning, message);
        }
        let message =
            format!("spool directory {path} cannot be locked: {errno}; a file system with flock is needed");
        SourceError::new(FlowReason::SpoolDirectoryMissing, message)
    }

    /// Whom the directory belongs to, and what to set.
    pub(super) fn owner_advice(&self) -> String {
        let Ok(stat) = self.way.stat() else { return "run the agent as a user that may".into() };
        let (user, group) = (stat.st_uid, stat.st_gid);
        let set = if self.way.has_root() {
            format!("set spec.placement.daemonSet.runAsUser: {user} and runAsGroup: {group}")
        } else {
            "run the agent as that user".into()
        };
        format!("it belongs to uid {user}, gid {group}: {set}, or change the owner or mode")
    }

    /// Renaming and deleting need write permission on the directory: better said before anything is shipped.
    pub(in crate::agent::source) fn check_writable(&self, dir: &OwnedFd) -> Result<(), SourceError> {
        let what = match self.settings.completion {
            pipeline::Completion::Rename => "renamed",
            pipeline::Completion::Delete => "deleted",
            pipeline::Completion::Track => return Ok(()),
        };
        let path = self.settings.path.escape_debug();
        let advice = match rustix::fs::accessat(dir, ".", Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS) {
            Ok(()) => return Ok(()),
            Err(Errno::ROFS) => "it is mounted read-only: mount it writable, or set completion: Track".to_owned(),
            Err(_) => self.owner_advice(),
        };
        let message = format!("files in {path} cannot be {what} by uid {} when they are shipped; {advice}", uid());
        Err(SourceError::new(FlowReason::CannotComplete, message))
    }
}

fn uid() -> u32 {
    rustix::process::geteuid().as_raw()
}
