//! The pod of an agent, and its shape: the hash of everything in it that only a new pod can change.
//!
//! Nothing of what an agent ships is in the pod, so an edit of that rolls nothing. The namespace's root is mounted, not the spool
//! directory: a directory that is made later is seen then. No privilege and no capability; root is the one user who can read
//! what root wrote, and nothing else.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::util::intstr;

use super::{Given, hash_of};
use crate::pipeline::placement::{DaemonSet, IntOrString, Resources, Toleration};
use crate::pipeline::pod::{CONFIG_DIR, HTTP_PORT, SECRETS_DIR, TOKEN_AUDIENCE, TOKEN_FILE, child_name};
use crate::pipeline::{Completion, LogPipeline};

/// Time from SIGTERM to SIGKILL: the agent's own 20 s to commit, and some to leave.
const GRACE_SECONDS: i64 = 30;
/// Life of a token for reports; the kubelet renews it.
const TOKEN_SECONDS: i64 = 3600;

/// Where the pipeline's agents run.
pub(super) fn placement(pipeline: &LogPipeline) -> DaemonSet {
    pipeline.spec.placement.as_ref().and_then(|p| p.daemon_set.clone()).unwrap_or_default()
}

/// The hash of the pod, but for the hash in it.
pub(super) fn shape(pipeline: &LogPipeline, given: &Given<'_>) -> String {
    hash_of(&shapeless(pipeline, given))
}

/// The pod.
pub(super) fn pod(pipeline: &LogPipeline, given: &Given<'_>) -> core::PodSpec {
    let mut pod = shapeless(pipeline, given);
    let shape = hash_of(&pod);
    for container in &mut pod.containers {
        container.args.get_or_insert_default().extend(["--shape".to_owned(), shape.clone()]);
    }
    pod
}

fn shapeless(pipeline: &LogPipeline, given: &Given<'_>) -> core::PodSpec {
    let placement = placement(pipeline);
    let root = given.root(pipeline);
    let secrets = secrets(pipeline);
    let volumes = [config_volume(&pipeline.metadata.name), spool_volume(&root), token_volume()];
    let pull_secrets = given.config.image_pull_secrets.iter();
    let pull_secrets: Vec<_> = pull_secrets.map(|name| core::LocalObjectReference { name: name.clone() }).collect();
    core::PodSpec {
        image_pull_secrets: Some(pull_secrets).filter(|names| !names.is_empty()),
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
        containers: vec![container(pipeline, &placement, given, &secrets)],
        volumes: Some(volumes.into_iter().chain(secrets.iter().map(|name| secret_volume(name))).collect()),
        ..core::PodSpec::default()
    }
}

fn container(
    pipeline: &LogPipeline,
    placement: &DaemonSet,
    given: &Given<'_>,
    secrets: &BTreeSet<String>,
) -> core::Container {
    let http = format!("0.0.0.0:{HTTP_PORT}");
    let args = ["agent", "--config-dir", CONFIG_DIR, "--secrets", SECRETS_DIR, "--agent-id", "$(NODE_NAME)"];
    let args = args.into_iter().chain(["--http", &http, "--report-token", TOKEN_FILE]);
    let token_dir = TOKEN_FILE.rsplit_once('/').map_or(TOKEN_FILE, |(dir, _)| dir);
    let tracks = pipeline.completion() == Completion::Track;
    let mut mounts = vec![
        mount("config", CONFIG_DIR, true),
        spool_mount(&given.root(pipeline), tracks),
        mount("token", token_dir, true),
    ];
    mounts.extend(secrets.iter().map(|name| mount(&volume_of(name), &format!("{SECRETS_DIR}/{name}"), true)));
    core::Container {
        name: "agent".to_owned(),
        image: Some(given.config.image.clone()),
        image_pull_policy: given.config.image_pull_policy.clone(),
        args: Some(args.map(str::to_owned).collect()),
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
            container_port: i32::from(HTTP_PORT),
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

/// A token that is worth something to our own report endpoint only.
fn token_volume() -> core::Volume {
    core::Volume {
        name: "token".to_owned(),
        projected: Some(core::ProjectedVolumeSource {
            sources: Some(vec![core::VolumeProjection {
                service_account_token: Some(core::ServiceAccountTokenProjection {
                    audience: Some(TOKEN_AUDIENCE.to_owned()),
                    expiration_seconds: Some(TOKEN_SECONDS),
                    path: TOKEN_FILE.rsplit('/').next().unwrap_or_default().to_owned(),
                }),
                ..core::VolumeProjection::default()
            }]),
            ..core::ProjectedVolumeSource::default()
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

/// Writable where completed files are renamed or deleted; what the node mounts beneath it later is seen too.
fn spool_mount(root: &str, read_only: bool) -> core::VolumeMount {
    core::VolumeMount { mount_propagation: Some("HostToContainer".to_owned()), ..mount("spool", root, read_only) }
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

pub(super) fn amount(amount: &IntOrString) -> intstr::IntOrString {
    match amount {
        IntOrString::Int(number) => intstr::IntOrString::Int(i32::try_from(*number).unwrap_or(i32::MAX)),
        IntOrString::Text(text) => intstr::IntOrString::String(text.clone()),
    }
}
