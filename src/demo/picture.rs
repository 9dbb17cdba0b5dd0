//! What the demo shows, as lines of text. Pure: no clock, no terminal; colours come from `console`, which leaves them out
//! where there is no terminal or `NO_COLOR` is set.

use console::{measure_text_width, style, truncate_str};
use indicatif::{BinaryBytes, HumanCount};

use crate::agent::channel::evidence::Evidence;

/// How far a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Nothing of it is shipped.
    Waiting,
    /// A part of it is shipped.
    Reading,
    /// All of it is shipped; it is watched for `settleTime`.
    Settling,
    /// Its receipt is in Kafka and it is renamed.
    Completed,
}

impl Stage {
    fn word(self) -> &'static str {
        match self {
            Stage::Waiting => "waiting",
            Stage::Reading => "being read",
            Stage::Settling => "settling",
            Stage::Completed => "completed",
        }
    }
}

/// A file of the picture.
#[derive(Debug, Clone)]
pub struct FileRow {
    /// Its name.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// Of those, shipped.
    pub shipped: u64,
    /// How far it is.
    pub stage: Stage,
}

/// A receipt of the picture.
#[derive(Debug, Clone)]
pub struct ReceiptRow {
    /// The file.
    pub name: String,
    /// Partition, first and last offset, as far as known.
    pub at: Option<(i32, i64, i64)>,
    /// Its lines.
    pub lines: u64,
}

impl From<&Evidence> for ReceiptRow {
    fn from(receipt: &Evidence) -> Self {
        let at = receipt.extents.first().and_then(|e| Some((e.partition, e.first?, e.last?)));
        ReceiptRow { name: receipt.name.to_string(), at, lines: receipt.lines }
    }
}

/// Everything the picture shows.
#[derive(Debug, Clone, Default)]
pub struct View {
    /// Since the start.
    pub seconds: u64,
    /// The agent's word for its state.
    pub state: String,
    /// True where data can flow.
    pub flowing: bool,
    /// What is wrong, if anything is.
    pub message: String,
    /// True once no more files are written.
    pub ending: bool,
    /// Files by stage, in the order of [`Stage`].
    pub files: [u64; 4],
    /// Lines put into the directory.
    pub written: u64,
    /// Lines the agent has committed.
    pub committed: u64,
    /// Records the consumer has seen.
    pub arrived: u64,
    /// Records a second, oldest first; the last is now.
    pub rates: Vec<u64>,
    /// Bytes that wait.
    pub backlog_bytes: u64,
    /// Files that wait.
    pub backlog_files: u64,
    /// The files in the directory, the oldest first.
    pub rows: Vec<FileRow>,
    /// The newest receipts, the newest last.
    pub receipts: Vec<ReceiptRow>,
}

/// Told above every frame and at the end.
pub const WARNING: &str = "the embedded broker is for looking only: it isolates nothing and keeps nothing";

/// Lines of a frame that are always there.
const FIXED: usize = 13;

/// The picture for a terminal of this size: always the same number of lines, none wider than `width`.
pub fn frame(view: &View, width: usize, height: usize) -> Vec<String> {
    let room = height.saturating_sub(FIXED + 1).clamp(2, 20);
    let (files, receipts) = (room - room * 2 / 5, room * 2 / 5);
    let mut out = vec![heading(view, width), format!("{}", style(WARNING).dim()), String::new()];
    out.extend(numbers(view));
    out.push(format!("  {}", style("in the spool directory").dim()));
    // The files at work first; of the completed ones only the newest, and only where there is room.
    let open = view.rows.iter().filter(|r| r.stage < Stage::Completed).count();
    let completed = view.rows.len() - open;
    let skip = completed.saturating_sub(files.saturating_sub(open));
    let hidden = view.rows.len().saturating_sub(skip + files);
    let rows = view.rows.iter().skip(skip).take(files).map(|row| file_row(row, width));
    fill(&mut out, rows, files);
    out.push(match hidden {
        0 => String::new(),
        n => format!("  {}", style(format!("and {n} more")).dim()),
    });
    out.push(format!("  {}", style("receipts: which file is where").dim()));
    let newest = view.receipts.len().saturating_sub(receipts);
    fill(&mut out, view.receipts[newest..].iter().map(|r| format!("  {}", receipt_row(r))), receipts);
    out.push(String::new());
    let foot = if view.ending { "  shipping what is left" } else { "  ctrl-c ends it" };
    out.push(style(foot).dim().to_string());
    out.into_iter().map(|line| truncate_str(&line, width, "…").into_owned()).collect()
}

/// Adds `rows`, then empty lines up to `count`.
fn fill(out: &mut Vec<String>, rows: impl Iterator<Item = String>, count: usize) {
    let end = out.len() + count;
    out.extend(rows);
    out.resize(end, String::new());
}

fn heading(view: &View, width: usize) -> String {
    let left = style("spoolway demo").bold().to_string();
    let state = if view.flowing { style(&view.state).green() } else { style(&view.state).yellow() };
    let right = format!("{state}  {}", clock(view.seconds));
    let gap = width.saturating_sub(measure_text_width(&left) + measure_text_width(&right)).max(2);
    format!("{left}{}{right}", " ".repeat(gap))
}

fn clock(seconds: u64) -> String {
    format!("{:02}:{:02}", seconds / 60, seconds % 60)
}

fn numbers(view: &View) -> [String; 5] {
    let label = |text: &str| style(format!("  {text:<10}")).dim().to_string();
    let count = |n: u64| HumanCount(n).to_string();
    let [waiting, reading, settling, completed] = view.files;
    let rate = view.rates.last().copied().unwrap_or(0);
    let trouble = if view.message.is_empty() {
        String::new()
    } else {
        format!("{}{}", label("trouble"), style(&view.message).yellow())
    };
    [
        format!(
            "{}{waiting} waiting   {reading} being read   {settling} settling   {} completed",
            label("files"),
            style(count(completed)).bold()
        ),
        format!(
            "{}{} written   {} committed   {} arrived",
            label("lines"),
            count(view.written),
            count(view.committed),
            style(count(view.arrived)).bold()
        ),
        format!("{}{} records/s   {}", label("arriving"), count(rate), style(sparks(&view.rates)).cyan()),
        format!("{}{} in {} files", label("backlog"), bytes(view.backlog_bytes), count(view.backlog_files)),
        trouble,
    ]
}

fn bytes(n: u64) -> String {
    BinaryBytes(n).to_string().replace(".00 ", " ")
}

/// One character a number, its height relative to the highest.
fn sparks(rates: &[u64]) -> String {
    let steps = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let highest = rates.iter().max().copied().unwrap_or(0).max(1);
    rates.iter().map(|rate| steps[(rate * 7 / highest) as usize]).collect()
}

fn file_row(row: &FileRow, width: usize) -> String {
    let bar = width.saturating_sub(54).clamp(8, 40);
    let done_of = |whole: u64| row.shipped.min(row.bytes) * whole / row.bytes.max(1);
    let full = done_of(bar as u64) as usize;
    let (done, rest) = ("━".repeat(full), "─".repeat(bar - full));
    let done = if row.stage == Stage::Completed { style(done).green() } else { style(done).cyan() };
    let word = match row.stage {
        Stage::Completed => style(row.stage.word()).green(),
        Stage::Waiting => style(row.stage.word()).dim(),
        _ => style(row.stage.word()),
    };
    let percent = done_of(100);
    format!("  {:<14} {done}{} {percent:>3} %  {:>10}  {word}", row.name, style(rest).dim(), bytes(row.bytes))
}

/// One receipt: `web-0003.log → web-access/2  offsets   1,204 –   9,310    8,107 lines`.
pub fn receipt_row(row: &ReceiptRow) -> String {
    let count = |n: i64| HumanCount(n.unsigned_abs()).to_string();
    let place = match row.at {
        Some((partition, first, last)) => {
            format!("{}/{partition}  offsets {:>7} – {:>7}", super::TOPIC, count(first), count(last))
        }
        None => format!("{}    offsets not known", super::TOPIC),
    };
    format!("{:<12} → {place}  {:>7} lines", row.name, HumanCount(row.lines).to_string())
}

/// The same for a log file: one line, no escape codes.
pub fn line(view: &View) -> String {
    let [waiting, reading, settling, completed] = view.files;
    let mut line = format!(
        "{} {:<8} files {waiting} waiting {reading} read {settling} settling {completed} done | lines {} written {} arrived",
        clock(view.seconds),
        view.state,
        view.written,
        view.arrived,
    );
    if !view.message.is_empty() {
        line.push_str(" | ");
        line.push_str(&view.message);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(files: u64) -> View {
        let row = |i: u64| FileRow {
            name: format!("web-{i:04}.log"),
            bytes: 1000 * i,
            shipped: 400 * i,
            stage: if i < 3 { Stage::Completed } else { Stage::Reading },
        };
        let receipt =
            |i: u64| ReceiptRow { name: format!("web-{i:04}.log"), at: Some((1, 10, 20)), lines: 123_456_789 };
        View {
            rows: (0..files).map(row).collect(),
            receipts: (0..files).map(receipt).collect(),
            rates: vec![3; 20],
            message: "x".repeat(300),
            ..View::default()
        }
    }

    #[test]
    fn a_frame_fits_its_terminal_and_keeps_its_height() {
        for (width, height) in [(80, 24), (120, 40), (40, 24), (80, 15)] {
            let heights = [0, 1, 5, 100].map(|files| {
                let frame = frame(&view(files), width, height);
                assert!(frame.iter().all(|line| measure_text_width(line) <= width), "{frame:#?}");
                frame.len()
            });
            assert!(heights.iter().all(|h| *h == heights[0] && *h < height.max(17)), "{heights:?}");
        }
    }

    #[test]
    fn the_files_at_work_are_shown_before_the_completed_ones() {
        let frame = frame(&view(7), 80, 24);
        assert!(
            frame.iter().any(|line| line.contains("web-0006.log") && line.contains("being read")),
            "{frame:#?}"
        );
        assert!(!frame.iter().any(|line| line.contains("web-0000.log") && line.contains('━')), "{frame:#?}");
    }
}
