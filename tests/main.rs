//! The one integration binary: each area is a module.

mod cli;
#[cfg(feature = "operator")]
mod crd;
mod golden;
mod tidy;
