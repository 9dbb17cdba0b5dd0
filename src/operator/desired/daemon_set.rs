//! The DaemonSet: one agent on every node that the placement picks.
//!
//! The pod template carries the config's hash: agents of this version read their file once, at their start, so an edit rolls
//! the DaemonSet. The namespace's root is mounted, not the spool directory: a directory that is made later is seen then.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::apps::v1 as apps;
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr;

use super::{AGENT_OF, CONFIG_HASH, Settings, child_name, labels, text_map};
use crate::pipeline::placement::{DaemonSet, IntOrString, Resources, Toleration};
use crate::pipeline::{LogPipeline, config_hash};

const CONFIG: &str = "/etc/spoolway/config";
const SECRETS: &str = "/etc/spoolway/secrets";
const PORT: i32 = 8080;
const GRACE_SECONDS: i64 = 30;

/// The DaemonSet.
pub(super) fn daemon_set(pipeline: &LogPipeline, metadata: ObjectMeta, settings: &Settings) -> apps::DaemonSet {
    let name = pipeline.metadata.name.as_str();
    let placement = pipeline.spec.placement.as_ref().and_then(|p| p.daemon_set.clone()).unwrap_or_default();
    let mut pod_labels = labels(name);
    pod_labels.insert(AGENT_OF.to_owned(), name.to_owned());
    let max_unavailable = placement.max_unavailable.clone().unwrap_or(IntOrString::Text("10%".to_owned()));
    apps::DaemonSet {
        metadata,
        spec: Some(apps::DaemonSetSpec {
            selector: LabelSelector {
                match_labels: Some(text_map(&[(AGENT_OF, name)])),
                ..LabelSelector::default()
            },
            template: core::PodTemplateSpec {
                metadata: Some(ObjectMeta {
                    labels: Some(pod_labels),
                    annotations: Some(text_map(&[(CONFIG_HASH, &config_hash(pipeline))])),
                    ..ObjectMeta::default()
                }),
                spec: Some(pod(pipeline, &placement, settings)),
            },
            update_strategy: Some(apps::DaemonSetUpdateStrategy {
                type_: Some("RollingUpdate".to_owned()),
                rolling_update: Some(apps::RollingUpdateDaemonSet {
                    max_unavailable: Some(amount(&max_unavailable)),
                    max_surge: None,
                }),
            }),
            ..apps::DaemonSetSpec::default()
        }),
        status: None,
    }
}

fn pod(pipeline: &LogPipeline, placement: &DaemonSet, settings: &Settings) -> core::PodSpec {
    let root = settings.root_of(pipeline.namespace());
    let secrets = secrets(pipeline);
    let volumes = [config_volume(&pipeline.metadata.name), spool_volume(&root)];
    core::PodSpec {
        service_account_name: Some(child_name(&pipeline.metadata.name)),
        automount_service_account_token: Some(false),
        termination_grace_period_seconds: Some(GRACE_SECONDS),
        node_selector: placement.node_selector.clone(),
        tolerations: placement.tolerations.as_ref().map(|all| all.iter().map(toleration).collect()),
        priority_class_name: placement.priority_class_name.clone(),
        security_context: Some(core::PodSecurityContext {
            run_as_user: Some(placement.run_as_user.unwrap_or(0)),
            run_as_group: Some(placement.run_as_group.unwrap_or(0)),
            seccomp_profile: Some(core::SeccompProfile {
                type_: "RuntimeDefault".to_owned(),
                localhost_profile: None,
            }),
            ..core::PodSecurityContext::default()
        }),
        containers: vec![container(placement, settings, &root, &secrets)],
        volumes: Some(volumes.into_iter().chain(secrets.iter().map(|name| secret_volume(name))).collect()),
        ..core::PodSpec::default()
    }
}

fn container(
    placement: &DaemonSet,
    settings: &Settings,
    root: &str,
    secrets: &BTreeSet<String>,
) -> core::Container {
    let file = format!("{CONFIG}/pipeline.yaml");
    let http = format!("0.0.0.0:{PORT}");
    let mut args =
        vec!["agent", "-f", &file, "--agent-id", "$(NODE_NAME)", "--cluster", &settings.cluster, "--http", &http];
    if !secrets.is_empty() {
        args.extend(["--secrets", SECRETS]);
    }
    let mut mounts = vec![mount("config", CONFIG, true), spool_mount(root)];
    mounts.extend(secrets.iter().map(|name| mount(&volume_of(name), &format!("{SECRETS}/{name}"), true)));
    core::Container {
        name: "agent".to_owned(),
        image: Some(settings.image.clone()),
        args: Some(args.into_iter().map(str::to_owned).collect()),
        env: Some(vec![core::EnvVar {
            name: "NODE_NAME".to_owned(),
            value_from: Some(core::EnvVarSource {
                field_ref: Some(core::ObjectFieldSelector {
                    field_path: "spec.nodeName".to_owned(),
                    api_version: None,
                }),
                ..core::EnvVarSource::default()
            }),
            ..core::EnvVar::default()
        }]),
        ports: Some(vec![core::ContainerPort {
            name: Some("http".to_owned()),
            container_port: PORT,
            protocol: Some("TCP".to_owned()),
            ..core::ContainerPort::default()
        }]),
        readiness_probe: Some(probe("/readyz", 5)),
        liveness_probe: Some(probe("/healthz", 10)),
        resources: placement.resources.as_ref().map(resources),
        security_context: Some(core::SecurityContext {
            allow_privilege_escalation: Some(false),
            read_only_root_filesystem: Some(true),
            capabilities: Some(core::Capabilities { drop: Some(vec!["ALL".to_owned()]), add: None }),
            ..core::SecurityContext::default()
        }),
        volume_mounts: Some(mounts),
        ..core::Container::default()
    }
}

fn probe(path: &str, period_seconds: i32) -> core::Probe {
    core::Probe {
        http_get: Some(core::HTTPGetAction {
            path: Some(path.to_owned()),
            port: intstr::IntOrString::String("http".to_owned()),
            ..core::HTTPGetAction::default()
        }),
        period_seconds: Some(period_seconds),
        ..core::Probe::default()
    }
}

/// The names of all Secrets that the pipeline asks for.
fn secrets(pipeline: &LogPipeline) -> BTreeSet<String> {
    let kafka = pipeline.kafka();
    let tls = kafka.and_then(|k| k.tls.as_ref());
    let authority = tls.and_then(|t| t.ca_secret.as_ref()).map(|s| s.name.clone());
    let client = tls.and_then(|t| t.client_certificate_secret.as_ref()).map(|s| s.name.clone());
    let password = kafka.and_then(|k| k.sasl.as_ref()).map(|s| s.password_secret.name.clone());
    [authority, client, password].into_iter().flatten().collect()
}

/// The volume of a Secret. Its name is a hash: a Secret's may be longer than a volume's, and hold dots.
fn volume_of(secret: &str) -> String {
    format!("secret-{:016x}", xxhash_rust::xxh3::xxh3_64(secret.as_bytes()))
}

fn config_volume(pipeline: &str) -> core::Volume {
    core::Volume {
        name: "config".to_owned(),
        config_map: Some(core::ConfigMapVolumeSource {
            name: child_name(pipeline),
            ..core::ConfigMapVolumeSource::default()
        }),
        ..core::Volume::default()
    }
}

fn spool_volume(root: &str) -> core::Volume {
    core::Volume {
        name: "spool".to_owned(),
        host_path: Some(core::HostPathVolumeSource {
            path: root.to_owned(),
            type_: Some("DirectoryOrCreate".to_owned()),
        }),
        ..core::Volume::default()
    }
}

/// Optional: the pod starts without it, and the agent says what it lacks.
fn secret_volume(secret: &str) -> core::Volume {
    core::Volume {
        name: volume_of(secret),
        secret: Some(core::SecretVolumeSource {
            secret_name: Some(secret.to_owned()),
            optional: Some(true),
            ..core::SecretVolumeSource::default()
        }),
        ..core::Volume::default()
    }
}

fn mount(name: &str, path: &str, read_only: bool) -> core::VolumeMount {
    core::VolumeMount {
        name: name.to_owned(),
        mount_path: path.to_owned(),
        read_only: read_only.then_some(true),
        ..core::VolumeMount::default()
    }
}

/// Writable, for completed files are renamed; what the node mounts beneath it later is seen too.
fn spool_mount(root: &str) -> core::VolumeMount {
    core::VolumeMount { mount_propagation: Some("HostToContainer".to_owned()), ..mount("spool", root, false) }
}

fn toleration(from: &Toleration) -> core::Toleration {
    core::Toleration {
        key: from.key.clone(),
        operator: from.operator.clone(),
        value: from.value.clone(),
        effect: from.effect.clone(),
        toleration_seconds: from.toleration_seconds,
    }
}

fn resources(from: &Resources) -> core::ResourceRequirements {
    let quantities = |all: &Option<BTreeMap<String, IntOrString>>| {
        all.as_ref().map(|all| all.iter().map(|(name, amount)| (name.clone(), quantity(amount))).collect())
    };
    core::ResourceRequirements {
        requests: quantities(&from.requests),
        limits: quantities(&from.limits),
        ..core::ResourceRequirements::default()
    }
}

fn quantity(amount: &IntOrString) -> Quantity {
    match amount {
        IntOrString::Int(number) => Quantity(number.to_string()),
        IntOrString::Text(text) => Quantity(text.clone()),
    }
}

fn amount(amount: &IntOrString) -> intstr::IntOrString {
    match amount {
        IntOrString::Int(number) => intstr::IntOrString::Int(i32::try_from(*number).unwrap_or(i32::MAX)),
        IntOrString::Text(text) => intstr::IntOrString::String(text.clone()),
    }
}
