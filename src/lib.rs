//! Spoolway ships files from spool directories into Kafka, exactly once.
//!
//! The map, one line a module. `tests/tidy.rs` holds who may import whom.
//!
//! | module | what it is | may import |
//! |---|---|---|
//! | [`pipeline`] | pure data: what a LogPipeline is, and what is wrong with one | nothing of ours |
//! | [`yaml`] | the only file that names serde_yaml | `pipeline` |
//! | [`secrets`] | Secrets as files | nothing of ours |
//! | [`kafka`] | settings → librdkafka's configuration | `pipeline`, `secrets` |
//! | [`agent`] | moves records: `run` is the loop, `channel` decides (pure), `source` and `sink` do I/O | `pipeline`, `yaml`, `kafka`, `secrets` |
//! | [`demo`] | `spoolway demo`, and its input, which the bench uses too | `pipeline`, `yaml`, `kafka`, `agent` |
//! | [`operator`] | keeps agents running: LogPipeline → ConfigMap, ServiceAccount, DaemonSet → status | `pipeline`, `yaml` |
//! | [`cli`] | the command line | everything |

#![deny(missing_docs, unsafe_code)]

#[cfg(feature = "agent")]
pub mod agent;
pub mod cli;
#[cfg(feature = "agent")]
pub mod demo;
#[cfg(feature = "agent")]
pub mod kafka;
#[cfg(feature = "operator")]
pub mod operator;
pub mod pipeline;
#[cfg(feature = "agent")]
pub mod secrets;
pub mod yaml;
