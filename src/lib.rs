//! Spoolway ships files from spool directories into Kafka, exactly once.
//!
//! The map, one line a module. `tests/tidy.rs` holds who may import whom.
//!
//! | module | what it is | may import |
//! |---|---|---|
//! | [`pipeline`] | pure data: what a LogPipeline is, and what is wrong with one | nothing of ours |
//! | [`demo`] | realistic input for the demo and the bench | nothing of ours |
//! | [`yaml`] | the only file that names serde_yaml | `pipeline` |
//! | [`cli`] | the command line | everything |

pub mod cli;
#[cfg(feature = "agent")]
pub mod demo;
pub mod pipeline;
pub mod yaml;
