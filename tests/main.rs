//! The one integration binary: each area is a module.

#[cfg(feature = "agent")]
mod channel;
mod cli;
mod golden;
#[cfg(feature = "agent")]
mod simulation;
