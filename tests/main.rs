//! The one integration binary: each area is a module.

mod cli;
mod golden;
#[cfg(feature = "agent")]
mod simulation;
mod tidy;
