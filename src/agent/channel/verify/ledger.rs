//! What the receipt topic tells, gathered: chains by file, of every pipeline that writes there. Pure.

use std::collections::{BTreeSet, HashMap};

use super::chain::{Chain, Receipt, Segment};
use crate::agent::channel::digest::FileId;
use crate::agent::channel::evidence::{Evidence, EvidenceKind};
use crate::agent::channel::progress::{Run, VERSION};

/// Pipelines named in the advice for somebody whose pipeline has no receipts.
const OTHERS: usize = 5;

/// Gathers evidence.
#[derive(Debug, Default)]
pub struct Ledger {
    /// `<cluster>/<namespace>/<pipeline>/`: whose files are judged.
    pipeline: String,
    pub(super) agents: Vec<String>,
    pub(super) topics: Vec<String>,
    pub(super) chains: Vec<Chain>,
    by_file: HashMap<(u32, FileId, u32), u32>,
    agent_numbers: HashMap<String, u32>,
    /// Records of the receipt topic: all, and those that are no evidence.
    pub evidence: u64,
    /// Where the first of those is that cannot be read, and how many there are.
    pub unreadable: Option<(i32, i64, u64)>,
    /// Records of the receipt topic are gone: what is older than this, in milliseconds since 1970, may have been claimed by them.
    pub(super) horizon: Option<i64>,
    others: BTreeSet<String>,
}

/// Evidence that this release cannot read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("it has version {0}, this release reads up to {VERSION}; run the newer release")]
pub struct Newer(pub u64);

/// Evidence, or `None` where the value is none.
fn decode(value: &[u8]) -> Result<Option<Evidence>, Newer> {
    let Ok(json) = serde_json::from_slice::<serde_json::Value>(value) else { return Ok(None) };
    match json.get("v").and_then(serde_json::Value::as_u64) {
        Some(v) if v > u64::from(VERSION) => Err(Newer(v)),
        Some(_) => Ok(serde_json::from_value(json).ok()),
        None => Ok(None),
    }
}

/// No file is larger, and no offset higher.
const LARGEST: u64 = 1 << 50;
/// More than any topic has: a number beyond it is not a partition's.
pub(super) const PARTITIONS: usize = 1 << 20;

/// What nobody can have written in earnest would only make sums overflow. A line has one byte in its file at least.
fn is_possible(evidence: &Evidence) -> bool {
    let Evidence { from, to, lines, .. } = *evidence;
    let run = |run: &Run| {
        run.count <= lines
            && (0..PARTITIONS as i32).contains(&run.partition)
            && run.first.is_none_or(|first| (0..LARGEST as i64).contains(&first))
    };
    from <= to && to <= LARGEST && lines <= to - from && evidence.runs.iter().all(run)
}

impl Ledger {
    /// For the pipeline `<cluster>/<namespace>/<pipeline>/`, whose topic is `topic`.
    pub fn new(pipeline: &str, topic: &str) -> Self {
        Ledger { pipeline: pipeline.to_owned(), topics: vec![topic.to_owned()], ..Ledger::default() }
    }

    /// A record of the receipt topic; `beheaded` says that this partition has lost its first records.
    ///
    /// # Errors
    /// A newer release wrote it.
    pub fn add(&mut self, partition: i32, offset: i64, value: &[u8], beheaded: bool) -> Result<(), Newer> {
        self.evidence += 1;
        // Nearly all are of this version: read once, and a second time only to say what is wrong.
        let evidence = match serde_json::from_slice::<Evidence>(value) {
            Ok(evidence) if evidence.v <= VERSION => Some(evidence),
            _ => decode(value)?,
        };
        let Some(evidence) = evidence.filter(is_possible) else {
            self.unreadable.get_or_insert((partition, offset, 0)).2 += 1;
            return Ok(());
        };
        let chain = self.chain(&evidence, beheaded);
        chain.name = evidence.name;
        chain.origin = chain.origin.or(evidence.origin);
        match evidence.kind {
            EvidenceKind::Segment => chain.segments.push(Segment {
                from: evidence.from,
                to: evidence.to,
                lines: evidence.lines,
                bytes: evidence.bytes,
                digest: evidence.digest,
                runs: evidence.runs.into(),
                before: None,
                lines_before: None,
            }),
            EvidenceKind::Receipt => chain.receipts.push(Receipt {
                to: evidence.to,
                lines: evidence.lines,
                bytes: evidence.bytes,
                digest: evidence.digest,
            }),
        }
        Ok(())
    }

    /// What is older than this may have been claimed by records that the receipt topic holds no more.
    pub fn kept_since(&mut self, milliseconds: i64) {
        self.horizon = Some(self.horizon.map_or(milliseconds, |horizon| horizon.max(milliseconds)));
    }

    fn chain(&mut self, evidence: &Evidence, beheaded: bool) -> &mut Chain {
        let agent = match self.agent_numbers.get(&evidence.agent) {
            Some(agent) => *agent,
            None => {
                let agent = self.agents.len() as u32;
                self.agents.push(evidence.agent.clone());
                self.agent_numbers.insert(evidence.agent.clone(), agent);
                agent
            }
        };
        let topic = self.topics.iter().position(|topic| *topic == evidence.topic).unwrap_or_else(|| {
            self.topics.push(evidence.topic.clone());
            self.topics.len() - 1
        }) as u32;
        let judged = evidence.agent.starts_with(&self.pipeline);
        if !judged && self.others.len() < OTHERS {
            let pipeline = evidence.agent.splitn(4, '/').take(3).collect::<Vec<_>>().join("/");
            self.others.insert(pipeline);
        }
        let (chains, next) = (&mut self.chains, self.by_file.len() as u32);
        let index = *self.by_file.entry((agent, evidence.file, topic)).or_insert_with(|| {
            chains.push(Chain {
                agent,
                file: evidence.file,
                name: evidence.name.clone(),
                generation: evidence.generation,
                origin: None,
                topic,
                judged,
                beheaded: false,
                segments: vec![],
                receipts: vec![],
                flaws: vec![],
                position: 0,
                closed: false,
            });
            next
        });
        let chain = &mut self.chains[index as usize];
        chain.beheaded |= beheaded;
        chain
    }

    /// The topics that this pipeline's files are in, its own first.
    pub fn topics(&self) -> Vec<String> {
        let named = |topic: usize| self.chains.iter().any(|chain| chain.judged && chain.topic as usize == topic);
        let all = self.topics.iter().enumerate();
        all.filter(|(topic, _)| *topic == 0 || named(*topic)).map(|(_, name)| name.clone()).collect()
    }

    /// Other pipelines, some of them, where there is no evidence of this one.
    pub fn others(&self) -> Vec<String> {
        match self.chains.iter().any(|chain| chain.judged) {
            true => vec![],
            false => self.others.iter().cloned().collect(),
        }
    }

    /// An agent and a file, in the words of a message.
    pub(super) fn label(&self, chain: &Chain) -> String {
        format!("{} of {}", chain.name, self.agents[chain.agent as usize])
    }
}
