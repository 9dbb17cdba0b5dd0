//! What is committed of the sink `file`: how long each of its open files is, and the progress of every file that was read. Pure.
//!
//! A line of JSON about the sink, then one for each file's progress: its id, a space, what the checkpoint topic would hold. The first
//! line counts the others, so that a text that was cut is never taken for a whole one.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::roll::Output;
use crate::agent::channel::digest::FileId;
use crate::agent::channel::progress::Progress;

/// The form that this release writes, and the newest it reads.
const VERSION: u32 = 1;

/// What is committed.
#[derive(Debug, Clone, PartialEq)]
pub struct State {
    /// About the sink.
    pub head: Head,
    /// Progress by file, written out once for all commits.
    files: BTreeMap<FileId, Vec<u8>>,
}

/// The first line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Head {
    v: u32,
    /// `<cluster>/<namespace>/<pipeline>/<agent>`.
    pub agent: String,
    /// Where the files are.
    pub directory: String,
    /// The number that the next file has, or a higher one.
    pub next: u64,
    /// Files that are not closed, or were when this was written.
    pub outputs: Vec<Output>,
    files: usize,
}

impl State {
    /// Of a sink that has written nothing yet.
    pub fn new(agent: &str, directory: &str) -> Self {
        let (agent, directory) = (agent.to_owned(), directory.to_owned());
        State {
            head: Head { v: VERSION, agent, directory, next: 1, outputs: vec![], files: 0 },
            files: BTreeMap::new(),
        }
    }

    /// This is committed of a file.
    pub fn set(&mut self, progress: &Progress) {
        let text = serde_json::to_vec(progress).expect("a plain struct serialises");
        self.files.insert(progress.id, text);
    }

    /// Nothing is to be remembered of a file.
    pub fn forget(&mut self, file: FileId) {
        self.files.remove(&file);
    }

    /// As text.
    pub fn encode(&self) -> Vec<u8> {
        let head = Head { files: self.files.len(), ..self.head.clone() };
        let mut text = serde_json::to_vec(&head).expect("a plain struct serialises");
        text.push(b'\n');
        for (file, progress) in &self.files {
            text.extend_from_slice(file.to_string().as_bytes());
            text.push(b' ');
            text.extend_from_slice(progress);
            text.push(b'\n');
        }
        text
    }

    /// From text, with all progress in it.
    ///
    /// # Errors
    /// What is wrong with the text: it is cut, written by a newer release, or no such text.
    pub fn decode(text: &[u8]) -> Result<(State, Vec<Progress>), String> {
        let mut lines = text.split_inclusive(|b| *b == b'\n').map(|line| line.strip_suffix(b"\n"));
        let first = lines.next().flatten().ok_or("it is cut off")?;
        let json: serde_json::Value = serde_json::from_slice(first).map_err(|e| e.to_string())?;
        match json.get("v").and_then(serde_json::Value::as_u64) {
            Some(v) if v > u64::from(VERSION) => {
                return Err(format!(
                    "it has version {v}, this release reads up to {VERSION}; run the newer release again"
                ));
            }
            Some(_) => {}
            None => return Err("it has no version".to_owned()),
        }
        let mut head: Head = serde_json::from_value(json).map_err(|e| e.to_string())?;
        head.outputs.iter_mut().for_each(Output::resume);
        let (mut state, mut all) = (State { head, files: BTreeMap::new() }, vec![]);
        for line in lines {
            let line = line.ok_or("it is cut off")?;
            let space = line.iter().position(|b| *b == b' ').ok_or("a line has no file id")?;
            let file = String::from_utf8_lossy(&line[..space]);
            let progress = Progress::decode(&file, &line[space + 1..]).map_err(|e| e.to_string())?;
            state.files.insert(progress.id, line[space + 1..].to_vec());
            all.push(progress);
        }
        if all.len() != state.head.files {
            return Err("it is cut off".to_owned());
        }
        Ok((state, all))
    }
}
