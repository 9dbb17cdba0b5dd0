//! One LogPipeline under test: its namespace, its topic, the files that were put into its directory on every node, and the judge.
//!
//! Every line is unique, so what a reader that is not ours finds on the topic can be held against what was written. A test that
//! fails tells what kubectl says of everything that is its own.

use std::cell::{Cell, RefCell};
use std::fmt::Write;
use std::process::Child;
use std::time::{Duration, Instant};

use super::bed::{Bed, SYSTEM, said};
use crate::e2e::until;

/// How long things may take on a machine that is busy with other tests.
pub const SOON: Duration = Duration::from_secs(120);

/// A LogPipeline of the name `web` in a namespace of its own.
pub struct Line<'a> {
    pub bed: &'a Bed,
    pub namespace: String,
    pub topic: String,
    /// Files put on each node.
    files: Cell<usize>,
    begun: Instant,
    written: RefCell<Vec<String>>,
}

impl<'a> Line<'a> {
    /// Makes the namespace and a topic.
    pub fn new(bed: &'a Bed, namespace: &str) -> Self {
        // A bed that stays holds what the last run left.
        bed.kubectl(&["delete", "namespace", namespace, "--ignore-not-found", "--timeout=60s"]);
        let topic = format!("{namespace}-{:08x}", fastrand::u32(..));
        bed.kubectl(&["create", "namespace", namespace]);
        said(&mut bed.kafka(&["topic", &topic, "4"]), "");
        for node in &bed.nodes {
            bed.on(node, &format!("rm -rf {namespace}; mkdir -p {namespace}/web"));
        }
        Self {
            bed,
            namespace: namespace.to_owned(),
            topic,
            files: Cell::new(0),
            begun: Instant::now(),
            written: RefCell::default(),
        }
    }

    /// The manifest of deploy/samples/quickstart.yaml, for this namespace, topic and Kafka.
    pub fn manifest(&self) -> String {
        include_str!("../../deploy/samples/quickstart.yaml")
            .replace("name: quickstart", "name: web")
            .replace("namespace: default", &format!("namespace: {}", self.namespace))
            .replace("spoolway/default}", &format!("spoolway/{}/web, settleTime: 500ms}}", self.namespace))
            .replace("kafka:9092", &self.bed.kafka)
            .replace("topic: quickstart", &format!("topic: {}", self.topic))
            .replace("daemonSet: {}", "daemonSet: {maxUnavailable: 1}")
    }

    /// kubectl in this namespace.
    pub fn kubectl(&self, args: &[&str]) -> String {
        self.bed.kubectl(&[&["-n", &self.namespace], args].concat())
    }

    /// A field of the LogPipeline; empty where it is not there.
    pub fn field(&self, path: &str) -> String {
        let path = format!("jsonpath={path}");
        self.bed.try_kubectl(&["-n", &self.namespace, "get", "lpl", "web", "-o", &path]).unwrap_or_default()
    }

    /// A condition's status and reason.
    pub fn condition(&self, name: &str) -> String {
        let at = format!("{{.status.conditions[?(@.type==\"{name}\")]");
        self.field(&format!("{at}.status}} {at}.reason}}"))
    }

    /// Waits until the newest generation is Ready on every node.
    pub fn is_ready(&self) {
        let all = format!("{0}/{0}", self.bed.nodes.len());
        let wanted = || {
            let seen = self.field("{.metadata.generation} {.status.observedGeneration} {.status.summary.agents}");
            let mut seen = seen.split(' ');
            seen.next() == seen.next() && seen.next() == Some(&all) && self.condition("Ready").starts_with("True")
        };
        until("Ready on every node", SOON, || wanted().then_some(()));
    }

    /// Names of the agents' pods, sorted.
    pub fn pods(&self) -> Vec<String> {
        let pods = self.kubectl(&["get", "pods", "-l", "spoolway.dev/agent-of=web", "-o", "name"]);
        let mut pods: Vec<_> = pods.lines().map(str::to_owned).collect();
        pods.sort();
        pods
    }

    /// Puts a file on every node.
    pub fn file(&self, lines: usize) {
        for mut writer in self.flow(1, lines) {
            assert!(writer.wait().unwrap().success());
        }
    }

    /// Begins to put files on every node, one each half second; each is written aside and renamed, as the docs ask for.
    pub fn flow(&self, files: usize, lines: usize) -> Vec<Child> {
        let first = self.files.get() + 1;
        self.files.set(first + files - 1);
        let script = format!(
            "cd {}/web; for f in $(seq {first} {}); do [ $f = {first} ] || sleep 0.5; seq 1 {lines} | \
             sed \"s/.*/$NODE file $f line &/\" >$f.log.tmp; mv $f.log.tmp $f.log; done",
            self.namespace,
            first + files - 1
        );
        let each = self.bed.nodes.iter().map(|node| {
            let mut written = self.written.borrow_mut();
            for file in first..first + files {
                written.extend((1..=lines).map(|line| format!("{node} file {file} line {line}")));
            }
            self.bed.shell(node, &script.replace("$NODE", node)).spawn().unwrap()
        });
        each.collect()
    }

    /// Waits until every file of every node is complete, then holds the topic against what was written.
    pub fn exactly(&self) {
        let files = self.files.get();
        for node in &self.bed.nodes {
            let count = format!("ls {}/web | grep -c 'log.COMPLETED$' || true", self.namespace);
            until(&format!("{files} complete files on {node}"), SOON, || {
                (self.bed.on(node, &count).trim() == files.to_string()).then_some(())
            });
        }
        let text = said(&mut self.bed.kafka(&["read", &self.topic, "--timeout-ms", "60000"]), "");
        // Partition:P TAB Offset:O TAB value
        let mut found: Vec<&str> = text.lines().filter_map(|line| line.splitn(3, '\t').nth(2)).collect();
        let mut written = self.written.borrow_mut();
        written.sort_unstable();
        found.sort_unstable();
        if found != *written {
            let twice = found.windows(2).filter(|pair| pair[0] == pair[1]).count();
            let missing: Vec<_> =
                written.iter().filter(|line| found.binary_search(&line.as_str()).is_err()).collect();
            let first = missing.first();
            panic!(
                "{} written, {} found: {} missing ({first:?}), {twice} twice",
                written.len(),
                found.len(),
                missing.len()
            );
        }
    }

    /// How many records a `read_committed` reader sees by now.
    pub fn arrived(&self) -> usize {
        let read = self.bed.kafka(&["read", &self.topic, "--timeout-ms", "15000"]).output().unwrap();
        // It fails while an open transaction holds up the end, and says what it saw all the same.
        read.stdout.iter().filter(|byte| **byte == b'\n').count()
    }

    /// What there is to see of this pipeline.
    fn story(&self) -> String {
        let mut story = String::new();
        let agents = ["-n", &self.namespace, "logs", "-l", "spoolway.dev/agent-of=web", "--tail=40", "--prefix"];
        let questions: [&[&str]; 6] = [
            &["-n", &self.namespace, "get", "lpl,daemonsets,pods", "-o", "wide"],
            &["-n", &self.namespace, "get", "lpl", "-o", "yaml"],
            &["-n", &self.namespace, "get", "events", "--sort-by=.metadata.creationTimestamp"],
            &agents,
            &["-n", SYSTEM, "get", "pods", "-o", "wide"],
            &["-n", SYSTEM, "logs", "deployment/spoolway-operator", "--tail=60"],
        ];
        for question in questions {
            let answer = self.bed.try_kubectl(question).unwrap_or_else(|why| why);
            writeln!(story, "$ kubectl {}\n{answer}", question.join(" ")).unwrap();
        }
        for node in &self.bed.nodes {
            let list = said(&mut self.bed.shell(node, &format!("ls -l {}/web | tail -40", self.namespace)), "");
            writeln!(story, "{node}:\n{list}").unwrap();
        }
        story
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let story = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.story()));
            let story = story.unwrap_or_else(|_| "the cluster does not answer".to_owned());
            self.bed.keep(&format!("failed-{}.txt", self.namespace), &story);
            eprintln!("{story}");
        }
        eprintln!("{}: {:.0} s", self.namespace, self.begun.elapsed().as_secs_f64());
        let _ = self.bed.try_kubectl(&["delete", "namespace", &self.namespace, "--wait=false"]);
    }
}
