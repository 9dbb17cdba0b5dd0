//! Rules on the source.

use super::{Rule, absolute, exactly_one, number, plain, plain_text, rule, rule_about, span};

pub(super) fn rules() -> Vec<Rule> {
    let at = |field: &str| format!("spec.source.spoolDir.{field}");
    let mut rules = vec![exactly_one("spec.source", &["spoolDir"], "spoolDir: {path: /var/spool/...}")];
    rules.extend(absolute(&at("path")));
    rules.push(plain(&at("fileSuffix"), 64));
    rules.push(rule(
        &at("fileSuffix"),
        "!self.contains('/')",
        "has a / in it, but a finished file stays in its directory; write the suffix without",
    ));
    rules.extend(span(&at("settleTime"), "100ms", "24h"));
    rules.extend(span(&at("pollDelay"), "10ms", "1m"));
    rules.push(plain(&at("inputCharset"), 64));
    rules.push(rule_about(
        "spec.source.spoolDir",
        ".decodeErrorPolicy",
        "!has(self.decodeErrorPolicy) || self.decodeErrorPolicy == 'Fail' || has(self.inputCharset)",
        "does nothing without inputCharset: bytes pass unchanged; set inputCharset: UTF-8, or leave it out",
    ));
    rules.push(number(&at("maxLineBytes"), 1, 16_000_000));
    rules.push(number(&at("maxOpenFiles"), 1, 1024));
    rules.extend(headers(&at("headers")));
    rules
}

fn headers(path: &str) -> Vec<Rule> {
    const OWN: [&str; 4] = ["file", "baseName", "host", "position"];
    let mut rules: Vec<Rule> = OWN.iter().map(|name| plain(&format!("{path}.{name}"), 255)).collect();
    rules.push(rule(
        &format!("{path}.static"),
        &format!("self.all(key, {})", plain_text("key", 255)),
        "has a key that cannot be used; use keys of 1 to 255 bytes without control characters",
    ));
    let mut differ: Vec<String> = Vec::new();
    for (index, one) in OWN.iter().enumerate() {
        let others = OWN[index + 1..].iter();
        differ.extend(
            others.map(|other| format!("has(self.{one}) && has(self.{other}) && self.{one} == self.{other}")),
        );
        differ.push(format!("has(self.{one}) && has(self.static) && self.{one} in self.static"));
    }
    rules.push(rule(
        path,
        &format!("!({})", differ.join(" || ")),
        "writes the same header twice; give each header a key of its own",
    ));
    rules
}
