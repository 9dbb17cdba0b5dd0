//! `spoolway validate`: says everything that is wrong with LogPipeline files.
//!
//! Reads the files and prints; the judgement itself is `pipeline`'s. One line a pipeline that is fine, on stdout
//! (`FILE: NAME: ok`), one line a problem, on stderr.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::pipeline::problem::{Problem, escaped};
use crate::pipeline::{Judge, validate};
use crate::yaml;

/// What to judge, and as whom.
#[derive(Debug, clap::Args)]
pub struct ValidateArgs {
    /// Files that hold LogPipelines; `-` is standard input
    #[arg(short, long = "file", value_name = "FILE", required = true, num_args = 1..)]
    pub files: Vec<PathBuf>,
    /// Judge as the agent does on a bare machine, not as the API server does
    #[arg(long)]
    pub bare: bool,
}

/// Judges all files. The exit code is 0 when every LogPipeline is fine, else 2.
pub fn run(args: ValidateArgs) -> ExitCode {
    let judge = if args.bare { Judge::Bare } else { Judge::Cluster };
    let mut all_fine = true;
    for file in &args.files {
        let name = escaped(&file.to_string_lossy());
        let report = match read(file) {
            Ok(text) => judged(&text, judge),
            Err(error) => Report { fine: Vec::new(), problems: vec![unreadable(&error)] },
        };
        all_fine &= report.problems.is_empty();
        print(&name, &report);
    }
    if all_fine { ExitCode::SUCCESS } else { ExitCode::from(2) }
}

/// What one file holds: the names of the pipelines that are fine, and every problem of the others.
#[derive(Debug, Default)]
pub struct Report {
    /// Names of the pipelines that are fine.
    pub fine: Vec<String>,
    /// Every problem of the others.
    pub problems: Vec<Problem>,
}

/// Judges the text of one file.
pub fn judged(text: &str, judge: Judge) -> Report {
    let mut report = Report::default();
    for document in yaml::documents(text) {
        let problems = match &document.pipeline {
            Ok(pipeline) => validate(pipeline, judge),
            Err(problems) => problems.clone(),
        };
        if let (Ok(pipeline), true) = (&document.pipeline, problems.is_empty()) {
            report.fine.push(pipeline.metadata.name.clone());
        }
        let problems = problems.into_iter().map(|p| document.locate(p));
        report.problems.extend(problems);
    }
    report
}

fn read(file: &Path) -> io::Result<String> {
    if file == Path::new("-") {
        let mut text = String::new();
        io::stdin().read_to_string(&mut text)?;
        return Ok(text);
    }
    std::fs::read_to_string(file)
}

fn unreadable(error: &io::Error) -> Problem {
    let message = match error.kind() {
        io::ErrorKind::NotFound => "no such file; check the path".to_owned(),
        io::ErrorKind::IsADirectory => "is a directory; name the files in it".to_owned(),
        io::ErrorKind::InvalidData => "is not UTF-8; save it as UTF-8".to_owned(),
        _ => format!("cannot be read: {error}"),
    };
    Problem::new("", message)
}

fn print(file: &str, report: &Report) {
    // A reader that went away (`| head`) is no failure of ours.
    for name in &report.fine {
        let _ = writeln!(io::stdout(), "{file}: {name}: ok");
    }
    for problem in &report.problems {
        let _ = writeln!(io::stderr(), "{file}: {problem}");
    }
}
