//! Bytes and stat of one file that is open. I/O.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, StatxFlags, StatxTimestamp};
use rustix::io::Errno;
use xxhash_rust::xxh3::xxh3_64;

use super::FileError;
use crate::agent::channel::digest::Mark;
use crate::agent::channel::file::{Obstacle, Reason, Stat};

/// What keeps a name that is no regular file from being opened.
pub fn not_regular() -> Obstacle {
    Obstacle { reason: Reason::NotARegularFile, note: "it is a link, FIFO, socket or device".into() }
}

/// What a failed call means for the file.
pub fn file_error(errno: Errno) -> FileError {
    match errno {
        Errno::NOENT | Errno::NOTDIR => FileError::Vanished,
        Errno::ACCESS | Errno::PERM => FileError::Aside(Reason::PermissionDenied, errno.to_string()),
        Errno::LOOP | Errno::XDEV | Errno::ISDIR | Errno::NXIO | Errno::NODEV => {
            FileError::Aside(Reason::NotARegularFile, errno.to_string())
        }
        other => FileError::Aside(Reason::ReadError, other.to_string()),
    }
}

/// Reads up to `len` bytes at `from` over whatever `data` held, fewer only at the end of the file.
pub fn fill(file: &OwnedFd, from: u64, len: usize, data: &mut Vec<u8>) -> Result<(), Errno> {
    // Into what is allocated, not zeroed first: a chunk is fifty times as long as many files.
    data.clear();
    data.reserve(len);
    while data.len() < len {
        let at = from + data.len() as u64;
        match rustix::io::pread(file, rustix::buffer::spare_capacity(data), at) {
            Ok(0) => break,
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    data.truncate(len); // its capacity may have been larger
    Ok(())
}

/// Mark of `len` bytes at `from`; `None` when the file ends before.
pub fn mark_at(file: &OwnedFd, from: u64, len: u32) -> Result<Option<Mark>, Errno> {
    let mut bytes = vec![];
    fill(file, from, len as usize, &mut bytes)?;
    Ok((bytes.len() == len as usize).then(|| Mark { len, hash: xxh3_64(&bytes) }))
}

/// Stat, and whether it is a regular file.
pub fn stat_of<N: rustix::path::Arg>(dir: impl AsFd, name: N, flags: AtFlags) -> Result<(Stat, bool), Errno> {
    let stat = rustix::fs::statx(dir, name, flags, StatxFlags::BASIC_STATS | StatxFlags::BTIME)?;
    let nanoseconds =
        |t: StatxTimestamp| t.tv_sec.saturating_mul(1_000_000_000).saturating_add(i64::from(t.tv_nsec));
    let birth = StatxFlags::from_bits_retain(stat.stx_mask).contains(StatxFlags::BTIME);
    let stat_out = Stat {
        inode: stat.stx_ino,
        size: stat.stx_size,
        modified: nanoseconds(stat.stx_mtime),
        changed: nanoseconds(stat.stx_ctime),
        birth: birth.then(|| nanoseconds(stat.stx_btime)),
        links: stat.stx_nlink,
    };
    Ok((stat_out, rustix::fs::FileType::from_raw_mode(u32::from(stat.stx_mode)).is_file()))
}
