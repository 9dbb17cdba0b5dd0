//! The cluster of the tests: one of our own by `tests/beds/cluster/cluster.sh`, up once for all of them, or one that is named.
//!
//! Ours ends with the test binary, however that ends: a guard process sees to it. Its logs stay, with what tests kept beside them.
//! A bed that runs in `$CLUSTER_BED` already is used as it is and left running, which spares its start while one writes tests.
//! `SPOOLWAY_TEST_KUBECONFIG` names another cluster made for tests; then SPOOLWAY_TEST_IMAGE is the image that its nodes can pull,
//! SPOOLWAY_TEST_KAFKA a broker that its pods and this machine reach, SPOOLWAY_TEST_TOOLS_IMAGE a busybox.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::e2e::until;
use crate::skip::skipped;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const CLUSTER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/beds/cluster/cluster.sh");
const KAFKA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/beds/kafka/kafka.sh");
const SECURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/beds/kafka/secure.sh");
/// So that a broker that was killed is back within seconds, and an abandoned transaction ends soon after its timeout.
const SETTINGS: &[&str] = &[
    "broker.session.timeout.ms=2000",
    "broker.heartbeat.interval.ms=500",
    "transaction.abort.timed.out.transaction.cleanup.interval.ms=1000",
];
/// Where the operator is.
pub const SYSTEM: &str = "spoolway-system";
/// The namespace of the pods that put files into the nodes' directories, as applications would.
const WRITERS: &str = "spoolway-e2e";

/// The image that is tested, in our own bed: the name that the docs use.
const IMAGE: &str = concat!("localhost/spoolway:", env!("CARGO_PKG_VERSION"));

/// A cluster with our operator in it, and a Kafka.
pub struct Bed {
    /// The kubeconfig of a cluster that is not ours.
    named: Option<String>,
    /// The folder of our own; of another, one for what is kept.
    home: PathBuf,
    image: String,
    tools: String,
    /// Where pods find Kafka.
    pub kafka: String,
    /// Names of the nodes that run what any pod may run on, sorted.
    pub nodes: Vec<String>,
    /// The writer's pod of each of them.
    pods: Vec<String>,
}

/// The cluster, for one test at a time; `None`, and said so, where none can run.
pub fn bed() -> Option<MutexGuard<'static, Option<Bed>>> {
    static BED: Mutex<Option<Bed>> = Mutex::new(None);
    let mut bed = BED.lock().unwrap_or_else(PoisonError::into_inner);
    if bed.is_none() {
        *bed = Bed::up();
    }
    bed.is_some().then_some(bed)
}

fn cache() -> PathBuf {
    let home = || PathBuf::from(std::env::var("HOME").unwrap_or_default()).join(".cache/spoolway");
    std::env::var("SPOOLWAY_CACHE").map_or_else(|_| home(), PathBuf::from)
}

fn is_root() -> bool {
    std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").unwrap()) == 0
}

/// What our own cluster lacks on this machine.
fn missing() -> Option<&'static str> {
    let built = std::fs::read_dir(cache()).into_iter().flatten().flatten();
    let mut built = built.filter(|entry| entry.file_name().to_string_lossy().starts_with("kube-"));
    if !is_root() {
        return Some("a cluster of our own needs root");
    }
    (!built.any(|entry| entry.path().join("kubeall").is_file())).then_some("run make cluster-beds first")
}

impl Bed {
    fn up() -> Option<Self> {
        let mut bed = match std::env::var("SPOOLWAY_TEST_KUBECONFIG") {
            Ok(config) => Self::named(config)?,
            Err(_) => Self::ours()?,
        };
        bed.install();
        bed.writers();
        Some(bed)
    }

    fn named(config: String) -> Option<Self> {
        let (Ok(image), Ok(kafka)) = (std::env::var("SPOOLWAY_TEST_IMAGE"), std::env::var("SPOOLWAY_TEST_KAFKA"))
        else {
            skipped("SPOOLWAY_TEST_KUBECONFIG also needs SPOOLWAY_TEST_IMAGE and SPOOLWAY_TEST_KAFKA");
            return None;
        };
        let home = cache().join("cluster-named");
        std::fs::create_dir_all(home.join("kafka")).unwrap();
        std::fs::create_dir_all(home.join("log")).unwrap();
        // What kafka.sh would write had it started this broker.
        let (host, port) = kafka.rsplit_once(':').expect("SPOOLWAY_TEST_KAFKA is HOST:PORT");
        std::fs::write(home.join("kafka/shape"), format!("host={host}\nport={port}\nnodes=1\n")).unwrap();
        let tools = std::env::var("SPOOLWAY_TEST_TOOLS_IMAGE").unwrap_or_else(|_| "busybox:1".to_owned());
        Some(Self { named: Some(config), home, image, tools, kafka, nodes: vec![], pods: vec![] })
    }

    fn ours() -> Option<Self> {
        if let Some(why) = missing() {
            skipped(why);
            return None;
        }
        let home = std::env::var("CLUSTER_BED").map_or_else(|_| cache().join("cluster-e2e"), PathBuf::from);
        let tools = "localhost/busybox:1".to_owned();
        let bed = Self {
            named: None,
            home,
            image: IMAGE.to_owned(),
            tools,
            kafka: String::new(),
            nodes: vec![],
            pods: vec![],
        };
        if bed.cluster(&["status"]).output().unwrap().status.success() {
            eprintln!("the cluster in {} is used, and stays", bed.home.display());
        } else {
            guard(&bed.home);
            said(&mut bed.cluster(&["up"]), "");
        }
        let kafka = bed.start_kafka();
        let archive = bed.home.join("log/image.tar");
        let mut make = Command::new(format!("{ROOT}/scripts/image.sh"));
        make.args(["--binary", env!("CARGO_BIN_EXE_spoolway"), "--name", IMAGE, "--out"]).arg(&archive);
        said(&mut make, "");
        said(bed.cluster(&["image"]).arg(&archive), "");
        std::fs::remove_file(archive).unwrap();
        Some(Self { kafka, ..bed })
    }

    /// Starts Kafka with a secured listener beside the plain one; prints where the plain one is.
    fn start_kafka(&self) -> String {
        let mut start = SETTINGS.to_vec();
        let secure = if self.vault().join("broker.pem").exists() {
            String::new() // it runs, in a bed that stays
        } else {
            let vault = self.vault();
            said(Command::new(SECURE).arg("settings").arg(vault).args(["19092", "10.200.0.1"]), "")
        };
        start.extend(secure.split_whitespace());
        said(&mut self.kafka(&[&["start"], &start[..]].concat()), "").trim().to_owned()
    }

    /// Where the certificates of our Kafka are.
    pub fn vault(&self) -> PathBuf {
        self.home.join("pki/kafka")
    }

    /// Our Kafka's listener for SASL over TLS.
    pub fn secured(&self) -> String {
        "10.200.0.1:19094".to_owned()
    }

    /// `secure.sh` on our Kafka.
    pub fn secure(&self, args: &[&str]) {
        let home = format!("KAFKA_BED={}", self.home.join("kafka").display());
        said(&mut self.cluster(&[&["exec", "env", &home, SECURE], args].concat()), "");
    }

    /// Installs the operator, or puts it in the place of the one that is there.
    pub fn install(&self) {
        let (repository, tag) = self.image.rsplit_once(':').expect("an image with its tag");
        let chart = format!("{ROOT}/charts/spoolway");
        let values = format!("image.repository={repository},image.tag={tag},image.pullPolicy=IfNotPresent");
        self.helm(&[
            "upgrade",
            "--install",
            "spoolway",
            &chart,
            "-n",
            SYSTEM,
            "--create-namespace",
            "--set",
            &values,
        ]);
        // A bed that was there already has an older program under the same name.
        self.kubectl(&[
            "-n",
            SYSTEM,
            "delete",
            "pod",
            "-l",
            "app.kubernetes.io/component=operator",
            "--ignore-not-found",
        ]);
        self.operator_is_there();
    }

    /// Waits for the operator to run.
    pub fn operator_is_there(&self) {
        self.kubectl(&["-n", SYSTEM, "rollout", "status", "deployment/spoolway-operator", "--timeout=120s"]);
    }

    fn writers(&mut self) {
        let manifest = include_str!("writers.yaml").replace("IMAGE", &self.tools);
        self.apply(&manifest);
        self.kubectl(&["-n", WRITERS, "rollout", "status", "daemonset/writer", "--timeout=120s"]);
        let each = r#"jsonpath={range .items[*]}{.spec.nodeName} {.metadata.name}{"\n"}{end}"#;
        let pods = self.kubectl(&["-n", WRITERS, "get", "pods", "-l", "app=writer", "-o", each]);
        let mut pods: Vec<_> = pods.lines().filter_map(|line| line.split_once(' ')).collect();
        pods.sort_unstable();
        (self.nodes, self.pods) = pods.into_iter().map(|(node, pod)| (node.to_owned(), pod.to_owned())).unzip();
    }

    /// Whether a node's plug may be pulled: only in a cluster of our own.
    pub fn is_ours(&self) -> bool {
        self.named.is_none()
    }

    /// `cluster.sh`, of our own cluster.
    pub fn cluster(&self, args: &[&str]) -> Command {
        let mut command = Command::new(CLUSTER);
        command.args(args).env("CLUSTER_BED", &self.home).current_dir(ROOT);
        command
    }

    /// `kafka.sh`, of this cluster's Kafka.
    pub fn kafka(&self, args: &[&str]) -> Command {
        if self.is_ours() {
            return self.cluster(&[&["kafka"], args].concat());
        }
        let mut command = Command::new(KAFKA);
        command.args(args).env("KAFKA_BED", self.home.join("kafka"));
        command
    }

    /// A program that finds the cluster: kubectl, helm, a shell.
    pub fn tool(&self, tool: &str) -> Command {
        match &self.named {
            None => self.cluster(&["exec", tool]),
            Some(config) => {
                let mut command = Command::new(tool);
                command.env("KUBECONFIG", config).current_dir(ROOT);
                command
            }
        }
    }

    /// What kubectl says; panics with its words where it fails.
    pub fn kubectl(&self, args: &[&str]) -> String {
        said(self.tool("kubectl").args(args), "")
    }

    /// What kubectl says, or why not.
    pub fn try_kubectl(&self, args: &[&str]) -> Result<String, String> {
        tried(self.tool("kubectl").args(args), "")
    }

    /// `kubectl apply`.
    pub fn apply(&self, manifest: &str) {
        said(self.tool("kubectl").args(["apply", "-f", "-"]), manifest);
    }

    /// What helm says.
    pub fn helm(&self, args: &[&str]) -> String {
        said(self.tool("helm").args(args), "")
    }

    /// A shell on a node that sees its spool directories, and begins where they lie.
    pub fn shell(&self, node: &str, script: &str) -> Command {
        let index = self.nodes.iter().position(|name| name == node).expect("a node of this cluster");
        let mut command = self.tool("kubectl");
        command.args(["-n", WRITERS, "exec", "-i", &self.pods[index], "--", "sh", "-euc"]);
        command.arg(format!("cd /var/spool/spoolway; {script}"));
        command
    }

    /// Waits until scripts run on a node again.
    pub fn answers(&self, node: &str) {
        until("a node that answers", Duration::from_secs(90), || tried(&mut self.shell(node, "true"), "").ok());
    }

    /// What a script says on a node.
    pub fn on(&self, node: &str, script: &str) -> String {
        said(&mut self.shell(node, script), "")
    }

    /// Keeps a text beside the logs, for the docs and for whoever looks for a failure.
    pub fn keep(&self, name: &str, text: &str) {
        std::fs::write(self.home.join("log").join(name), text).unwrap();
    }
}

/// What a command says on stdout; panics with what it says on stderr where it fails.
pub fn said(command: &mut Command, input: &str) -> String {
    tried(command, input).unwrap_or_else(|why| panic!("{command:?}: {why}"))
}

/// What a command says on stdout, or on stderr where it fails.
pub fn tried(command: &mut Command, input: &str) -> Result<String, String> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // A command that fails before it reads closes the pipe; it says why itself.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let out = child.wait_with_output().unwrap();
    if out.status.success() {
        Ok(String::from_utf8(out.stdout).unwrap())
    } else {
        Err(String::from_utf8_lossy(&out.stderr).into_owned())
    }
}

/// Waits for this process to end, then takes the cluster down.
#[expect(clippy::zombie_processes, reason = "it outlives this process, that is its use")]
fn guard(home: &Path) {
    let script = r#"tail --pid="$1" -s 0.2 -f /dev/null; CLUSTER_BED="$2" "$3" down"#;
    let mut guard = Command::new("sh");
    guard.args(["-c", script, "guard", &std::process::id().to_string()]).arg(home).arg(CLUSTER);
    guard.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    guard.process_group(0).spawn().unwrap(); // Ctrl-C ends the tests, not their guard
}
