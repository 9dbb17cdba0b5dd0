//! Read leases (`F_SETLEASE`): does a writer have the file open? The one thing rustix 1 has no call for.
//!
//! A lease is granted to the file's owner only, on local file systems; it ends with the descriptor.

#![allow(unsafe_code)]

use std::os::fd::{AsFd, AsRawFd};

use crate::agent::channel::Writer;

const NFS_SUPER_MAGIC: i64 = 0x6969;

/// Asks for a read lease on a descriptor opened for reading; `Writer::None` holds until it is closed or [`release`]d.
pub fn ask(file: impl AsFd) -> Writer {
    let file = file.as_fd();
    // NFS answers EAGAIN whenever it holds no delegation, which says nothing about writers.
    #[allow(clippy::unnecessary_cast)] // the field's width differs between architectures
    if rustix::fs::fstatfs(file).is_ok_and(|fs| fs.f_type as i64 == NFS_SUPER_MAGIC) {
        return Writer::Unknown;
    }
    match set(file.as_raw_fd(), libc::F_RDLCK) {
        Ok(()) => Writer::None,
        Err(libc::EAGAIN) => Writer::Open,
        Err(_) => Writer::Unknown,
    }
}

/// Gives a lease back.
pub fn release(file: impl AsFd) {
    let _ = set(file.as_fd().as_raw_fd(), libc::F_UNLCK);
}

/// A writer that opens a leased file makes the kernel send SIGIO, whose default ends the process: ignore it.
pub fn ignore_sigio() {
    // SAFETY: SIG_IGN installs no handler of ours; the call has no other effect.
    unsafe { libc::signal(libc::SIGIO, libc::SIG_IGN) };
}

fn set(fd: i32, kind: i32) -> Result<(), i32> {
    // SAFETY: F_SETLEASE takes an int and touches no memory of ours.
    match unsafe { libc::fcntl(fd, libc::F_SETLEASE, kind) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error().raw_os_error().unwrap_or(0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{File, OpenOptions};

    #[test]
    fn a_writer_is_seen_and_its_absence_too() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let writer = OpenOptions::new().create(true).append(true).open(&path).unwrap();
        let reader = File::open(&path).unwrap();
        match ask(&reader) {
            Writer::Open => {}
            Writer::Unknown => return eprintln!("SKIPPED: no leases on this file system"),
            other => panic!("a writer has it open, but: {other:?}"),
        }
        drop(writer);
        assert_eq!(ask(&reader), Writer::None);
        release(&reader);
    }
}
