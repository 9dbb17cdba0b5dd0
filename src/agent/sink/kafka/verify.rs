//! Reads the receipt topic, then the data topics it names, for `spoolway verify`. I/O; `channel::verify` judges.
//!
//! Nothing is written and no group is joined. Agents may ship meanwhile, so the order matters: first the ends of the data topics, then the
//! receipt topic to an end that is asked afterwards. A record before such an end is committed, so its segment was written before that; hence
//! a record there that no segment claims is one that no agent shipped.
//!
//! What a transaction holds back that is still open is waited for, but only so long: nothing hangs.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::message::Message;
use rdkafka::producer::BaseProducer;

use super::client::Brokers;
use super::failure::Doing;
use super::heard::Heard;
use super::partitions::{Next, Partitions, Step};
use super::topics::partitions_of;
use crate::agent::channel::verify::{Bounds, Expect, Judge, Ledger, Verdict};
use crate::agent::sink::{Failure, SinkError};
use crate::kafka::TRANSACTION_TIMEOUT;
use crate::pipeline::report::FlowReason;

/// The judge is asked after so many records whether some partitions are to wait.
const ASK_EVERY: u64 = 256;

/// What is asked.
#[derive(Debug, Clone)]
pub struct Ask {
    /// `<cluster>/<namespace>/<pipeline>/`.
    pub pipeline: String,
    /// `--shared-topic`.
    pub shared: bool,
    /// `guarantee: ExactlyOnce`.
    pub transactional: bool,
    /// How long open transactions are waited for.
    pub wait: Duration,
    /// Bytes of lines that may be held at once.
    pub memory: usize,
    /// `commitInterval`: without transactions a segment follows its lines.
    pub commit_interval: Duration,
}

/// What was found.
#[derive(Debug, Clone, Default)]
pub struct Found {
    /// Files and topics.
    pub verdict: Verdict,
    /// Records of the receipt topic.
    pub evidence: u64,
    /// Where the first of its records is that is no evidence, and how many there are: partition, offset, count.
    pub unreadable: Option<(i32, i64, u64)>,
    /// Records behind transactions of the receipt topic that are still open: those of data topics cannot be held against them.
    pub unread_evidence: u64,
    /// Records of the receipt topic are deleted by retention.
    pub evidence_deleted: bool,
    /// Pipelines that have receipts, where this one has none.
    pub others: Vec<String>,
}

/// Verifies; `seen` is told how many offsets are behind, and how many there are in all.
///
/// # Errors
/// A topic or a grant is missing, the brokers do not answer, or a newer release wrote the receipts.
pub fn verify(brokers: &Brokers, ask: &Ask, seen: &mut dyn FnMut(u64, u64)) -> Result<Found, SinkError> {
    let lag = ask.commit_interval + 2 * TRANSACTION_TIMEOUT;
    let recent = jiff::Timestamp::now().as_millisecond().saturating_sub_unsigned(lag.as_millis() as u64);
    let heard = Heard::default();
    let client: BaseProducer<Heard> = brokers.client(&brokers.admin_config()?, heard.clone())?;
    let count = |topic: &str| partitions_of(brokers, &client, &heard, topic).map(|(count, _)| count);
    let name = brokers.receipt_topic.clone();
    let partitions = count(&name)?.ok_or_else(|| missing(&name))?;
    let mut receipts = Receipts::open(brokers, &name, partitions, Ledger::new(&ask.pipeline, &brokers.topic))?;
    receipts.read_on()?; // names the data topics
    let mut topics = vec![];
    for topic in receipts.ledger.topics() {
        let partitions = count(&topic)?.unwrap_or(0);
        let settled = reader(brokers, &topic)?;
        let judged =
            (0..partitions as i32).map(|p| Ok(settled.ends(p)?.1)).collect::<Result<Vec<i64>, SinkError>>()?;
        topics.push((topic, judged));
    }
    let deadline = Instant::now() + ask.wait;
    let unread_evidence = receipts.settle(deadline)?;
    receipts.read_on()?;
    for topic in receipts.ledger.topics() {
        if !topics.iter().any(|(known, _)| *known == topic) {
            // First named meanwhile: its lines are looked for, but of no record there is it known that its segment was read.
            let partitions = count(&topic)?.unwrap_or(0);
            topics.push((topic, vec![0; partitions as usize]));
        }
    }
    let Receipts { ledger, beheaded, .. } = receipts;
    let (evidence, unreadable, others) = (ledger.evidence, ledger.unreadable, ledger.others());
    let all_evidence = unread_evidence == 0;
    let Ask { shared, transactional, memory, .. } = *ask;
    let mut judge = Judge::new(ledger, Expect { shared, transactional, all_evidence, memory, recent });
    let mut progress = Progress { done: 0, total: 0, seen };
    let mut data = vec![];
    for (topic, judged) in &topics {
        let one = Data::open(brokers, topic, judged, &judge, deadline)?;
        progress.total += one.length();
        data.push(one);
    }
    for one in &data {
        one.judge(&mut judge, &mut progress)?;
    }
    let evidence_deleted = beheaded.contains(&true);
    Ok(Found { verdict: judge.verdict(), evidence, unreadable, unread_evidence, evidence_deleted, others })
}

fn missing(topic: &str) -> SinkError {
    let message = format!(
        "topic {topic} does not exist, so there are no receipts: no agent of this namespace has shipped anything, or \
         spec.delivery.receiptTopic names another one"
    );
    SinkError { failure: Failure::RetrySlowly, reason: FlowReason::TopicMissing, message }
}

/// Waits until all of it is settled, or time is over; what was settled at last, by partition.
fn settled(
    brokers: &Brokers,
    reader: &Partitions,
    wanted: &[i64],
    deadline: Instant,
) -> Result<Vec<i64>, SinkError> {
    let mut stable = vec![0; wanted.len()];
    for (partition, (wanted, stable)) in (0..).zip(wanted.iter().zip(&mut stable)) {
        loop {
            *stable = reader.ends(partition)?.1;
            if *stable >= *wanted || Instant::now() > deadline || brokers.is_stopping() {
                break;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
    Ok(stable)
}

/// The ends of everything written.
fn written(brokers: &Brokers, topic: &str, partitions: usize) -> Result<Vec<(i64, i64)>, SinkError> {
    let all = Partitions::new(brokers, topic, "read_uncommitted", Doing::Reading(topic))?;
    (0..partitions as i32).map(|partition| all.ends(partition)).collect()
}

fn reader<'a>(brokers: &'a Brokers, topic: &'a str) -> Result<Partitions<'a>, SinkError> {
    Partitions::new(brokers, topic, "read_committed", Doing::Reading(topic))
}

/// The receipt topic, and how far it is read.
struct Receipts<'a> {
    brokers: &'a Brokers,
    topic: &'a str,
    ledger: Ledger,
    /// By partition: whether its first records are deleted, whether it is known since when, the next offset to read, the end.
    beheaded: Vec<bool>,
    dated: Vec<bool>,
    next: Vec<i64>,
    end: Vec<i64>,
}

impl<'a> Receipts<'a> {
    fn open(brokers: &'a Brokers, topic: &'a str, partitions: u32, ledger: Ledger) -> Result<Self, SinkError> {
        let reader = reader(brokers, topic)?;
        let ends = (0..partitions as i32).map(|p| reader.ends(p)).collect::<Result<Vec<_>, SinkError>>()?;
        let beheaded = ends.iter().map(|(start, _)| *start > 0).collect();
        let dated = vec![false; ends.len()];
        let (next, end) = ends.into_iter().unzip();
        Ok(Receipts { brokers, topic, ledger, beheaded, dated, next, end })
    }

    /// Reads what was not read, up to `end`.
    fn read_on(&mut self) -> Result<(), SinkError> {
        let spans = (0..).zip(self.next.iter().copied().zip(self.end.iter().copied())).collect();
        let (ledger, beheaded, dated, topic) = (&mut self.ledger, &self.beheaded, &mut self.dated, self.topic);
        reader(self.brokers, topic)?.read(spans, |step| {
            match step {
                Step::Record(message) => {
                    let (partition, offset) = (message.partition(), message.offset());
                    let beheaded = beheaded[partition as usize];
                    let value = message.payload().unwrap_or_default();
                    ledger.add(partition, offset, value, beheaded).map_err(|newer| SinkError {
                        failure: Failure::RetrySlowly,
                        reason: FlowReason::UnsupportedBroker,
                        message: format!("topic {topic}, partition {partition}, offset {offset}: {newer}"),
                    })?;
                    if beheaded && !std::mem::replace(&mut dated[partition as usize], true) {
                        ledger.kept_since(message.timestamp().to_millis().unwrap_or(i64::MAX));
                    }
                }
                // Of a partition that holds nothing any more, nobody knows how long.
                Step::End(partition) => {
                    if beheaded[partition as usize] && !std::mem::replace(&mut dated[partition as usize], true) {
                        ledger.kept_since(i64::MAX);
                    }
                }
            }
            Ok(Next::Same)
        })?;
        self.next.clone_from(&self.end);
        Ok(())
    }

    /// The end of everything written until now is the new one, once it is settled; the records of which it is not, when time is over.
    fn settle(&mut self, deadline: Instant) -> Result<u64, SinkError> {
        let wanted: Vec<i64> =
            written(self.brokers, self.topic, self.end.len())?.into_iter().map(|(_, end)| end).collect();
        let stable = settled(self.brokers, &reader(self.brokers, self.topic)?, &wanted, deadline)?;
        self.end = wanted.iter().zip(&stable).map(|(wanted, stable)| *wanted.min(stable)).collect();
        Ok(wanted.iter().zip(&self.end).map(|(wanted, end)| wanted.abs_diff(*end)).sum())
    }
}

struct Progress<'a> {
    done: u64,
    total: u64,
    seen: &'a mut dyn FnMut(u64, u64),
}

/// A data topic, with the ends that it is read to.
struct Data<'a> {
    brokers: &'a Brokers,
    topic: &'a str,
    bounds: Vec<Bounds>,
}

impl<'a> Data<'a> {
    fn open(
        brokers: &'a Brokers,
        topic: &'a str,
        judged: &[i64],
        judge: &Judge,
        deadline: Instant,
    ) -> Result<Self, SinkError> {
        let written = written(brokers, topic, judged.len())?;
        let wanted: Vec<i64> = written
            .iter()
            .zip(judged)
            .enumerate()
            .map(|(partition, ((_, high), judged))| judge.claimed_to(topic, partition).min(*high).max(*judged))
            .collect();
        let stable = settled(brokers, &reader(brokers, topic)?, &wanted, deadline)?;
        let bounds = (0..judged.len()).map(|p| {
            let end = wanted[p].min(stable[p]);
            let (start, high) = written[p];
            Bounds { start, end, judged: judged[p].min(end), high: high.max(end), stable: stable[p] }
        });
        Ok(Data { brokers, topic, bounds: bounds.collect() })
    }

    fn length(&self) -> u64 {
        self.bounds.iter().map(|bounds| bounds.end.saturating_sub(bounds.start).max(0) as u64).sum()
    }

    fn spans(&self) -> BTreeMap<i32, (i64, i64)> {
        (0..).zip(self.bounds.iter().map(|bounds| (bounds.start, bounds.end))).collect()
    }

    fn judge(&self, judge: &mut Judge, progress: &mut Progress) -> Result<(), SinkError> {
        judge.begin(self.topic, &self.bounds);
        let mut behind: Vec<i64> = self.bounds.iter().map(|bounds| bounds.start).collect();
        let mut count = 0_u64;
        reader(self.brokers, self.topic)?.read(self.spans(), |step| {
            match step {
                Step::Record(message) => {
                    let (partition, offset) = (message.partition(), message.offset());
                    let timestamp = message.timestamp().to_millis().unwrap_or(i64::MAX);
                    judge.record(partition, offset, timestamp, message.payload().unwrap_or_default());
                    count += 1;
                    progress.done += behind[partition as usize].abs_diff(offset + 1);
                    behind[partition as usize] = offset + 1;
                    if !count.is_multiple_of(ASK_EVERY) {
                        return Ok(Next::Same);
                    }
                    (progress.seen)(progress.done, progress.total);
                }
                Step::End(partition) => judge.ended(partition),
            }
            Ok(judge.needed().map_or(Next::All, Next::Only))
        })?;
        let starts: Vec<i64> =
            written(self.brokers, self.topic, self.bounds.len())?.into_iter().map(|(start, _)| start).collect();
        judge.end(&starts);
        if judge.wants_twins() {
            reader(self.brokers, self.topic)?.read(self.spans(), |step| {
                let Step::Record(message) = step else { return Ok(Next::Same) };
                let value = message.payload().unwrap_or_default();
                let on = judge.compare(message.partition(), message.offset(), value);
                Ok(if on { Next::Same } else { Next::Enough })
            })?;
        }
        Ok(())
    }
}
