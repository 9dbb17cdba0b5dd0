//! The judge. It reads the data topic and the receipt topic with Kafka's own consumer and holds them against what was written.
//!
//! Every record must be claimed by exactly one segment of one file and be that file's next line: so nothing is missing, nothing
//! is there twice, nothing is altered, and each file is in order. Its own line cutting and digest, not the agent's.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{BufRead, BufReader, Cursor};
use std::path::PathBuf;

use serde::Deserialize;
use xxhash_rust::xxh3::xxh3_128;

use super::bed::{Reader, Record};
use super::job::Job;

/// A file, or one generation of it, as it was written.
#[derive(Clone)]
pub struct Written {
    name: Vec<u8>,
    generation: u32,
    content: Content,
    finished: bool,
}

#[derive(Clone)]
pub enum Content {
    Bytes(Vec<u8>),
    File(PathBuf),
}

impl Written {
    pub fn new(name: &[u8], content: Content) -> Self {
        Written { name: name.to_vec(), generation: 1, content, finished: true }
    }

    /// Its content from the beginning, where that is not what it began with.
    pub fn of(name: &[u8], content: impl AsRef<[u8]>) -> Self {
        Written::new(name, Content::Bytes(content.as_ref().to_vec()))
    }

    pub fn generation(self, generation: u32) -> Self {
        Written { generation, ..self }
    }

    /// Shipped so far, without a receipt.
    pub fn unfinished(self) -> Self {
        Written { finished: false, ..self }
    }
}

/// A record of the receipt topic, as the documentation describes it.
#[derive(Debug, Deserialize)]
struct Evidence {
    v: u32,
    kind: String,
    file: String,
    name: serde_json::Value,
    generation: u32,
    topic: String,
    from: u64,
    to: u64,
    lines: u64,
    bytes: u64,
    digest: String,
    #[serde(default)]
    runs: Vec<Run>,
    #[serde(default)]
    extents: Vec<Extent>,
    ended: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Run {
    partition: i32,
    first: Option<i64>,
    count: u64,
}

#[derive(Debug, Deserialize, PartialEq)]
struct Extent {
    partition: i32,
    first: Option<i64>,
    last: Option<i64>,
}

impl Evidence {
    fn name(&self) -> Vec<u8> {
        match (&self.name, self.name.get("hex")) {
            (serde_json::Value::String(text), _) => text.clone().into_bytes(),
            (_, Some(hex)) => {
                let hex = hex.as_str().unwrap();
                (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect()
            }
            other => panic!("not a name: {other:?}"),
        }
    }
}

/// One generation of a file: its chain of segments, and the lines that must still come.
struct Chain {
    label: String,
    segments: Vec<Evidence>,
    receipt: Option<Evidence>,
    source: Box<dyn BufRead>,
    next: Vec<u8>,
    /// So far: lines, bytes of values, bytes of the file, digest.
    lines: u64,
    bytes: u64,
    position: u64,
    digest: [u8; 16],
    checked: usize,
}

/// What the check saw.
#[derive(Debug)]
pub struct Seen {
    pub records: u64,
    pub segments: usize,
    /// Runs whose offsets librdkafka could not tell.
    pub untold: usize,
}

/// Names of the files that have a receipt by now; a dead agent's open transaction does not hide what came before it.
pub fn receipts(job: &Job) -> Vec<Vec<u8>> {
    let mut names = vec![];
    let _held_up = job.bed.read_so_far(&job.receipts, Reader::Fast, |record| {
        let evidence: Evidence = serde_json::from_slice(record.value).unwrap();
        if evidence.kind == "receipt" {
            names.push(evidence.name());
        }
    });
    names
}

/// How many bytes of the files are committed by now; a dead agent's open transaction does not hide what came before it.
pub fn committed(job: &Job) -> u64 {
    let mut bytes = 0;
    let _held_up = job.bed.read_so_far(&job.receipts, Reader::Fast, |record| {
        let evidence: Evidence = serde_json::from_slice(record.value).unwrap();
        bytes += if evidence.kind == "segment" { evidence.to - evidence.from } else { 0 };
    });
    bytes
}

/// Names of the files of which anything is shipped.
pub fn names(job: &Job) -> Vec<Vec<u8>> {
    let mut names = vec![];
    job.bed.read(&job.receipts, Reader::Fast, |record| {
        names.push(serde_json::from_slice::<Evidence>(record.value).unwrap().name());
    });
    names
}

/// Bytes of each segment: what one transaction holds of one file.
pub fn segment_sizes(job: &Job) -> Vec<u64> {
    let mut sizes = vec![];
    job.bed.read(&job.receipts, Reader::Fast, |record| {
        let evidence: Evidence = serde_json::from_slice(record.value).unwrap();
        if evidence.kind == "segment" {
            sizes.push(evidence.to - evidence.from);
        }
    });
    sizes
}

/// Panics unless the topic holds exactly what was written, and the receipts prove it.
pub fn exactly(job: &Job, written: &[Written]) -> Seen {
    exactly_by(job, Reader::Fast, written)
}

pub fn exactly_by(job: &Job, reader: Reader, written: &[Written]) -> Seen {
    let mut chains = chains(job, written);
    let mut claims = Claims::new(&chains);
    let mut records = 0;
    job.bed.read(&job.topic, reader, |record| {
        records += 1;
        let chain = claims.owner(&record, &chains);
        chains[chain].take(&record);
    });
    claims.none_left();
    chains.iter_mut().for_each(Chain::finish);
    let segments = chains.iter().map(|chain| chain.segments.len()).sum();
    let seen = Seen { records, segments, untold: claims.untold_in_all };
    eprintln!("{}: {seen:?}", job.topic);
    seen
}

/// The chains of the receipt topic, each with the file it belongs to; none is left over on either side.
fn chains(job: &Job, written: &[Written]) -> Vec<Chain> {
    let mut evidence: BTreeMap<String, Vec<Evidence>> = BTreeMap::new();
    job.bed.read(&job.receipts, Reader::Fast, |record| {
        let one: Evidence = serde_json::from_slice(record.value).unwrap();
        assert_eq!((one.v, &one.topic), (1, &job.topic));
        evidence.entry(one.file.clone()).or_default().push(one);
    });
    let mut files: HashMap<(Vec<u8>, u32), &Written> =
        written.iter().map(|file| ((file.name.clone(), file.generation), file)).collect();
    assert_eq!(files.len(), written.len(), "the test names a file twice");
    let chains = evidence
        .into_values()
        .map(|parts| {
            let last = parts.last().unwrap();
            let key = (last.name(), last.generation);
            let file = files.remove(&key).unwrap_or_else(|| panic!("nobody wrote, or twice shipped: {last:?}"));
            Chain::new(parts, file)
        })
        .collect();
    let missing: Vec<_> =
        files.keys().map(|(name, generation)| (name.escape_ascii().to_string(), generation)).collect();
    assert!(missing.is_empty(), "not on the receipt topic: {missing:?}");
    chains
}

impl Chain {
    fn new(mut parts: Vec<Evidence>, file: &Written) -> Self {
        let label = format!("{} generation {}", file.name.escape_ascii(), file.generation);
        let receipt = parts.pop_if(|last| last.kind == "receipt");
        assert_eq!(receipt.is_some(), file.finished, "{label}: is there a receipt?");
        let mut at = 0;
        for segment in &parts {
            assert_eq!(segment.kind, "segment", "{label}: behind its receipt: {segment:?}");
            assert!(segment.from == at && segment.to > at, "{label}: gap or overlap at {at}: {segment:?}");
            assert_eq!(segment.runs.iter().map(|run| run.count).sum::<u64>(), segment.lines, "{label}");
            at = segment.to;
        }
        if let Some(receipt) = &receipt {
            let ended = receipt.ended.as_deref();
            assert!(matches!(ended, Some("lease" | "settle")), "{label}: {ended:?}");
            assert_eq!((receipt.from, receipt.to), (0, at), "{label}");
            assert_eq!(receipt.lines, parts.iter().map(|s| s.lines).sum::<u64>(), "{label}");
            let end = parts.last().map_or((0, "00000000000000000000000000000000"), |s| (s.bytes, &s.digest));
            assert_eq!((receipt.bytes, receipt.digest.as_str()), end, "{label}");
            assert_eq!(receipt.extents, extents(&parts), "{label}");
        }
        let source: Box<dyn BufRead> = match &file.content {
            Content::Bytes(bytes) => Box::new(Cursor::new(bytes.clone())),
            Content::File(path) => Box::new(BufReader::with_capacity(1 << 20, File::open(path).unwrap())),
        };
        let mut chain = Chain {
            label,
            segments: parts,
            receipt,
            source,
            next: vec![],
            lines: 0,
            bytes: 0,
            position: 0,
            digest: [0; 16],
            checked: 0,
        };
        chain.advance();
        chain
    }

    /// Reads the file's next line into `next`, its end included.
    fn advance(&mut self) {
        self.next.clear();
        self.source.read_until(b'\n', &mut self.next).unwrap();
    }

    /// The record that the next line should make.
    fn expected(&self) -> Option<&[u8]> {
        let line = self.next.as_slice();
        match line.strip_suffix(b"\n") {
            Some(line) => Some(line.strip_suffix(b"\r").unwrap_or(line)),
            None => (!line.is_empty()).then_some(line),
        }
    }

    fn take(&mut self, record: &Record) {
        let Record { partition, offset, value } = record;
        let expected = self.expected();
        if expected != Some(*value) {
            let expected = expected.map(|line| line.escape_ascii().to_string());
            let (label, line) = (&self.label, self.lines);
            panic!(
                "{label}, line {line}, partition {partition} offset {offset}:\n got {}\nnot {expected:?}",
                value.escape_ascii()
            );
        }
        let chained = [&self.digest, *value, b"\n"].concat();
        self.digest = xxh3_128(&chained).to_be_bytes();
        self.lines += 1;
        self.bytes += value.len() as u64;
        self.position += self.next.len() as u64;
        self.advance();
        self.close_segments();
    }

    /// A segment whose last line this was must say what was seen so far.
    fn close_segments(&mut self) {
        let before: u64 = self.segments[..self.checked].iter().map(|s| s.lines).sum();
        let Some(segment) = self.segments.get(self.checked) else { return };
        if before + segment.lines == self.lines {
            let hex: String = self.digest.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!((segment.to, segment.bytes), (self.position, self.bytes), "{}: {segment:?}", self.label);
            assert_eq!(segment.digest, hex, "{}: {segment:?}", self.label);
            self.checked += 1;
        }
    }

    fn finish(&mut self) {
        assert_eq!(self.checked, self.segments.len(), "{}: a segment's lines did not come", self.label);
        if let Some(receipt) = &self.receipt {
            assert_eq!((receipt.lines, receipt.to), (self.lines, self.position), "{}", self.label);
        }
        assert_eq!(self.expected(), None, "{}: missing from line {} on", self.label, self.lines);
    }
}

/// First and last offset per partition over a chain.
fn extents(segments: &[Evidence]) -> Vec<Extent> {
    let mut extents: Vec<Extent> = vec![];
    for run in segments.iter().flat_map(|segment| &segment.runs) {
        let last = run.first.map(|first| first + run.count as i64 - 1);
        match extents.iter_mut().find(|extent| extent.partition == run.partition) {
            Some(extent) => extent.last = last,
            None => extents.push(Extent { partition: run.partition, first: run.first, last }),
        }
    }
    extents
}

/// Who claims which offsets.
struct Claims {
    /// Partition → claims by first offset: first, behind the last, chain.
    told: HashMap<i32, std::collections::VecDeque<(i64, i64, usize)>>,
    /// Claims without offsets: partition, chain, records left.
    untold: Vec<(i32, usize, u64)>,
    untold_in_all: usize,
}

impl Claims {
    fn new(chains: &[Chain]) -> Self {
        let mut claims = Claims { told: HashMap::new(), untold: vec![], untold_in_all: 0 };
        for (index, chain) in chains.iter().enumerate() {
            let runs = || chain.segments.iter().flat_map(|segment| &segment.runs);
            if let Some(first) = runs().next() {
                assert!(runs().all(|run| run.partition == first.partition), "{}: on two partitions", chain.label);
            }
            for run in runs() {
                match run.first {
                    Some(first) => {
                        let claim = (first, first + run.count as i64, index);
                        claims.told.entry(run.partition).or_default().push_back(claim);
                    }
                    None => claims.untold.push((run.partition, index, run.count)),
                }
            }
        }
        for (partition, told) in &mut claims.told {
            told.make_contiguous().sort_unstable();
            for (one, next) in told.iter().zip(told.iter().skip(1)) {
                assert!(one.1 <= next.0, "partition {partition}: two files claim offset {}", next.0);
            }
        }
        claims.untold_in_all = claims.untold.len();
        claims
    }

    /// The chain that claims this record; records come in order within each partition.
    fn owner(&mut self, record: &Record, chains: &[Chain]) -> usize {
        let Record { partition, offset, value } = record;
        let told = self.told.entry(*partition).or_default();
        if let Some((at, end, chain)) = told.front_mut()
            && *at == *offset
        {
            let chain = *chain;
            *at += 1;
            if *at == *end {
                told.pop_front();
            }
            return chain;
        }
        let mut untold = self.untold.iter_mut();
        let claim = untold
            .find(|(on, chain, left)| on == partition && *left > 0 && chains[*chain].expected() == Some(*value));
        let Some((_, chain, left)) = claim else {
            panic!(
                "no receipt claims partition {partition} offset {offset} (the next claim is {:?}): {}",
                told.front(),
                value.escape_ascii()
            );
        };
        *left -= 1;
        *chain
    }

    fn none_left(&self) {
        let left: Vec<_> = self.told.iter().filter(|(_, told)| !told.is_empty()).collect();
        assert!(left.is_empty(), "claimed, but not on the topic: {left:?}");
        assert!(
            self.untold.iter().all(|(.., left)| *left == 0),
            "claimed, but not on the topic: {:?}",
            self.untold
        );
    }
}
