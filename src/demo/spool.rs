//! Writes the demo's files as a good producer does: as `*.tmp` first, renamed when they are whole. I/O.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use super::access_log::AccessLog;

/// A file that was put into the spool directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Its number, the first part of its lines' ids.
    pub number: u32,
    /// Its name.
    pub name: String,
    /// Its lines.
    pub lines: u64,
    /// Its size.
    pub bytes: u64,
}

/// The producer of one spool directory.
#[derive(Debug)]
pub struct Spool {
    dir: PathBuf,
    seed: u64,
    /// Everything written so far, by number.
    pub written: Vec<Written>,
}

impl Spool {
    /// Into `dir`, which exists.
    pub fn new(dir: &Path, seed: u64) -> Self {
        Spool { dir: dir.to_owned(), seed, written: vec![] }
    }

    /// Where the files go.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Puts one file for each number of lines into the directory; they appear together.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn add(&mut self, sizes: &[u64]) -> io::Result<()> {
        let first = self.written.len();
        for lines in sizes {
            let number = self.written.len() as u32;
            let name = format!("web-{number:04}.log");
            let bytes = self.write(&self.temporary(&name), number, *lines)?;
            self.written.push(Written { number, name, lines: *lines, bytes });
        }
        self.written[first..].iter().try_for_each(|f| fs::rename(self.temporary(&f.name), self.dir.join(&f.name)))
    }

    fn temporary(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.tmp"))
    }

    fn write(&self, path: &Path, number: u32, lines: u64) -> io::Result<u64> {
        let mut out = BufWriter::with_capacity(1 << 18, File::create_new(path)?);
        let mut log = AccessLog::new(self.seed, number);
        let (mut line, mut bytes) = (Vec::new(), 0);
        for _ in 0..lines {
            line.clear();
            log.line(&mut line);
            line.push(b'\n');
            out.write_all(&line)?;
            bytes += line.len() as u64;
        }
        out.flush()?;
        Ok(bytes)
    }

    /// Lines and bytes of all files.
    pub fn totals(&self) -> (u64, u64) {
        self.written.iter().fold((0, 0), |(lines, bytes), f| (lines + f.lines, bytes + f.bytes))
    }
}
