//! Rules on the sink, and on what the sink and other parts make of each other.

use super::{
    Rule, absolute, exactly_one, number, object_name, plain, plain_text, rule, rule_about, size, span, topic,
};
use crate::pipeline::properties::{self, QUEUE};

const AT: &str = "spec.sink.kafka";
const MEMBERS: [&str; 3] = ["kafka", "file", "console"];

pub(super) fn rules() -> Vec<Rule> {
    let mut rules = vec![
        exactly_one("spec.sink", &MEMBERS, "kafka: {bootstrapServers: [kafka-1:9092], topic: web}"),
        kind_stays(),
    ];
    rules.extend(servers());
    rules.push(topic(&at("topic")));
    rules.extend(partition());
    rules.extend(secrets());
    rules.extend(tuning());
    rules.extend(together());
    rules.extend(file());
    rules.extend(console());
    rules
}

fn kind_stays() -> Rule {
    let same = MEMBERS.map(|name| format!("has(self.{name}) == has(oldSelf.{name})"));
    let message = "the kind of sink never changes, since progress is kept with it; put it back, or delete the LogPipeline and create it again";
    rule("spec.sink", &same.join(" && "), message)
}

fn file() -> Vec<Rule> {
    let at = |field: &str| format!("spec.sink.file.{field}");
    let message = "runs on a bare machine; use spoolway agent -f there, or sink kafka here";
    let mut rules = vec![rule_about("spec.sink", ".file", "!has(self.file)", message)];
    rules.extend(absolute(&at("directory")));
    rules.extend(size(&at("roll.bytes"), "64Ki", "64Gi"));
    rules.push(number(&at("roll.records"), 1000, 1_000_000_000));
    rules.extend(span(&at("roll.age"), "1s", "168h"));
    rules.extend(span(&at("roll.idle"), "1s", "24h"));
    rules.push(guarantee("file", "ExactlyOnce", "is always ExactlyOnce with sink file; leave it out"));
    rules
}

fn console() -> Vec<Rule> {
    vec![
        guarantee(
            "console",
            "BestEffort",
            "is more than sink console can give; leave it out, which means BestEffort, or use sink kafka or file",
        ),
        rule_about(
            "spec",
            ".source.spoolDir.completion",
            "!has(self.sink.console) || !has(self.source.spoolDir) || !has(self.source.spoolDir.completion) || \
             self.source.spoolDir.completion == 'Track'",
            "would take files away that were only looked at; leave it out, which means Track with sink console",
        ),
    ]
}

/// The one guarantee that a sink gives.
fn guarantee(sink: &str, word: &str, message: &str) -> Rule {
    let holds = format!(
        "!has(self.sink.{sink}) || !has(self.delivery) || !has(self.delivery.guarantee) || \
         self.delivery.guarantee == '{word}'"
    );
    rule_about("spec", ".delivery.guarantee", &holds, message)
}

fn at(field: &str) -> String {
    format!("{AT}.{field}")
}

fn servers() -> Vec<Rule> {
    let port = "([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])";
    let address =
        "(isIP(self.find('[^\\\\[]+').split(']')[0]) && ip(self.find('[^\\\\[]+').split(']')[0]).family() == 6)";
    vec![
        rule(&at("bootstrapServers"), "self.size() > 0", "is empty; name a broker as host:port"),
        rule(
            &at("bootstrapServers[]"),
            &format!(
                "self.matches('^[a-zA-Z0-9._-]{{1,253}}:{port}$') || \
                 (self.matches('^\\\\[[0-9a-fA-F:.]+\\\\]:{port}$') && {address})"
            ),
            "is no broker; write host:port or [IPv6 address]:port, as in kafka-1:9092, one item a broker",
        ),
        rule(
            &at("bootstrapServers"),
            "self.all(a, self.exists_one(b, a.lowerAscii() == b.lowerAscii()))",
            "names a broker twice; remove one of them",
        ),
    ]
}

fn partition() -> Vec<Rule> {
    let key = at("key");
    vec![
        number(&at("partition"), 0, i32::MAX.into()),
        rule_about(
            AT,
            ".partition",
            "!(has(self.partition) && has(self.partitioner) && self.partitioner != 'File')",
            "fixes the partition, and this partitioner chooses one; remove one of them",
        ),
        rule_about(
            AT,
            ".partitioner",
            "!(has(self.partitioner) && self.partitioner == 'Key') || has(self.key)",
            "needs a key when it is Key; add key: {baseName: {}}, or use File",
        ),
        exactly_one(&key, &["baseName", "constant"], "baseName: {} or constant: \"text\""),
        rule(
            &format!("{key}.constant"),
            "self.size() > 0 && bytes(self).size() <= 1024",
            "cannot be used; use 1 to 1024 bytes, or leave key out",
        ),
    ]
}

fn secrets() -> Vec<Rule> {
    let mut rules = vec![plain(&at("sasl.username"), 255)];
    for name in ["tls.caSecret.name", "tls.clientCertificateSecret.name", "sasl.passwordSecret.name"] {
        rules.push(object_name(&at(name), "a Secret"));
    }
    for key in ["tls.caSecret.key", "sasl.passwordSecret.key"] {
        rules.push(rule(
            &at(key),
            "self.matches('^[a-zA-Z0-9._-]{1,253}$') && !self.startsWith('..')",
            "is no key that a Secret can have; use one of that Secret",
        ));
    }
    rules
}

/// The allow-list of librdkafka's properties, from the same table as the agent's.
fn tuning() -> Vec<Rule> {
    let path = at("properties");
    let names: Vec<&str> = properties::ALLOWED.iter().map(|(name, _)| *name).collect();
    let mut rules = vec![rule(
        &path,
        &format!("self.all(name, name in ['{}'])", names.join("', '")),
        &format!("has a property that is not allowed; use only {}", names.join(", ")),
    )];
    for (name, may) in properties::ALLOWED {
        let value = format!("self['{name}']");
        let (holds, todo) = match may {
            properties::Rule::Number(min, max) => (
                format!("{value}.matches('^-?[0-9]{{1,17}}$') && int({value}) >= {min} && int({value}) <= {max}"),
                format!("use a whole number from {min} to {max}, in quotes"),
            ),
            properties::Rule::Words(words) => {
                (format!("{value} in ['{}']", words.join("', '")), format!("use one of {}", words.join(", ")))
            }
            properties::Rule::Text => {
                (plain_text(&value, 255), "use 1 to 255 bytes without control characters".to_owned())
            }
        };
        rules.push(rule(
            &path,
            &format!("!('{name}' in self) || ({holds})"),
            &format!("{name} cannot be that; {todo}"),
        ));
    }
    rules
}

/// What the sink and other parts of the spec make of each other.
fn together() -> Vec<Rule> {
    let queue = format!("self.sink.kafka.properties['{QUEUE}']");
    let delivery = |field: &str| format!("has(self.delivery) && has(self.delivery.{field})");
    let same = |field: &str| format!("{} && self.sink.kafka.topic == self.delivery.{field}", delivery(field));
    vec![
        rule_about(
            "spec",
            ".sink.kafka.acks",
            &format!(
                "!has(self.sink.kafka) || !has(self.sink.kafka.acks) || self.sink.kafka.acks == 'All' || \
                 ({} && self.delivery.guarantee == 'BestEffort')",
                delivery("guarantee")
            ),
            "below All cannot give this guarantee; leave acks out, or set delivery.guarantee: BestEffort",
        ),
        rule_about(
            "spec",
            ".sink.kafka.topic",
            &format!(
                "!has(self.sink.kafka) || !(self.sink.kafka.topic.matches('^spoolway-.*-(checkpoints|receipts)$') || \
                 ({}) || ({}))",
                same("checkpointTopic"),
                same("receiptTopic")
            ),
            "holds Spoolway's own progress or receipts; send records to a topic of their own",
        ),
        rule_about(
            "spec",
            ".sink.kafka.properties",
            &format!(
                "!has(self.source.spoolDir) || !has(self.sink.kafka) || !has(self.sink.kafka.properties) || \
                 !('{QUEUE}' in self.sink.kafka.properties) || !{queue}.matches('^[0-9]{{1,17}}$') || \
                 int({queue}) * 512 >= (has(self.source.spoolDir.inputCharset) ? 3 : 1) * \
                 (has(self.source.spoolDir.maxLineBytes) ? self.source.spoolDir.maxLineBytes : 1000000)"
            ),
            &format!(
                "{QUEUE} is less than two lines of maxLineBytes (three times that with inputCharset); raise it, or lower maxLineBytes"
            ),
        ),
    ]
}
