//! What a test does that cannot run on this machine.

/// Says that a test did not run, and why, past the capture of the test harness.
pub fn skipped(why: &str) {
    use std::io::Write;
    let name = std::thread::current().name().unwrap_or("a test").to_owned();
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{name} may not be skipped in CI: {why}");
    let _ = writeln!(std::io::stderr(), "SKIPPED: {name}: {why}");
}
