//! Keeps agents running: what Kubernetes learns about a LogPipeline, and who may touch one.
//!
//! So far all of it is pure: the CustomResourceDefinition ([`crd`]) and the roles for people ([`roles`]).

pub mod crd;
pub mod roles;
