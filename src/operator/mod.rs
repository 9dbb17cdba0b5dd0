//! Keeps agents running: what Kubernetes learns about a LogPipeline, what it is made into, and what is told about it.
//!
//! One LogPipeline's way: [`reconcile`] → [`observe`] (I/O) → [`valid`] (pure) → [`desired`] (pure, infallible) → [`apply`]
//! (I/O) → [`status`] (pure) → published by `reconcile`. The CustomResourceDefinition ([`crd`]) and the roles for people
//! ([`roles`]) are pure.

pub mod apply;
pub mod crd;
pub mod desired;
pub mod observe;
pub mod pods;
pub mod reconcile;
pub mod reports;
pub mod roles;
pub mod status;
pub mod valid;
pub mod view;

/// The manager that owns the fields which the operator sets.
pub const FIELD_MANAGER: &str = "spoolway";
