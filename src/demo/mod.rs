//! What the demo and the bench need besides the product: realistic input.

pub mod access_log;
