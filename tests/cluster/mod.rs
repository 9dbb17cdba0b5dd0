//! Operator and agents on a real cluster, with real nodes, kubelets and Kafka: installed by helm, asked by kubectl, killed on the way.
//!
//! `bed` is the cluster, `line` a LogPipeline with its namespace, topic and files; the other modules are the tests. They run one after
//! the other, since some of them pull a node's plug. `make e2e` runs them all, `make e2e T=operator` those of a module.

mod bad_manifests;
mod bed;
mod crd;
mod line;
mod operator;
