//! Reads the demo's topics as anyone could: lines into a [`Tally`], segments and receipts as they come. I/O, on its own thread.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};

use super::tally::Tally;
use super::{RECEIPTS, TOPIC};
use crate::agent::channel::evidence::{Evidence, EvidenceKind};
use crate::pipeline::KafkaSink;
use crate::secrets::Secrets;

/// Time for one answer about a topic.
const ANSWER: Duration = Duration::from_secs(5);
/// A topic that is not there yet is looked for this often.
const LOOK: Duration = Duration::from_millis(300);

/// What has been read so far.
#[derive(Debug, Default)]
pub struct Seen {
    /// The lines.
    pub tally: Tally,
    /// Lines that segments speak of.
    pub in_segments: u64,
    /// By file name: bytes shipped, as the newest segment says.
    pub shipped: HashMap<String, u64>,
    /// Receipts in the order of their arrival.
    pub receipts: Vec<Evidence>,
    /// The last thing that went wrong with reading.
    pub trouble: Option<String>,
}

/// A reader of the demo's topics, from what is their end when it starts.
pub struct Watch {
    seen: Arc<Mutex<Seen>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Starts to read `topics`. The data topic must be there; the receipt topic may come later.
    ///
    /// # Errors
    /// No answer, or no data topic.
    pub fn start(sink: &KafkaSink, isolation: &str, topics: &[&'static str]) -> anyhow::Result<Watch> {
        let consumer: BaseConsumer =
            crate::kafka::consumer(sink, "demo-watch", &Secrets::new(None), isolation)?.create()?;
        let mut waiting = vec![];
        for &topic in topics {
            if !assign(&consumer, topic, true)? {
                waiting.push(topic);
            }
        }
        if waiting.contains(&TOPIC) {
            anyhow::bail!(
                "topic {TOPIC} does not exist; make it, for example with 6 partitions, then run this again"
            );
        }
        let (seen, stop) = (Arc::<Mutex<Seen>>::default(), Arc::<AtomicBool>::default());
        let (shared, ended) = (seen.clone(), stop.clone());
        let thread = std::thread::Builder::new()
            .name("watch".into())
            .spawn(move || read(&consumer, waiting, &shared, &ended))?;
        Ok(Watch { seen, stop, thread: Some(thread) })
    }

    /// What has been read so far.
    pub fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn read(consumer: &BaseConsumer, mut waiting: Vec<&str>, seen: &Mutex<Seen>, stop: &AtomicBool) {
    let lock = || seen.lock().unwrap_or_else(PoisonError::into_inner);
    let mut look = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        if !waiting.is_empty() && look.elapsed() >= LOOK {
            look = Instant::now();
            // Made after the start: everything in it is of this run.
            waiting.retain(|topic| !assign(consumer, topic, false).unwrap_or(false));
        }
        match consumer.poll(Duration::from_millis(50)) {
            None | Some(Err(KafkaError::PartitionEOF(_))) => {}
            Some(Err(e)) => lock().trouble = Some(e.to_string()),
            Some(Ok(message)) => {
                let value = message.payload().unwrap_or_default();
                if message.topic() == TOPIC { lock().tally.record(value) } else { lock().evidence(value) }
            }
        }
    }
}

/// Adds a topic's partitions to what is read; false where there is no such topic.
fn assign(consumer: &BaseConsumer, topic: &str, from_end: bool) -> KafkaResult<bool> {
    let metadata = consumer.fetch_metadata(Some(topic), ANSWER)?;
    let found = metadata.topics().iter().find(|t| t.error().is_none() && !t.partitions().is_empty());
    let Some(found) = found else { return Ok(false) };
    let mut list = TopicPartitionList::new();
    for partition in found.partitions() {
        let offset = if from_end {
            Offset::Offset(consumer.fetch_watermarks(topic, partition.id(), ANSWER)?.1)
        } else {
            Offset::Beginning
        };
        list.add_partition_offset(topic, partition.id(), offset)?;
    }
    consumer.incremental_assign(&list)?;
    Ok(true)
}

impl Seen {
    fn evidence(&mut self, value: &[u8]) {
        match serde_json::from_slice::<Evidence>(value) {
            Ok(e) if e.kind == EvidenceKind::Receipt => self.receipts.push(e),
            Ok(e) => {
                self.in_segments += e.lines;
                self.shipped.insert(e.name.to_string(), e.to);
            }
            Err(e) => self.trouble = Some(format!("a record of {RECEIPTS} cannot be read: {e}")),
        }
    }
}
