//! A broker with TLS, client certificates, SASL and ACLs: each way in works, each thing that is missing is told with what to do, and
//! it goes on by itself when it is there.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use spoolway::pipeline::report::FlowReason;

use super::agent::Agent;
use super::bed::Bed;
use super::check::exactly;
use super::job::{Job, Plan};
use super::until;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/beds/kafka/secure.sh");
const SOON: Duration = Duration::from_secs(60);

/// The secured broker that these tests share; its plain listener is for the judge.
fn secured() -> Option<&'static Bed> {
    static SECURED: OnceLock<Option<Bed>> = OnceLock::new();
    let settings = |home: &Path, port: u16| {
        let said = script(home, &["settings", &vault(home), &port.to_string()]);
        said.split_whitespace().map(str::to_owned).collect()
    };
    let bed = SECURED.get_or_init(|| Bed::start(settings)).as_ref();
    if bed.is_none() {
        super::skipped("java and mvn are needed to run Kafka");
    }
    bed
}

/// Where the certificates are.
fn vault(home: &Path) -> String {
    home.join("vault").display().to_string()
}

fn script(home: &Path, args: &[&str]) -> String {
    let out = Command::new(SCRIPT).args(args).env("KAFKA_BED", home).stdin(Stdio::null()).output().unwrap();
    assert!(out.status.success(), "secure.sh {args:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

/// `127.0.0.1:PORT` of the listener with passwords (2) or with client certificates (3).
fn listener(bed: &Bed, which: u16) -> String {
    let (host, port) = bed.address.split_once(':').unwrap();
    format!("{host}:{}", port.parse::<u16>().unwrap() + which)
}

/// A job whose agent comes in by another listener, with `--secrets`.
struct Guarded<'b>(Job<'b>);

impl<'b> Guarded<'b> {
    fn new(bed: &'b Bed, name: &str, which: u16, sink: &str) -> Self {
        let job = Job::new(bed, name, &Plan { sink, ..Plan::default() });
        let text = fs::read_to_string(&job.manifest).unwrap();
        fs::write(&job.manifest, text.replace(&bed.address, &listener(bed, which))).unwrap();
        let guarded = Guarded(job);
        guarded.secret("ca", "ca.crt", &guarded.certificate("ca.crt"));
        guarded
    }

    fn certificate(&self, name: &str) -> String {
        fs::read_to_string(Path::new(&vault(&self.0.bed.home)).join(name)).unwrap()
    }

    fn secrets(&self) -> String {
        self.0.home().join("secrets").display().to_string()
    }

    /// Writes a key of a Secret, as somebody who corrects it would.
    fn secret(&self, secret: &str, key: &str, text: &str) {
        let directory = Path::new(&self.secrets()).join(secret);
        fs::create_dir_all(&directory).unwrap();
        let new = directory.join(".new");
        fs::write(&new, text).unwrap();
        fs::set_permissions(&new, fs::Permissions::from_mode(0o600)).unwrap();
        fs::rename(new, directory.join(key)).unwrap();
    }

    fn start(&self) -> Agent {
        Agent::start(&self.0.manifest, &["--http", "127.0.0.1:0", "--secrets", &self.secrets()])
    }

    /// All that an agent of this pipeline needs, and nothing more.
    fn grant_all(&self, user: &str) {
        for grant in self.grants(user) {
            self.acl("--add", &grant);
        }
    }

    /// As docs/quickstart.md lists them: `kafka-acls` arguments after `--add`.
    fn grants(&self, user: &str) -> [Vec<String>; 4] {
        let checkpoints = self.0.checkpoints();
        let prefix = format!("spoolway/local/{}/", self.0.topic.trim_end_matches("-data"));
        let words = |text: String| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let user = format!("--allow-principal User:{user}");
        [
            words(format!("{user} --operation Write --operation Describe --topic {}", self.0.topic)),
            words(format!("{user} --operation Read --operation Write --operation Describe --topic {checkpoints}")),
            words(format!("{user} --operation Write --operation Describe --topic {}", self.0.receipts)),
            words(format!(
                "{user} --operation Write --operation Describe --transactional-id {prefix} --resource-pattern-type prefixed"
            )),
        ]
    }

    fn acl(&self, what: &str, grant: &[String]) {
        let force = if what == "--remove" { vec!["--force"] } else { vec![] };
        let args: Vec<_> =
            ["grant", what].into_iter().chain(grant.iter().map(String::as_str)).chain(force).collect();
        script(&self.0.bed.home, &args);
    }

    fn user(&self, name: &str, password: &str) {
        script(&self.0.bed.home, &["user", &vault(&self.0.bed.home), name, password]);
    }

    fn client(&self, name: &str) {
        script(&self.0.bed.home, &["client", &vault(&self.0.bed.home), name]);
    }

    /// Gives a grant: what stands behind `--add` in a message.
    fn add(&self, command: &str) {
        self.acl("--add", &command.split(' ').map(str::to_owned).collect::<Vec<_>>());
    }

    /// Waits until so many grants, and nothing else, are in the way of `spoolway plan`; returns their commands.
    fn grants_missing(&self, count: usize) -> Vec<String> {
        let mut last = serde_json::Value::Null;
        until("plan names the grants", SOON, || {
            let (code, plan) = self.0.plan(&["--secrets", &self.secrets()]);
            last = plan["inTheWay"].clone();
            let found = last.as_array().unwrap();
            let all = found.iter().all(|finding| finding["reason"] == "MissingGrant");
            (found.len() == count && all && code == Some(i32::from(count > 0))).then_some(())
        });
        let found = last.as_array().unwrap().iter().map(|finding| finding["message"].as_str().unwrap().to_owned());
        found.map(|message| command_of(&message.replace(&listener(self.0.bed, 2), "<broker>"))).collect()
    }

    /// The line that an on-call sees.
    fn trouble(&self, agent: &Agent, reason: FlowReason) -> String {
        agent.reports(&format!("{reason:?}"), SOON, |r| r.reason == reason);
        let (code, line) = agent.get("/readyz");
        assert_eq!((code, line.trim_end().lines().count()), (503, 1), "{line}");
        let line = line.replace(&self.secrets(), "<secrets>").replace(&listener(self.0.bed, 2), "<broker>");
        self.0.redact(&line.replace(&listener(self.0.bed, 3), "<broker>"))
    }

    /// A file goes through.
    fn ships(&self, agent: &Agent, file: u64) -> super::check::Written {
        let name = format!("{file}.log");
        let written = self.0.put(name.as_bytes(), format!("line of {name}\n").repeat(1000).as_bytes());
        agent.drained(file, Duration::from_secs(90));
        written
    }
}

/// What a message says behind `kafka-acls --bootstrap-server <broker> --add`.
fn command_of(message: &str) -> String {
    message.split("kafka-acls --bootstrap-server <broker> --add ").nth(1).unwrap().trim_end().to_owned()
}

const TLS: &str = "tls: {caSecret: {name: ca, key: ca.crt}";
const SCRAM: &str = ", tls: {caSecret: {name: ca, key: ca.crt}}, sasl: {mechanism: ScramSha512, username: USER, passwordSecret: {name: user, key: password}}";

#[test]
fn a_scram_user_with_just_its_grants_ships_and_each_grant_that_is_taken_away_is_named_and_missed() {
    let Some(bed) = secured() else { return };
    let job = Guarded::new(bed, "scram", 2, &SCRAM.replace("USER", "shipper"));
    job.user("shipper", "first-secret");
    job.secret("user", "password", "first-secret\n");
    job.grant_all("shipper");
    let agent = job.start();
    let mut written = vec![job.ships(&agent, 1)];
    let mut told = String::new();
    for (file, grant) in (2..).zip(job.grants("shipper")) {
        job.acl("--remove", &grant);
        let name = format!("{file}.log");
        written.push(job.0.put(name.as_bytes(), format!("line of {name}\n").repeat(1000).as_bytes()));
        let line = job.trouble(&agent, FlowReason::MissingGrant);
        assert!(!job.0.shown().contains(&format!("{name}.COMPLETED")), "shipped without a grant");
        assert_eq!(job.grants_missing(1), [command_of(&line)], "plan says the same");
        // The command that the message gives, and not ours, is what an on-call types.
        job.add(&command_of(&line));
        agent.drained(file, Duration::from_secs(120));
        told.push_str(&line);
    }
    insta::assert_snapshot!("grants", told);
    agent.reports("it is ready", SOON, |r| r.flowing);
    // All at once: plan names each, where an agent stops at the first.
    agent.kill();
    job.grants("shipper").iter().for_each(|grant| job.acl("--remove", grant));
    for command in job.grants_missing(4) {
        job.add(&command);
    }
    job.grants_missing(0);
    exactly(&job.0, &written);
}

#[test]
fn a_user_who_may_see_a_topic_and_not_write_to_it_is_told_which() {
    let Some(bed) = secured() else { return };
    let job = Guarded::new(bed, "writeonly", 2, &SCRAM.replace("USER", "writer"));
    job.user("writer", "secret");
    job.secret("user", "password", "secret");
    job.grant_all("writer");
    let agent = job.start();
    job.ships(&agent, 1);
    for (file, topic) in (2..).zip([&job.0.topic, &job.0.receipts, &job.0.checkpoints()]) {
        let write = format!("--allow-principal User:writer --operation Write --topic {topic}");
        let words: Vec<_> = write.split(' ').map(str::to_owned).collect();
        job.acl("--remove", &words);
        let name = format!("{file}.log");
        job.0.put(name.as_bytes(), format!("line of {name}\n").repeat(1000).as_bytes());
        let line = until("the topic is named", SOON, || {
            Some(job.trouble(&agent, FlowReason::MissingGrant)).filter(|line| line.contains("grant it: "))
        });
        assert!(line.trim_end().ends_with(&format!("--topic {topic}")), "{line}");
        job.add(&command_of(&line));
        agent.drained(file, Duration::from_secs(120));
    }
}

#[test]
fn client_certificates_of_both_layouts_ship() {
    let Some(bed) = secured() else { return };
    for (name, crt, key) in [("strimzi", "user.crt", "user.key"), ("tlssecret", "tls.crt", "tls.key")] {
        let sink = format!(", {TLS}, clientCertificateSecret: {{name: client}}}}");
        let job = Guarded::new(bed, name, 3, &sink);
        job.client(name);
        job.grant_all(name);
        job.secret("client", crt, &job.certificate(&format!("{name}.crt")));
        job.secret("client", key, &job.certificate(&format!("{name}.key")));
        // Strimzi's Secret holds the clients' CA, which is nobody's business here.
        job.secret("client", "ca.crt", "not a certificate");
        let agent = job.start();
        let written = job.ships(&agent, 1);
        exactly(&job.0, &[written]);
    }
}

#[test]
fn a_plain_user_ships() {
    let Some(bed) = secured() else { return };
    let sink = SCRAM.replace("USER", "plain").replace("ScramSha512", "Plain");
    let job = Guarded::new(bed, "plainuser", 2, &sink);
    job.secret("user", "password", "plain-secret");
    job.grant_all("plain");
    let agent = job.start();
    let written = job.ships(&agent, 1);
    exactly(&job.0, &[written]);
}

#[test]
fn a_missing_secret_a_wrong_password_and_a_wrong_authority_are_told_and_used_when_they_are_right() {
    let Some(bed) = secured() else { return };
    let job = Guarded::new(bed, "wrongsecrets", 2, &SCRAM.replace("USER", "careless"));
    job.user("careless", "right-secret");
    job.grant_all("careless");
    let written = job.0.put(b"1.log", b"one\ntwo\n");
    let agent = job.start();
    insta::assert_snapshot!("missing_secret", job.trouble(&agent, FlowReason::SecretMissing));
    job.secret("user", "password", "wrong-secret");
    let line = job.trouble(&agent, FlowReason::AuthenticationFailed);
    insta::assert_snapshot!("wrong_password", line);
    // An authority that did not sign the broker's certificate: here another one of the same kind.
    let other = tempfile::tempdir().unwrap();
    script(other.path(), &["settings", other.path().to_str().unwrap(), "9"]);
    job.secret("ca", "ca.crt", &fs::read_to_string(other.path().join("ca.crt")).unwrap());
    job.secret("user", "password", "right-secret");
    agent.reports("the authority is told", SOON, |r| r.message.contains("authority"));
    insta::assert_snapshot!("wrong_authority", job.trouble(&agent, FlowReason::AuthenticationFailed));
    job.secret("ca", "ca.crt", &job.certificate("ca.crt"));
    agent.drained(1, Duration::from_secs(120));
    let said = agent.err();
    for secret in ["wrong-secret", "right-secret"] {
        assert!(!said.contains(secret), "a password in the log");
    }
    exactly(&job.0, &[written]);
}

#[test]
fn certificates_that_rotate_while_files_flow_are_taken_up_and_nothing_is_lost_or_twice() {
    let Some(bed) = secured() else { return };
    let sink = format!(", {TLS}, clientCertificateSecret: {{name: client}}}}");
    let job = Guarded::new(bed, "rotation", 3, &sink);
    let rotate = |name: &str| {
        job.client(name);
        job.secret("client", "user.crt", &job.certificate(&format!("{name}.crt")));
        job.secret("client", "user.key", &job.certificate(&format!("{name}.key")));
    };
    let taken = |agent: &Agent| agent.log().iter().filter(|(_, said)| said.contains("is in force")).count();
    rotate("rotation");
    job.grant_all("rotation");
    let agent = job.start();
    let mut written = vec![];
    let mut flow = |file: usize| {
        let name = format!("{file}.log");
        let text: String = (0..20_000).map(|line| format!("{name} line {line}\n")).collect();
        written.push(job.0.put(name.as_bytes(), text.as_bytes()));
    };
    for turn in 0..4 {
        rotate("rotation");
        let begun = std::time::Instant::now();
        for file in 0.. {
            flow(turn * 1000 + file);
            std::thread::sleep(Duration::from_millis(300)); // one file after the other, as applications write
            if taken(&agent) > turn {
                break;
            }
            assert!(begun.elapsed() < SOON, "rotation {turn} was not taken up");
        }
    }
    // That it is the new one which is used: this one's owner may do nothing.
    rotate("stranger");
    job.trouble(&agent, FlowReason::MissingGrant);
    flow(9000);
    rotate("rotation");
    agent.drained(written.len() as u64, Duration::from_secs(120));
    exactly(&job.0, &written);
}

#[test]
fn verify_names_the_grant_it_lacks_and_needs_no_other() {
    let Some(bed) = secured() else { return };
    let job = Guarded::new(bed, "verifygrants", 2, &SCRAM.replace("USER", "verifier"));
    job.user("verifier", "verifier-secret");
    job.secret("user", "password", "verifier-secret");
    job.grant_all("verifier");
    let agent = job.start();
    job.ships(&agent, 1);
    agent.kill();
    for topic in [&job.0.receipts, &job.0.topic] {
        let mut said = String::new();
        until("the grant is named", SOON, || {
            let ended = job.0.ask(&["verify"], &["--secrets", &job.secrets()]);
            said = ended.err.replace(&listener(job.0.bed, 2), "<broker>");
            let wanted = format!("spoolway: this user may not read topic {topic}; grant it: kafka-acls ");
            (ended.code == Some(1) && said.starts_with(&wanted)).then_some(())
        });
        job.add(&command_of(&said));
    }
    until("nothing else is needed", SOON, || {
        let ended = job.0.ask(&["verify"], &["--secrets", &job.secrets()]);
        (ended.code == Some(0)).then_some(())
    });
}
