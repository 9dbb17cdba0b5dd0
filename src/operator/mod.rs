//! Keeps agents running: what Kubernetes learns about a LogPipeline, what it is made into, and what is told about it.
//!
//! One LogPipeline's way: [`controller`] wakes it → [`reconcile`], one round → [`observe`] (I/O) → [`valid`] (pure) → [`desired`]
//! (pure, infallible) → [`apply`] (I/O) → [`facts`] of what is [`seen`] of agents → [`memory`] of what has lasted → [`conditions`],
//! [`numbers`], [`status`] (all pure) → `publish` (I/O), with [`events`]. What it was told is [`config`]. The
//! CustomResourceDefinition ([`crd`]) and the roles for people ([`roles`]) are pure.

pub mod apply;
pub mod conditions;
pub mod config;
pub mod controller;
pub mod crd;
pub mod desired;
pub mod events;
pub mod facts;
pub mod memory;
pub mod numbers;
pub mod observe;
pub mod pods;
mod publish;
pub mod reconcile;
pub mod reports;
pub mod roles;
pub mod seen;
pub mod status;
pub mod valid;
pub mod view;
pub mod wake;

/// The manager that owns the fields which the operator sets.
pub const FIELD_MANAGER: &str = "spoolway";
