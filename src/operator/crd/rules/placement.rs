//! Rules on the placement, and on whether it suits the source.

use super::{Rule, absolute, exactly_one, number, object_name, rule, rule_about};

const AT: &str = "spec.placement";
const MEMBERS: [&str; 3] = ["daemonSet", "sidecar", "statefulSet"];

pub(super) fn rules() -> Vec<Rule> {
    let mut rules = vec![exactly_one(AT, &MEMBERS, "daemonSet: {}"), kind_stays()];
    rules.extend(daemon_set());
    rules.extend(sidecar());
    rules.extend(stateful_set());
    rules.extend(suits());
    rules
}

fn at(field: &str) -> String {
    format!("{AT}.{field}")
}

fn kind_stays() -> Rule {
    let same = MEMBERS.map(|name| format!("has(self.{name}) == has(oldSelf.{name})"));
    let message = "the kind of placement never changes; put it back, or delete the LogPipeline and create it again";
    rule(AT, &same.join(" && "), message)
}

fn daemon_set() -> Vec<Rule> {
    let mut rules = vec![
        rule(
            &at("daemonSet.maxUnavailable"),
            &format!(
                "self == string(self) ? self.matches('^(0*[1-9][0-9]?|0*100)%$') : (self >= 1 && self <= {})",
                i32::MAX
            ),
            "cannot be that; use a number from 1, or 1% to 100%",
        ),
        object_name(&at("daemonSet.priorityClassName"), "a PriorityClass"),
        number(&at("daemonSet.runAsUser"), 0, i32::MAX.into()),
        number(&at("daemonSet.runAsGroup"), 0, i32::MAX.into()),
    ];
    rules.extend(tolerations("daemonSet"));
    rules.extend(resources("daemonSet"));
    rules
}

fn sidecar() -> Vec<Rule> {
    let mut rules = vec![
        rule(
            &at("sidecar.volume"),
            "self.size() <= 63 && self.matches('^[a-z0-9]([a-z0-9-]*[a-z0-9])?$')",
            "is no name that a volume can have; use the name of one of the pod",
        ),
        number(&at("sidecar.runAsUser"), 0, i32::MAX.into()),
    ];
    rules.extend(absolute(&at("sidecar.mountPath")));
    rules.extend(resources("sidecar"));
    rules
}

fn stateful_set() -> Vec<Rule> {
    let mut rules = vec![number(&at("statefulSet.replicas"), 0, 1000)];
    rules.extend(tolerations("statefulSet"));
    rules.extend(resources("statefulSet"));
    rules
}

fn tolerations(of: &str) -> Vec<Rule> {
    let item = at(&format!("{of}.tolerations[]"));
    let one_of = |field: &str, words: &[&str]| {
        rule(
            &format!("{item}.{field}"),
            &format!("self in ['{}']", words.join("', '")),
            &format!("is unknown; use one of {}", words.join(", ")),
        )
    };
    vec![
        one_of("operator", &["Exists", "Equal"]),
        one_of("effect", &["NoSchedule", "PreferNoSchedule", "NoExecute"]),
        rule_about(
            &item,
            ".value",
            "!(has(self.operator) && self.operator == 'Exists' && has(self.value))",
            "means nothing with operator Exists; remove it",
        ),
    ]
}

fn resources(of: &str) -> Vec<Rule> {
    let mut rules = Vec::new();
    for kind in ["requests", "limits"] {
        let path = at(&format!("{of}.resources.{kind}"));
        rules.push(rule(
            &path,
            "self.all(name, name in ['cpu', 'memory', 'ephemeral-storage'])",
            "has no resource of an agent; use only cpu, memory, ephemeral-storage",
        ));
        // Two short rules on purpose: the cost of each is counted as if an amount were as long as a request may be. Quantities
        // without a digit, such as `.`, are zero for Kubernetes.
        let unit = "string(self[name]).matches('^[0-9.]+([mkMGT]|[KMGT]i)?$')";
        let number = "isQuantity(string(self[name])) && string(self[name]).matches('^[.]?[0-9]')";
        for form in [unit, number] {
            rules.push(rule(
                &path,
                &format!("self.all(name, {form})"),
                "has an amount that is none; use amounts such as 500m or 128Mi",
            ));
        }
    }
    rules
}

/// Which placements suit the source.
fn suits() -> Vec<Rule> {
    vec![
        rule_about(
            "spec",
            ".placement.statefulSet",
            "!(has(self.source.spoolDir) && has(self.placement) && has(self.placement.statefulSet))",
            "has no spool directory to read; use daemonSet with source.spoolDir",
        ),
        rule_about(
            "spec",
            ".source.spoolDir.path",
            "!(has(self.source.spoolDir) && has(self.placement) && has(self.placement.sidecar)) || \
             (self.source.spoolDir.path + '/').startsWith(self.placement.sidecar.mountPath.find('^.*[^/]') + '/')",
            "is not beneath the sidecar's mountPath; move one of them",
        ),
    ]
}
