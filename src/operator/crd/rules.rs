//! The CEL rules of the CustomResourceDefinition, as one table: where, what must hold, what to do when it does not.
//!
//! Pure. `pipeline::validate` says the same, with the value in the message; a test holds both against one table of manifests.
//! A rule sees `self`, the value at its path, and never the namespace; it is not asked where the value is absent. Rules with
//! `oldSelf` are asked on updates only. Regular expressions are RE2's: here, only what RE2 and Rust's read alike.

mod placement;
mod sink;
mod source;

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Where it stands: fields behind dots, `[]` an item of a list; empty the whole LogPipeline.
    pub path: String,
    /// The CEL expression; true where all is fine.
    pub rule: String,
    /// What is wrong, then what to do: one line, lower case.
    pub message: String,
    /// The field below `path` that the API server is to name, as `.sink.kafka.acks`.
    pub field: Option<&'static str>,
}

/// Every rule, in the order of the fields.
pub fn all() -> Vec<Rule> {
    let mut rules = whole();
    rules.extend(source::rules());
    rules.extend(sink::rules());
    rules.extend(delivery());
    rules.extend(placement::rules());
    rules
}

fn whole() -> Vec<Rule> {
    vec![
        rule(
            "",
            "self.metadata.name.size() <= 43 && self.metadata.name.matches('^[a-z0-9]([a-z0-9-]*[a-z0-9])?$')",
            "metadata.name cannot be used; use 1 to 43 lower-case letters, digits and -, with a letter or digit at both ends",
        ),
        rule_about(
            "spec",
            ".placement",
            "has(self.placement)",
            "is missing; write daemonSet: {} for files on the nodes",
        ),
        unchanged("checkpointTopic", ".delivery.checkpointTopic", "progress"),
        unchanged("receiptTopic", ".delivery.receiptTopic", "receipts"),
    ]
}

/// A topic of `delivery` that stays what it was. One level up from where it stands, or its removal would go unseen.
fn unchanged(name: &str, field: &'static str, holds: &str) -> Rule {
    let value = |of: &str| format!("(has({of}.delivery) && has({of}.delivery.{name}) ? {of}.delivery.{name} : '')");
    rule_about(
        "spec",
        field,
        &format!("{} == {}", value("self"), value("oldSelf")),
        &format!(
            "never changes, since the {holds} so far would be left behind; put it back, or delete the LogPipeline and create it again"
        ),
    )
}

fn delivery() -> Vec<Rule> {
    let at = "spec.delivery";
    let mut rules = span(&format!("{at}.commitInterval"), "50ms", "10s");
    rules.extend(size(&format!("{at}.maxTransactionBytes"), "1Ki", "1Gi"));
    rules.push(topic(&format!("{at}.checkpointTopic")));
    rules.push(topic(&format!("{at}.receiptTopic")));
    rules.push(rule(
        at,
        "!(has(self.checkpointTopic) && self.checkpointTopic.matches('^spoolway-.*-receipts$')) && \
         !(has(self.receiptTopic) && self.receiptTopic.matches('^spoolway-.*-checkpoints$')) && \
         !(has(self.checkpointTopic) && has(self.receiptTopic) && self.checkpointTopic == self.receiptTopic)",
        "progress and receipts need a topic each; give checkpointTopic and receiptTopic names of their own",
    ));
    rules
}

fn rule(path: &str, rule: &str, message: &str) -> Rule {
    Rule { path: path.to_owned(), rule: rule.to_owned(), message: message.to_owned(), field: None }
}

fn rule_about(path: &str, field: &'static str, text: &str, message: &str) -> Rule {
    Rule { field: Some(field), ..rule(path, text, message) }
}

/// Exactly one member of a union; `example` is what to write when there is none.
fn exactly_one(path: &str, members: &[&str], example: &str) -> Rule {
    let each: Vec<String> = members.iter().map(|name| format!("has(self.{name})")).collect();
    let message = match members {
        [only] => format!("needs {only}; write {example}"),
        _ => format!("needs exactly one of {}; write {example}, and nothing beside it", members.join(", ")),
    };
    rule(path, &format!("[{}].filter(set, set).size() == 1", each.join(", ")), &message)
}

fn number(path: &str, min: i64, max: i64) -> Rule {
    rule(path, &format!("self >= {min} && self <= {max}"), &format!("is out of bounds; use {min} to {max}"))
}

/// A duration: its form, then its bounds.
fn span(path: &str, min: &str, max: &str) -> Vec<Rule> {
    const FORM: &str = "self.matches('^[0-9]+(ms|s|m|h)$')";
    // Longer numbers than these would not fit into CEL's durations, and an error is no answer.
    const FITS: &str = "self.matches('^0*[0-9]{1,8}(ms|s|m)$|^0*[0-9]{1,6}h$')";
    vec![
        rule(path, FORM, "is not a duration; write a whole number and one of ms, s, m, h, as in 500ms or 5s"),
        rule(
            path,
            &format!(
                "!{FORM} || ({FITS} && duration(self) >= duration('{min}') && duration(self) <= duration('{max}'))"
            ),
            &format!("is out of bounds; use {min} to {max}"),
        ),
    ]
}

/// A size: its form, then its bounds.
fn size(path: &str, min: &str, max: &str) -> Vec<Rule> {
    const FORM: &str = "self.matches('^[0-9]+(Ki|Mi|Gi|k|M|G)?$')";
    const FITS: &str = "self.matches('^0*[0-9]{1,10}[A-Za-z]*$')";
    vec![
        rule(path, FORM, "is not a size; write a whole number and a unit, as in 64Mi"),
        rule(
            path,
            &format!(
                "!{FORM} || ({FITS} && quantity(self).compareTo(quantity('{min}')) >= 0 && \
                 quantity(self).compareTo(quantity('{max}')) <= 0)"
            ),
            &format!("is out of bounds; use {min} to {max}"),
        ),
    ]
}

fn topic(path: &str) -> Rule {
    rule(
        path,
        "self.matches('^[a-zA-Z0-9._-]{1,249}$') && self != '.' && self != '..'",
        "is no name of a topic; use 1 to 249 of the characters a-z A-Z 0-9 . _ -",
    )
}

/// Text that is handed to the Kafka client or the kernel; `max` is in bytes.
fn plain(path: &str, max: usize) -> Rule {
    rule(
        path,
        &plain_text("self", max),
        &format!("cannot be used; use 1 to {max} bytes without control characters"),
    )
}

fn plain_text(of: &str, max: usize) -> String {
    format!("{of}.size() > 0 && bytes({of}).size() <= {max} && !{of}.matches('\\\\p{{Cc}}')")
}

/// An absolute path that leads nowhere else.
fn absolute(path: &str) -> Vec<Rule> {
    vec![
        rule(path, "self.startsWith('/')", "is not absolute; begin it with /"),
        rule(path, "!self.matches('(^|/)[.][.](/|$)')", "has .. in it; write the path without"),
        rule(path, "!self.matches('^/+$')", "is the whole file system; name a directory in it"),
        rule(path, "!self.matches('\\\\x00')", "has a NUL in it; remove it"),
        rule(path, "bytes(self).size() <= 4095", "is longer than 4095 bytes; use a shorter one"),
    ]
}

/// A name as Secrets and PriorityClasses have.
fn object_name(path: &str, what: &str) -> Rule {
    let label = "[a-z0-9]([a-z0-9-]*[a-z0-9])?";
    rule(
        path,
        &format!("self.matches('^{label}([.]{label})*$')"),
        &format!("is no name that {what} can have; use the name of one"),
    )
}
