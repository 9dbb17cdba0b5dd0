//! Text to LogPipelines, and values to text: the only file that names serde_yaml.
//!
//! Pure. A text holds several YAML documents; each is judged alone, so one bad document hides nothing in
//! another. No input panics.

use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, EnumAccess, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::pipeline::problem::{Problem, field, quoted};
use crate::pipeline::{LogPipeline, shape};

/// One document of a text.
#[derive(Debug)]
pub struct Document {
    /// What goes before its problems' paths: empty for the first, `document 2 (orders)` for a later one.
    pub place: String,
    /// What was read, as it goes to an API server: null where it is no YAML, the last one of a key that comes twice.
    pub value: Value,
    /// The pipeline, or all problems of its shape.
    pub pipeline: Result<LogPipeline, Vec<Problem>>,
}

impl Document {
    fn of_nothing(problem: Problem) -> Self {
        Self { place: String::new(), value: Value::Null, pipeline: Err(vec![problem]) }
    }

    /// `problem`, its path made to say which document it is in.
    pub fn locate(&self, problem: Problem) -> Problem {
        let path = match (self.place.is_empty(), problem.path.is_empty()) {
            (true, _) => return problem,
            (false, true) => self.place.clone(),
            (false, false) => format!("{}: {}", self.place, problem.path),
        };
        Problem { path, ..problem }
    }
}

/// All LogPipelines of `text`, or all problems of their shape. Empty documents are skipped.
pub fn load(text: &str) -> Result<Vec<LogPipeline>, Vec<Problem>> {
    let (mut pipelines, mut problems) = (Vec::new(), Vec::new());
    for mut document in documents(text) {
        match std::mem::replace(&mut document.pipeline, Err(Vec::new())) {
            Ok(pipeline) => pipelines.push(pipeline),
            Err(found) => problems.extend(found.into_iter().map(|p| document.locate(p))),
        }
    }
    if problems.is_empty() { Ok(pipelines) } else { Err(problems) }
}

/// The documents of `text`, at least one: a text without any is a problem too. Reading ends at the first
/// syntax error, since nobody can tell what comes after it.
pub fn documents(text: &str) -> Vec<Document> {
    let mut documents = Vec::new();
    let mut names = HashSet::new();
    for (index, yaml) in serde_yaml::Deserializer::from_str(text).enumerate() {
        let mut problems = Vec::new();
        let tree = Tree { path: String::new(), problems: &mut problems };
        let value = match tree.deserialize(yaml) {
            Ok(Value::Null) => continue,
            Ok(value) => value,
            Err(error) => {
                documents.push(Document::of_nothing(syntax(&error)));
                return documents;
            }
        };
        let place = match (index, value["metadata"]["name"].as_str()) {
            (0, _) => String::new(),
            (_, Some(name)) => format!("document {} ({})", index + 1, crate::pipeline::problem::escaped(name)),
            (_, None) => format!("document {}", index + 1),
        };
        let pipeline = shape::read(&value).and_then(|pipeline| {
            let name = (pipeline.namespace().to_owned(), pipeline.metadata.name.clone());
            if names.insert(name) {
                return Ok(pipeline);
            }
            let message = "is the name of an earlier document too; give each LogPipeline its own";
            Err(vec![Problem::new("metadata.name", message)])
        });
        let pipeline = match pipeline {
            Ok(pipeline) if problems.is_empty() => Ok(pipeline),
            Ok(_) => Err(problems),
            Err(more) => Err(problems.into_iter().chain(more).collect()),
        };
        documents.push(Document { place, value, pipeline });
    }
    if documents.is_empty() {
        let nothing = Problem::new("", "holds no LogPipeline; write one (kind: LogPipeline)");
        documents.push(Document::of_nothing(nothing));
    }
    documents
}

/// What `text` holds, of a type that is no LogPipeline.
///
/// # Errors
/// It is not YAML, or not of that type: the place, and what is wrong there.
pub fn read<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, Problem> {
    serde_yaml::from_str(text).map_err(|error| Problem { message: error.to_string(), ..syntax(&error) })
}

/// A Kubernetes object as YAML.
pub fn write<T: serde::Serialize>(object: &T) -> String {
    serde_yaml::to_string(object).expect("Kubernetes objects have text keys only")
}

/// The parser's complaint, with its line and column as the path.
fn syntax(error: &serde_yaml::Error) -> Problem {
    let text = error.to_string();
    let text = text.split(" at line ").next().unwrap_or(&text);
    let message = format!("is not YAML: {text}");
    match error.location() {
        Some(at) => Problem::new(format!("line {}, column {}", at.line(), at.column()), message),
        None => Problem::new("", message),
    }
}

/// Reads a document into a [`Value`] and notes what that cannot show: keys that come twice, keys that are not text.
struct Tree<'a> {
    path: String,
    problems: &'a mut Vec<Problem>,
}

impl Tree<'_> {
    fn inner(&mut self, path: String) -> Tree<'_> {
        Tree { path, problems: self.problems }
    }
}

impl<'de> DeserializeSeed<'de> for Tree<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Tree<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("plain YAML")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, v: bool) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_i64<E>(self, v: i64) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_u64<E>(self, v: u64) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_i128<E>(self, v: i128) -> Result<Value, E> {
        Ok((v as f64).into())
    }

    fn visit_u128<E>(self, v: u128) -> Result<Value, E> {
        Ok((v as f64).into())
    }

    fn visit_f64<E>(self, v: f64) -> Result<Value, E> {
        // JSON has no infinity: as text it is refused wherever a number is wanted.
        Ok(Number::from_f64(v).map_or_else(|| v.to_string().into(), Value::Number))
    }

    fn visit_str<E>(self, v: &str) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        loop {
            let path = format!("{}[{}]", self.path, items.len());
            match seq.next_element_seed(self.inner(path))? {
                Some(item) => items.push(item),
                None => return Ok(Value::Array(items)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Value, A::Error> {
        let mut fields = Map::new();
        while let Some(key) = map.next_key::<serde_yaml::Value>()? {
            // As Kubernetes does: a number or a word such as `true` is a key by its text.
            let key = match key {
                serde_yaml::Value::String(text) => text,
                serde_yaml::Value::Number(number) => number.to_string(),
                serde_yaml::Value::Bool(word) => word.to_string(),
                _ => return Err(A::Error::custom("a key that is not text")),
            };
            let path = field(&self.path, &key);
            let value = map.next_value_seed(self.inner(path.clone()))?;
            if fields.insert(key, value).is_some() {
                self.problems.push(Problem::new(path, "comes twice; remove one of them"));
            }
        }
        Ok(Value::Object(fields))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, data: A) -> Result<Value, A::Error> {
        let (tag, _) = data.variant::<String>()?;
        Err(A::Error::custom(format!("the tag {} means nothing here; remove it", quoted(&tag))))
    }
}
