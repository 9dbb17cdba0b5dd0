//! The one integration binary: each area is a module.

mod cli;
#[cfg(feature = "agent")]
mod demo;
mod golden;
#[cfg(feature = "agent")]
mod simulation;
mod tidy;
