//! Writes the bench's input: `corpus DIR [--files 10] [--bytes 100000000] [--seed 1]` makes `DIR/access-00.log` and so on,
//! whole lines, each file just over the size, and prints files, lines and bytes. Many small files: `--files 5000 --bytes 20000`.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Parser;
use spoolway::demo::access_log::AccessLog;

#[derive(Parser)]
struct Options {
    /// Where the files go; made if it is missing.
    dir: PathBuf,
    #[arg(long, default_value_t = 10)]
    files: u32,
    /// The size at which a file ends, with the line that reaches it.
    #[arg(long, default_value_t = 100_000_000)]
    bytes: u64,
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn main() -> Result<()> {
    let options = Options::parse();
    fs::create_dir_all(&options.dir).with_context(|| format!("cannot make {}", options.dir.display()))?;
    let (mut lines, mut bytes) = (0_u64, 0_u64);
    for file in 0..options.files {
        let path = options.dir.join(format!("access-{file:02}.log"));
        let create = || format!("cannot write {}", path.display());
        let mut out = BufWriter::with_capacity(1 << 20, File::create(&path).with_context(create)?);
        let mut log = AccessLog::new(options.seed, file);
        let mut line = Vec::new();
        let mut size = 0;
        while size < options.bytes {
            line.clear();
            log.line(&mut line);
            line.push(b'\n');
            out.write_all(&line).with_context(create)?;
            size += line.len() as u64;
            lines += 1;
        }
        out.flush().with_context(create)?;
        bytes += size;
    }
    println!("files {} lines {lines} bytes {bytes}", options.files);
    Ok(())
}
