//! One pipeline of a test: its manifest, spool directory and topics, all under names that no other test has.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::BorrowedMessage;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use super::agent::{Agent, Ended};
use super::bed::{Bed, Reader};
use super::check::{Content, Written};
use super::proxy::Link;

/// What differs from job to job.
pub struct Plan<'a> {
    /// Of the data topic.
    pub partitions: i32,
    /// More of `spec.source.spoolDir`, in YAML's flow style; quick by default.
    pub source: &'a str,
    /// More of `spec.sink.kafka`, with a leading comma.
    pub sink: &'a str,
    /// `spec.delivery`.
    pub delivery: &'a str,
}

impl Default for Plan<'_> {
    fn default() -> Self {
        Plan { partitions: 1, source: "settleTime: 300ms, pollDelay: 50ms", sink: "", delivery: "" }
    }
}

pub struct Job<'b> {
    pub bed: &'b Bed,
    home: tempfile::TempDir,
    pub spool: PathBuf,
    pub topic: String,
    pub receipts: String,
    pub manifest: PathBuf,
}

impl<'b> Job<'b> {
    /// With its directory and its topics.
    pub fn new(bed: &'b Bed, name: &str, plan: &Plan) -> Self {
        let job = Job::unprepared(bed, name, plan);
        fs::create_dir(&job.spool).unwrap();
        bed.topics(&[(&job.topic, plan.partitions, "delete")]);
        job.own_topics();
        job
    }

    /// Neither a directory nor topics.
    pub fn unprepared(bed: &'b Bed, name: &str, plan: &Plan) -> Self {
        let home = tempfile::Builder::new().prefix("spoolway-e2e-").tempdir().unwrap();
        let spool = home.path().join("spool");
        let manifest = home.path().join("pipeline.yaml");
        let (topic, receipts) = (format!("{name}-data"), format!("spoolway-{name}-receipts"));
        let job = Job { bed, home, spool, topic, receipts, manifest };
        fs::write(&job.manifest, job.text(plan, "")).unwrap();
        job
    }

    /// The manifest: what differs by `plan`, and `more` of `spec`.
    pub fn text(&self, plan: &Plan, more: &str) -> String {
        let Plan { source, sink, delivery, .. } = plan;
        let (path, topic) = (self.spool.display(), &self.topic);
        let address = self.bed.address.replace(',', "','");
        let namespace = topic.strip_suffix("-data").unwrap();
        format!(
            "apiVersion: spoolway.dev/v1alpha1
kind: LogPipeline
metadata: {{name: web, namespace: {namespace}}}
spec:
  source:
    spoolDir: {{path: '{path}', {source}}}
  sink:
    kafka: {{bootstrapServers: ['{address}'], topic: {topic}{sink}}}
  delivery: {{{delivery}}}
{more}"
        )
    }

    /// The topics for progress and receipts, small: an agent would make 56 partitions, which takes the broker seconds.
    pub fn own_topics(&self) {
        let checkpoints = self.checkpoints();
        self.bed.topics(&[(&checkpoints, 4, "compact"), (&self.receipts, 2, "delete")]);
    }

    /// A folder for anything else, removed with the job.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    pub fn path(&self, name: &[u8]) -> PathBuf {
        self.spool.join(OsStr::from_bytes(name))
    }

    /// Puts a whole file into the spool directory at once.
    pub fn put(&self, name: &[u8], content: &[u8]) -> Written {
        let new = self.home.path().join("new");
        fs::write(&new, content).unwrap();
        fs::rename(new, self.path(name)).unwrap();
        Written::new(name, Content::Bytes(content.to_vec()))
    }

    /// Links a file that nobody changes into the spool directory, or copies it where links do not reach.
    pub fn link(&self, file: &Path) -> Written {
        let name = file.file_name().unwrap().as_bytes();
        if fs::hard_link(file, self.path(name)).is_err() {
            let new = self.home.path().join("new");
            fs::copy(file, &new).unwrap();
            fs::rename(new, self.path(name)).unwrap();
        }
        Written::new(name, Content::File(file.to_owned()))
    }

    /// Calls `each` with the first `count` records, of partitions `0..partitions`, and gives the consumer back. Not by Kafka's own reader:
    /// it tells no headers, and a fetch of much, decompressed, is larger than its heap.
    pub fn consume(
        &self,
        partitions: i32,
        count: u64,
        limit: Duration,
        mut each: impl FnMut(&BorrowedMessage),
    ) -> BaseConsumer {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.bed.address)
            .set("group.id", "job")
            .set("isolation.level", "read_committed");
        let consumer: BaseConsumer = config.create().unwrap();
        let mut all = TopicPartitionList::new();
        for partition in 0..partitions {
            all.add_partition_offset(&self.topic, partition, Offset::Beginning).unwrap();
        }
        consumer.assign(&all).unwrap();
        let (mut records, deadline) = (0, Instant::now() + limit);
        while records < count {
            assert!(Instant::now() < deadline, "{records} of {count} records in time");
            // An error is a connection's, or the group's that is not needed: the client goes on by itself.
            if let Some(Ok(record)) = consumer.poll(Duration::from_secs(1)) {
                each(&record);
                records += 1;
            }
        }
        consumer
    }

    /// What the spool directory holds, sorted.
    pub fn names(&self) -> Vec<Vec<u8>> {
        let entries = fs::read_dir(&self.spool).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_vec()).collect();
        names.sort();
        names
    }

    /// The same, to look at.
    pub fn shown(&self) -> Vec<String> {
        self.names().iter().map(|name| name.escape_ascii().to_string()).collect()
    }

    /// The committed records' values, in order within each partition.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = vec![];
        self.bed.read(&self.topic, Reader::Fast, |r| lines.push(String::from_utf8(r.value.to_vec()).unwrap()));
        lines
    }

    /// How many files are complete.
    pub fn completed(&self) -> usize {
        self.names().iter().filter(|name| name.ends_with(b".COMPLETED")).count()
    }

    /// Words of an agent without what differs from run to run.
    pub fn redact(&self, text: &str) -> String {
        let text = text.replace(self.spool.to_str().unwrap(), "<spool>").replace(&self.bed.address, "<broker>");
        let numbers = [
            (r"in [\d.]+ s; from the first read .* to the last completed file [\d.]+ s", "in <time>"),
            (r"after \d+ms in state \w+", "after <time>"),
            (r"uid \d+", "uid <uid>"),
            (r"gid \d+", "gid <gid>"),
            (r"(runAs\w+): \d+", "$1: <id>"),
        ];
        numbers.iter().fold(text, |text, (pattern, with)| {
            regex::Regex::new(pattern).unwrap().replace_all(&text, *with).into_owned()
        })
    }

    /// From now on its agents come in by this link.
    pub fn by(self, link: &Link) -> Self {
        let text = fs::read_to_string(&self.manifest).unwrap();
        let direct = self.bed.address.replace(',', "','");
        assert!(text.contains(&direct));
        fs::write(&self.manifest, text.replace(&direct, &link.addresses.join("','"))).unwrap();
        self
    }

    /// The same by one of so many bytes a second, so that on any machine its agents are in the middle of something for a while.
    pub fn slowly(self, rate: u32) -> Self {
        let link = self.bed.link();
        link.slow(rate);
        self.by(&link)
    }

    /// Starts an agent that stays.
    pub fn start(&self) -> Agent {
        Agent::start(&self.manifest, &["--http", "127.0.0.1:0"])
    }

    /// Runs `spoolway COMMAND... -f MANIFEST` with more arguments to its end.
    pub fn ask(&self, command: &[&str], more: &[&str]) -> Ended {
        let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_spoolway"));
        let out = child.args(command).arg("-f").arg(&self.manifest).args(more).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Ended { code: out.status.code(), out: text(out.stdout), err: text(out.stderr) }
    }

    /// The topic in which its progress is kept.
    pub fn checkpoints(&self) -> String {
        self.receipts.replace("receipts", "checkpoints")
    }

    /// `spoolway plan` for agent a1: exit code, and what it says as JSON.
    pub fn plan(&self, more: &[&str]) -> (Option<i32>, serde_json::Value) {
        let said = self.ask(&["plan", "--agent-id", "a1", "--output", "json"], more);
        let json = serde_json::from_str(&said.out);
        (said.code, json.unwrap_or_else(|e| panic!("{e}: {} {}", said.out, said.err)))
    }

    /// Runs an agent with `--once` to its end.
    pub fn once(&self) -> Ended {
        Agent::start(&self.manifest, &["--once"]).ended(std::time::Duration::from_secs(180))
    }
}
