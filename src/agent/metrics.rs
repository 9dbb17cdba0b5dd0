//! A report as Prometheus metrics. Pure. The set of series is fixed: never a label per file.

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use crate::pipeline::report::Report;

/// OpenMetrics text, which Prometheus reads.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Debug)]
struct Page(Report);

impl Collector for Page {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let Report { totals, backlog, .. } = &self.0;
        let counters = [
            ("records", "Records committed to Kafka.", totals.records),
            ("bytes", "Bytes of files committed to Kafka.", totals.bytes),
            ("files_completed", "Files completed: every byte committed, and renamed.", totals.files),
            ("commits", "Transactions committed.", totals.commits),
            ("retries", "Transactions given up and read again.", totals.retries),
            ("long_lines", "Lines longer than maxLineBytes.", totals.long_lines),
            (
                "decode_errors",
                "Byte sequences that were not of inputCharset, replaced or left out.",
                totals.decode_errors,
            ),
            (
                "grew_after_completion",
                "How often a file grew after it was completed; what is new of it is shipped for an hour.",
                totals.grew_after_completion,
            ),
            (
                "bytes_lost_unread",
                "Bytes that were cut off, or gone with their file when it was looked for again, before they were read.",
                totals.bytes_lost_unread,
            ),
            (
                "begun_anew",
                "How often a file was cut or rewritten after it was read, and was begun anew as another generation.",
                totals.begun_anew,
            ),
        ];
        for (name, help, value) in counters {
            let metric = ConstCounter::new(value);
            metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)?;
        }
        let gauges = [
            ("backlog_files", "Files with bytes that are not committed.", backlog.files),
            ("backlog_bytes", "Bytes that are not committed.", backlog.bytes),
            (
                "backlog_oldest_seconds",
                "Age of the oldest file with bytes that are not committed.",
                backlog.oldest_seconds,
            ),
            ("files_set_aside", "Files that need a person.", totals.set_aside),
            (
                "flowing",
                "1 where data can flow, 0 where something keeps it from flowing.",
                u64::from(self.0.flowing),
            ),
        ];
        for (name, help, value) in gauges {
            let metric = ConstGauge::new(value as i64);
            metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)?;
        }
        let reason = ConstGauge::new(1_i64);
        let labels = [("reason", format!("{:?}", self.0.reason)), ("guarantee", self.0.guarantee.clone())];
        let mut state =
            encoder.encode_descriptor("state", "Why data flows, or does not.", None, reason.metric_type())?;
        reason.encode(state.encode_family(&labels)?)?;
        let build = ConstGauge::new(1_i64);
        let labels = [("version", self.0.agent_version.clone())];
        let mut info = encoder.encode_descriptor("build", "The agent's version.", None, build.metric_type())?;
        build.encode(info.encode_family(&labels)?)
    }
}

/// The page of `/metrics`.
///
/// # Errors
/// Formatting fails, which it does not.
pub fn page(report: Report) -> Result<String, std::fmt::Error> {
    let mut registry = Registry::with_prefix("spoolway");
    registry.register_collector(Box::new(Page(report)));
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry)?;
    Ok(text)
}
