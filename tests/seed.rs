//! What a test that draws its cases by seed is asked: `SEED=7` replays one, `SEEDS=20000` runs that many, `FIRST_SEED=2000` from there on.

/// The number in a variable of the environment.
pub fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|v| v.parse().unwrap_or_else(|_| panic!("{name}={v} is no number")))
}
