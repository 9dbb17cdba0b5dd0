//! The one integration binary: each area is a module.

#[cfg(feature = "agent")]
mod channel;
mod chart;
mod cli;
#[cfg(all(feature = "agent", feature = "operator"))]
mod cluster;
#[cfg(feature = "operator")]
mod crd;
#[cfg(feature = "agent")]
mod demo;
#[cfg(feature = "agent")]
mod e2e;
#[cfg(feature = "agent")]
mod file_sink;
#[cfg(feature = "operator")]
mod flume;
mod golden;
mod image;
#[cfg(feature = "agent")]
mod model;
#[cfg(feature = "operator")]
mod operator;
#[cfg(feature = "agent")]
mod seed;
#[cfg(feature = "agent")]
mod simulation;
mod skip;
mod tidy;
