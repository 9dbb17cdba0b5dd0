//! x
/// x
pub fn run(_b: &str, _l: u64, _k: Option<&std::path::Path>) -> anyhow::Result<bool> {
    Ok(false)
}
