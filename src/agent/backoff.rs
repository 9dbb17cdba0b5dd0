//! How long to wait before opening again. Pure.
//!
//! Aborted records stay in Kafka's log until retention, so a loop of abort and retry costs disk.

use std::time::Duration;

use super::run::Trouble;
use super::sink::Failure;

/// No wait is longer.
pub const LONGEST: Duration = Duration::from_secs(3600);

/// Waits that double from one failure to the next; a new one is made after a commit, or when it went well for long.
#[derive(Debug, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The wait after this failure.
    pub fn next(&mut self, trouble: &Trouble) -> Duration {
        let (first, longest) = match trouble {
            // A look at the directory or its lock costs nothing, and taking over should be quick.
            Trouble::Source(_) => return Duration::from_secs(1),
            Trouble::Sink(e) => match e.failure {
                // Each is a tenth of the last: soon found, or one record is too large.
                Failure::Smaller => return Duration::from_secs(1),
                Failure::Retry | Failure::TimedOut | Failure::Aside { .. } => (1, 60),
                Failure::RetrySlowly | Failure::Ends => (5, 60),
                Failure::Fenced => (60, LONGEST.as_secs()),
            },
        };
        let seconds = first << self.failures.min(12);
        self.failures += 1;
        Duration::from_secs(seconds.min(longest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::sink::SinkError;
    use crate::pipeline::report::FlowReason;

    #[test]
    fn it_doubles_up_to_a_minute_and_for_the_fenced_to_an_hour() {
        let trouble = |failure| {
            Trouble::Sink(SinkError { failure, reason: FlowReason::TransactionFailed, message: String::new() })
        };
        let waits = |failure| {
            let mut backoff = Backoff::default();
            (0..9).map(|_| backoff.next(&trouble(failure)).as_secs()).collect::<Vec<_>>()
        };
        assert_eq!(waits(Failure::Retry), [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert_eq!(waits(Failure::Smaller), [1; 9]);
        assert_eq!(waits(Failure::Fenced), [60, 120, 240, 480, 960, 1920, 3600, 3600, 3600]);
    }
}
