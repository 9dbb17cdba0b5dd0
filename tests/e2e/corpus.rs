//! Real input: access logs, 10 files of 100 MB, kept outside the clone and made once. Whoever uses them may not change them.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use spoolway::demo::access_log::AccessLog;

const FILES: u32 = 10;
const BYTES: u64 = 100_000_000;

/// The ten files, made if they are not there. The same as `cargo run --example corpus` writes.
pub fn files() -> Vec<PathBuf> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock();
    let cache = std::env::var_os("SPOOLWAY_CACHE").map(PathBuf::from).unwrap_or_else(|| {
        PathBuf::from(std::env::var_os("HOME").expect("HOME or SPOOLWAY_CACHE is set")).join(".cache/spoolway")
    });
    let dir = cache.join(format!("corpus-1-{FILES}x{BYTES}"));
    if !dir.exists() {
        fs::create_dir_all(&cache).unwrap();
        let new = tempfile::tempdir_in(&cache).unwrap();
        for file in 0..FILES {
            generate(&new.path().join(format!("access-{file:02}.log")), 1, file, BYTES);
        }
        fs::rename(new.keep(), &dir).unwrap();
    }
    (0..FILES).map(|file| dir.join(format!("access-{file:02}.log"))).collect()
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
