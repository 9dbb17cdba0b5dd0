//! What is wrong with a placement, and whether it suits the source.

use super::{Found, Judge, is_dns_label, set};
use crate::pipeline::placement::{DaemonSet, IntOrString, Resources, Sidecar, StatefulSet, Toleration};
use crate::pipeline::problem::{field, quoted};
use crate::pipeline::{LogPipeline, Placement};

const AT: &str = "spec.placement";
const MEMBERS: &str = "daemonSet, sidecar, statefulSet";

/// How many taints can be put up with.
pub const MAX_TOLERATIONS: usize = 64;

pub(super) fn check(pipeline: &LogPipeline, judge: Judge, found: &mut Found) {
    let Some(placement) = &pipeline.spec.placement else {
        if judge == Judge::Cluster {
            found.add(AT, "is missing; write daemonSet: {} for files on the nodes");
        }
        return;
    };
    let members = set(&[
        ("daemonSet", placement.daemon_set.is_some()),
        ("sidecar", placement.sidecar.is_some()),
        ("statefulSet", placement.stateful_set.is_some()),
    ]);
    found.exactly_one(AT, MEMBERS, &members);
    members_of(placement, found);
    if judge == Judge::Cluster {
        suits(pipeline, placement, found);
    }
}

fn at(name: &str) -> String {
    field(AT, name)
}

fn members_of(placement: &Placement, found: &mut Found) {
    if let Some(set) = &placement.daemon_set {
        daemon_set(set, &at("daemonSet"), found);
    }
    if let Some(car) = &placement.sidecar {
        sidecar(car, &at("sidecar"), found);
    }
    if let Some(set) = &placement.stateful_set {
        stateful_set(set, &at("statefulSet"), found);
    }
}

fn suits(pipeline: &LogPipeline, placement: &Placement, found: &mut Found) {
    let Some(dir) = pipeline.spool_dir() else {
        return;
    };
    if placement.stateful_set.is_some() {
        found.add(at("statefulSet"), "has no spool directory to read; use daemonSet with source.spoolDir");
    }
    if let Some(car) = &placement.sidecar {
        let within = dir.path.strip_prefix(car.mount_path.trim_end_matches('/'));
        if !within.is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) {
            let message = format!(
                "{} is not beneath the sidecar's mountPath {}; move one of them",
                quoted(&dir.path),
                quoted(&car.mount_path)
            );
            found.add("spec.source.spoolDir.path", message);
        }
    }
}

fn daemon_set(set: &DaemonSet, path: &str, found: &mut Found) {
    tolerations(set.tolerations.as_deref(), path, found);
    if let Some(amount) = &set.max_unavailable
        && !is_max_unavailable(amount)
    {
        found.add(field(path, "maxUnavailable"), format!("is {amount}; use a number from 1, or 1% to 100%"));
    }
    if let Some(name) = &set.priority_class_name
        && (name.len() > 253 || !name.split('.').all(|label| is_dns_label(label, 253)))
    {
        let message = format!("is {}, which no PriorityClass can be called; use the name of one", quoted(name));
        found.add(field(path, "priorityClassName"), message);
    }
    resources(set.resources.as_ref(), path, found);
    found.number(&field(path, "runAsUser"), set.run_as_user, 0, i32::MAX.into());
    found.number(&field(path, "runAsGroup"), set.run_as_group, 0, i32::MAX.into());
}

fn sidecar(car: &Sidecar, path: &str, found: &mut Found) {
    if !is_dns_label(&car.volume, 63) {
        let message =
            format!("is {}, which no volume can be called; use the name of one of the pod", quoted(&car.volume));
        found.add(field(path, "volume"), message);
    }
    found.absolute(&field(path, "mountPath"), &car.mount_path);
    resources(car.resources.as_ref(), path, found);
    found.number(&field(path, "runAsUser"), car.run_as_user, 0, i32::MAX.into());
}

fn stateful_set(set: &StatefulSet, path: &str, found: &mut Found) {
    found.number(&field(path, "replicas"), set.replicas.map(i64::from), 0, 1000);
    tolerations(set.tolerations.as_deref(), path, found);
    resources(set.resources.as_ref(), path, found);
}

fn tolerations(all: Option<&[Toleration]>, path: &str, found: &mut Found) {
    found.count(&field(path, "tolerations"), all.map_or(0, <[_]>::len), MAX_TOLERATIONS);
    for (index, toleration) in all.into_iter().flatten().enumerate() {
        let path = format!("{}[{index}]", field(path, "tolerations"));
        let words = [
            ("operator", &toleration.operator, &["Exists", "Equal"][..]),
            ("effect", &toleration.effect, &["NoSchedule", "PreferNoSchedule", "NoExecute"]),
        ];
        for (name, value, legal) in words {
            if let Some(value) = value
                && !legal.contains(&value.as_str())
            {
                found.add(field(&path, name), format!("is {}; use one of {}", quoted(value), legal.join(", ")));
            }
        }
        if toleration.operator.as_deref() == Some("Exists") && toleration.value.is_some() {
            found.add(field(&path, "value"), "means nothing with operator Exists; remove it");
        }
    }
}

fn resources(resources: Option<&Resources>, path: &str, found: &mut Found) {
    const KNOWN: &[&str] = &["cpu", "memory", "ephemeral-storage"];
    let Some(resources) = resources else { return };
    let path = field(path, "resources");
    for (kind, amounts) in [("requests", &resources.requests), ("limits", &resources.limits)] {
        for (name, amount) in amounts.iter().flatten() {
            let path = field(&field(&path, kind), name);
            if !KNOWN.contains(&name.as_str()) {
                found.add(&path, format!("is no resource of an agent; use {}", KNOWN.join(", ")));
            }
            if !is_amount(amount) {
                found.add(path, format!("is {amount}; use an amount such as 500m or 128Mi"));
            }
        }
    }
}

fn is_max_unavailable(amount: &IntOrString) -> bool {
    match amount {
        IntOrString::Int(n) => (1..=i32::MAX.into()).contains(n),
        IntOrString::Text(text) => {
            let percent = text.strip_suffix('%').filter(|n| n.bytes().all(|b| b.is_ascii_digit()));
            percent.and_then(|n| n.parse::<u8>().ok()).is_some_and(|n| (1..=100).contains(&n))
        }
    }
}

/// Digits, perhaps a fraction, and one of Kubernetes' suffixes.
fn is_amount(amount: &IntOrString) -> bool {
    const UNITS: &[&str] = &["", "m", "k", "M", "G", "T", "Ki", "Mi", "Gi", "Ti"];
    match amount {
        IntOrString::Int(n) => *n >= 0,
        IntOrString::Text(text) => {
            let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
            let (number, unit) = text.split_at(end);
            UNITS.contains(&unit) && number.parse::<f64>().is_ok()
        }
    }
}
