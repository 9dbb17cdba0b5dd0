//! Real brokers for tests, by `tests/beds/kafka/kafka.sh`: one that lives as long as the test binary, one that may be killed, and three
//! of a cluster that may be killed one by one. The first and the cluster have links, on which the network may be bad (`proxy`).
//!
//! A guard process of its own sees the test binary end, however it ends, and then stops the broker and removes its data.

mod nodes;
mod planting;

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use rdkafka::ClientConfig;
use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::{Offset, TopicPartitionList};

use super::proxy::{Door, Link};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/beds/kafka/kafka.sh");
/// So that a killed broker is back within seconds, and an abandoned transaction ends soon after its timeout.
const SETTINGS: &[&str] = &[
    "broker.session.timeout.ms=2000",
    "broker.heartbeat.interval.ms=500",
    "transaction.abort.timed.out.transaction.cleanup.interval.ms=1000",
];

/// A link to each broker of a bed is for one test alone: this many tests may have one.
const LINKS: u16 = 16;

/// One broker or three, on loopback, with a folder of their own.
pub struct Bed {
    /// Their folder.
    pub home: PathBuf,
    /// `127.0.0.1:PORT`, of three brokers with commas between.
    pub address: String,
    nodes: u16,
    /// How they were started.
    begun: Vec<String>,
    /// For each link that is left, where a proxy listens for each node.
    doors: Mutex<Vec<Vec<Door>>>,
}

/// What a bed is to be.
#[derive(Clone, Copy)]
struct Shape {
    nodes: u16,
    links: u16,
}

const ALONE: Shape = Shape { nodes: 1, links: 0 };

/// One record as Kafka's consumer printed it.
pub struct Record<'a> {
    pub partition: i32,
    pub offset: i64,
    pub value: &'a [u8],
}

/// Which of Kafka's consumers reads.
#[derive(Clone, Copy, PartialEq)]
pub enum Reader {
    /// `kafka.sh read`.
    Fast,
    /// `kafka.sh console`.
    Console,
}

/// The broker that all tests share; `None`, and said so, where there is no Java.
pub fn shared() -> Option<&'static Bed> {
    static SHARED: OnceLock<Option<Bed>> = OnceLock::new();
    let shape = Shape { links: LINKS, ..ALONE };
    let bed = SHARED.get_or_init(|| Bed::shaped(shape, plain)).as_ref();
    if bed.is_none() {
        super::skipped("java and mvn are needed to run Kafka");
    }
    bed
}

/// A bed whose tests run one after the other.
type InTurn = Mutex<Option<Bed>>;

/// The broker that may be killed; its tests run one after the other, and it is up when they get it.
pub fn mortal() -> Option<MutexGuard<'static, Option<Bed>>> {
    static MORTAL: InTurn = Mutex::new(None);
    turn(&MORTAL, ALONE)
}

/// Three brokers that may be killed; their tests run one after the other, and all are up and in sync when they get them.
pub fn three() -> Option<MutexGuard<'static, Option<Bed>>> {
    static THREE: InTurn = Mutex::new(None);
    turn(&THREE, Shape { nodes: 3, links: 2 })
}

fn turn(beds: &'static InTurn, shape: Shape) -> Option<MutexGuard<'static, Option<Bed>>> {
    let mut bed = beds.lock().unwrap_or_else(PoisonError::into_inner);
    match &*bed {
        Some(bed) => bed.revive(),
        None => *bed = Bed::shaped(shape, plain),
    }
    if bed.is_none() {
        super::skipped("java and mvn are needed to run Kafka");
    }
    bed.is_some().then_some(bed)
}

/// The settings of a broker without security.
fn plain(_: &Path, _: u16) -> Vec<String> {
    vec![]
}

/// Four free ports in a row.
pub fn free_port() -> u16 {
    free_ports(4)
}

/// Free ports in a row, below those that the kernel gives to outgoing connections: a client that calls a dead broker could get the
/// broker's own port, and talk to itself.
fn free_ports(count: u16) -> u16 {
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let first = range.split_whitespace().next().and_then(|n| n.parse().ok()).unwrap_or(32_768_u16);
    loop {
        let port = fastrand::u16(10_000..first.max(12_000) - count);
        let free = |port| std::net::TcpListener::bind(("127.0.0.1", port)).is_ok();
        if (port..port + count).all(free) {
            return port;
        }
    }
}

impl Bed {
    /// One broker with settings of its own, made from its folder and its first port; `None` where there is no Java.
    pub fn start(more: impl FnOnce(&Path, u16) -> Vec<String>) -> Option<Bed> {
        Bed::shaped(ALONE, more)
    }

    fn shaped(shape: Shape, more: impl FnOnce(&Path, u16) -> Vec<String>) -> Option<Bed> {
        let is_there = |tool: &str| {
            let found =
                Command::new("sh").args(["-c", &format!("command -v {tool}")]).stdout(Stdio::null()).status();
            found.is_ok_and(|status| status.success())
        };
        if !is_there("java") || !is_there("mvn") {
            return None;
        }
        let home = tempfile::Builder::new().prefix("spoolway-bed-").tempdir().unwrap().keep();
        guard(&home);
        let Shape { nodes, links } = shape;
        let port = free_ports((2 * nodes * (1 + links)).max(4));
        // Its listener for a link, and behind it the proxy's.
        let door = |node: u16, link: u16| Door::new(port + 2 * nodes + 2 * (node * links + link));
        let doors = (0..links).map(|link| (0..nodes).map(|node| door(node, link)).collect()).collect();
        let mut begun = vec!["start".to_owned()];
        for (option, value) in [("--port", port), ("--nodes", nodes), ("--links", links)] {
            begun.extend([option.to_owned(), value.to_string()]);
        }
        begun.extend(SETTINGS.iter().map(|setting| (*setting).to_owned()).chain(more(&home, port)));
        let bed = Bed { home, address: String::new(), nodes, begun, doors: Mutex::new(doors) };
        bed.start_all();
        let address = bed.script(&["bootstrap"]).trim().to_owned();
        Some(Bed { address, ..bed })
    }

    /// Starts those of its nodes that do not run, together: alone, one of three has no quorum and does not come up.
    pub fn start_all(&self) {
        self.script(&self.begun.iter().map(String::as_str).collect::<Vec<_>>());
    }

    /// A way to its brokers that nobody else has.
    pub fn link(&self) -> Link {
        let doors = self.doors.lock().unwrap_or_else(PoisonError::into_inner).pop();
        Link::new(doors.expect("a link is left: LINKS says for how many tests"))
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(SCRIPT);
        command.args(args).env("KAFKA_BED", &self.home).stdin(Stdio::null());
        if self.nodes > 1 {
            command.env("KAFKA_HEAP", "256m"); // of each
        }
        command
    }

    fn script(&self, args: &[&str]) -> String {
        let out = self.command(args).output().unwrap();
        assert!(out.status.success(), "kafka.sh {args:?}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap()
    }

    /// Starts what is dead; all are in sync.
    fn revive(&self) {
        if self.script(&["status"]).contains(" down ") {
            self.start_all();
        }
        self.in_sync();
    }

    /// `kill -9`.
    pub fn kill(&self) {
        self.kill_node(1);
    }

    /// Starts it on its data, and waits until it serves.
    pub fn restart(&self) {
        self.script(&["restart", "1"]);
    }

    /// `kill -9` for one of three.
    pub fn kill_node(&self, node: i32) {
        self.script(&["kill", &node.to_string()]);
    }

    /// Calls `each` with every committed record of a topic, in order within each partition; panics if the end is not reached.
    pub fn read(&self, topic: &str, reader: Reader, each: impl FnMut(Record)) {
        // A busy machine may be silent for longer than it takes to see that a topic ends early. The console's consumer always waits it out.
        let patience = ["--timeout-ms", if reader == Reader::Fast { "60000" } else { "15000" }];
        let said = self.read_with(&patience, topic, reader, each);
        assert!(said.is_ok(), "reading {topic}: {}", said.unwrap_err());
    }

    /// The same where an open transaction may hold up the end: then what is committed before it, and the reader's words.
    pub fn read_so_far(&self, topic: &str, reader: Reader, each: impl FnMut(Record)) -> Result<(), String> {
        self.read_with(&[], topic, reader, each)
    }

    fn read_with(
        &self,
        options: &[&str],
        topic: &str,
        reader: Reader,
        mut each: impl FnMut(Record),
    ) -> Result<(), String> {
        let command = if reader == Reader::Fast { "read" } else { "console" };
        let mut command = self.command(&[&[command, topic], options].concat());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut out = BufReader::with_capacity(1 << 20, child.stdout.take().unwrap());
        let mut line = vec![];
        while out.read_until(b'\n', &mut line).unwrap() > 0 {
            line.pop();
            each(parse(&line));
            line.clear();
        }
        let ended = child.wait_with_output().unwrap();
        let said = || String::from_utf8_lossy(&ended.stderr).into_owned();
        assert!(matches!(ended.status.code(), Some(0 | 3)), "reading {topic}: {}", said());
        if ended.status.success() { Ok(()) } else { Err(said()) }
    }

    /// How many committed records a topic holds.
    pub fn count(&self, topic: &str) -> u64 {
        // Not `kafka.sh count`: its consumer's group may not have met yet when a busy machine calls it idle.
        let mut count = 0;
        self.read(topic, Reader::Fast, |_| count += 1);
        count
    }

    fn admin<T>(&self, work: impl AsyncFnOnce(&AdminClient<DefaultClientContext>, &AdminOptions) -> T) -> T {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.address);
        let admin = config.create().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let options = AdminOptions::new().operation_timeout(Some(std::time::Duration::from_secs(30)));
        runtime.block_on(work(&admin, &options))
    }

    /// Makes topics: name, partitions, `cleanup.policy`.
    pub fn topics(&self, topics: &[(&str, i32, &str)]) {
        let new: Vec<_> = topics
            .iter()
            .map(|(name, partitions, policy)| {
                NewTopic::new(name, *partitions, TopicReplication::Fixed(i32::from(self.nodes)))
                    .set("cleanup.policy", policy)
            })
            .collect();
        for result in self.admin(async |admin, options| admin.create_topics(&new, options).await.unwrap()) {
            result.unwrap();
        }
    }

    /// Sets a topic's `max.message.bytes`.
    pub fn limit(&self, topic: &str, bytes: usize) {
        let bytes = bytes.to_string();
        let change = AlterConfig::new(ResourceSpecifier::Topic(topic)).set("max.message.bytes", &bytes);
        for result in self.admin(async |admin, options| admin.alter_configs(&[change], options).await.unwrap()) {
            result.unwrap();
        }
    }

    /// Lets clients of this `client.id` send so many bytes a second.
    pub fn quota(&self, client: &str, bytes: u32) {
        let rate = format!("producer_byte_rate={bytes}");
        let what = ["--alter", "--add-config", &rate, "--entity-type", "clients", "--entity-name", client];
        let by = ["run", "kafka.admin.ConfigCommand", "--bootstrap-server", &self.address];
        self.script(&[&by[..], &what].concat());
    }

    /// Makes a topic of one partition with a setting, as `name=value`.
    pub fn topic_with(&self, name: &str, setting: &str) {
        self.script(&["topic", name, "1", setting]);
    }

    /// Removes a topic, and waits until it is gone.
    pub fn remove(&self, topic: &str) {
        for result in self.admin(async |admin, options| admin.delete_topics(&[topic], options).await.unwrap()) {
            result.unwrap();
        }
        super::until("the topic is gone", std::time::Duration::from_secs(30), || (!self.has(topic)).then_some(()));
    }

    /// Whether there is such a topic.
    pub fn has(&self, topic: &str) -> bool {
        self.script(&["topics"]).lines().any(|line| line.trim() == topic)
    }

    /// The epoch of a transactional id's producer: it goes up whenever somebody opens one.
    pub fn epoch(&self, transactional_id: &str) -> u64 {
        let class = "org.apache.kafka.tools.TransactionsCommand";
        let ask =
            ["run", class, "--bootstrap-server", &self.address, "describe", "--transactional-id", transactional_id];
        let said = self.script(&ask);
        let mut rows = said.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let head = rows.find(|row| row.contains(&"ProducerEpoch")).unwrap_or_else(|| panic!("no table: {said}"));
        let column = head.iter().position(|word| *word == "ProducerEpoch").unwrap();
        rows.next().and_then(|row| row.get(column)?.parse().ok()).unwrap_or_else(|| panic!("no epoch: {said}"))
    }

    /// Removes the records of a partition before `offset`, as retention does.
    pub fn expire(&self, topic: &str, partition: i32, offset: i64) {
        let mut before = TopicPartitionList::new();
        before.add_partition_offset(topic, partition, Offset::Offset(offset)).unwrap();
        let done = self.admin(async |admin, options| admin.delete_records(&before, options).await.unwrap());
        done.elements().iter().for_each(|element| element.error().unwrap());
    }

    /// Gives a topic more partitions.
    pub fn widen(&self, topic: &str, partitions: usize) {
        let more = [NewPartitions::new(topic, partitions)];
        for result in self.admin(async |admin, options| admin.create_partitions(&more, options).await.unwrap()) {
            result.unwrap();
        }
    }
}

fn parse(line: &[u8]) -> Record<'_> {
    let parsed = || {
        let rest = line.strip_prefix(b"Partition:")?;
        let tab = rest.iter().position(|b| *b == b'\t')?;
        let (partition, rest) = (std::str::from_utf8(&rest[..tab]).ok()?.parse().ok()?, &rest[tab + 1..]);
        let rest = rest.strip_prefix(b"Offset:")?;
        let tab = rest.iter().position(|b| *b == b'\t')?;
        let offset = std::str::from_utf8(&rest[..tab]).ok()?.parse().ok()?;
        Some(Record { partition, offset, value: &rest[tab + 1..] })
    };
    parsed().unwrap_or_else(|| panic!("a record holds a line end: {}", line.escape_ascii()))
}

/// Waits for this process to end, then removes the bed.
#[expect(clippy::zombie_processes, reason = "it outlives this process, that is its use")]
fn guard(home: &Path) {
    let script = r#"tail --pid="$1" -s 0.2 -f /dev/null; KAFKA_BED="$2" "$3" wipe; rm -rf "$2""#;
    let mut guard = Command::new("sh");
    guard.args(["-c", script, "guard", &std::process::id().to_string()]).arg(home).arg(SCRIPT);
    guard.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    guard.process_group(0).spawn().unwrap(); // Ctrl-C ends the tests, not their guard
}
