//! Real input: access logs, 100 MB a file, kept outside the clone and made once. Whoever uses them may not change them.
//!
//! No line is there twice, in all the files together: each carries the number of its file and its own.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use spoolway::demo::access_log::AccessLog;

const FILES: u32 = 10;
const BYTES: u64 = 100_000_000;

/// So many gigabytes, ten files each, made if they are not there. The first is the same as `cargo run --example corpus` writes.
pub fn gigabytes(count: u32) -> Vec<PathBuf> {
    (0..count).flat_map(gigabyte).collect()
}

/// The first of them.
pub fn files() -> Vec<PathBuf> {
    gigabytes(1)
}

fn gigabyte(number: u32) -> Vec<PathBuf> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock();
    let cache = std::env::var_os("SPOOLWAY_CACHE").map(PathBuf::from).unwrap_or_else(|| {
        PathBuf::from(std::env::var_os("HOME").expect("HOME or SPOOLWAY_CACHE is set")).join(".cache/spoolway")
    });
    let which = if number == 0 { String::new() } else { format!("-{number}") };
    let dir = cache.join(format!("corpus-1-{FILES}x{BYTES}{which}"));
    let files = number * FILES..(number + 1) * FILES;
    if !dir.exists() {
        fs::create_dir_all(&cache).unwrap();
        let new = tempfile::tempdir_in(&cache).unwrap();
        for file in files.clone() {
            generate(&new.path().join(format!("access-{file:02}.log")), 1, file, BYTES);
        }
        fs::rename(new.keep(), &dir).unwrap();
    }
    files.map(|file| dir.join(format!("access-{file:02}.log"))).collect()
}

/// A log of at least so many bytes, in whole lines.
pub fn generate(path: &Path, seed: u64, file: u32, bytes: u64) {
    let mut out = BufWriter::with_capacity(1 << 20, File::create(path).unwrap());
    let (mut log, mut line, mut size) = (AccessLog::new(seed, file), vec![], 0);
    while size < bytes {
        line.clear();
        log.line(&mut line);
        line.push(b'\n');
        out.write_all(&line).unwrap();
        size += line.len() as u64;
    }
    out.into_inner().unwrap();
}

/// So many lines of a log.
pub fn lines(seed: u64, file: u32, count: usize) -> Vec<u8> {
    let (mut log, mut out) = (AccessLog::new(seed, file), vec![]);
    for _ in 0..count {
        log.line(&mut out);
        out.push(b'\n');
    }
    out
}
