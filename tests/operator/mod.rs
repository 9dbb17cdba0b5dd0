//! The operator against a fake API server, as sentences; and what it makes of the samples, as golden files.

mod api_server;
mod golden;
mod scenarios;
