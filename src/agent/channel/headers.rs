//! Record headers that say where a record came from. Pure.

use std::collections::BTreeMap;

use super::name::Name;
use crate::pipeline::source::Headers;

/// What of the pipeline says which headers records have.
#[derive(Debug, Clone, Default)]
pub struct Rule {
    /// `headers`; `None`: records have none.
    pub headers: Option<Headers>,
    /// The spool directory, absolute.
    pub path: String,
    /// The node or host.
    pub host: String,
}

/// The headers of the records of one chunk.
#[derive(Debug, Clone, PartialEq)]
pub struct Labels {
    /// Those that are the same for each: key and value.
    pub same: Vec<(String, Vec<u8>)>,
    /// Key of the header with the position of the record's first byte in its file, as decimal digits; and where in the file the
    /// lines' own counting begins.
    pub position: Option<(String, u64)>,
}

impl Rule {
    /// The headers of records of `file` whose lines count from `position` on.
    pub fn labels(&self, file: &Name, position: u64) -> Option<Labels> {
        let headers = self.headers.as_ref()?;
        let absolute = || [self.path.trim_end_matches('/').as_bytes(), b"/", &file.0].concat();
        let named = [
            headers.file.as_ref().map(|key| (key.clone(), absolute())),
            headers.base_name.as_ref().map(|key| (key.clone(), file.base().to_vec())),
            headers.host.as_ref().map(|key| (key.clone(), self.host.clone().into_bytes())),
        ];
        let fixed = headers.static_.iter().flat_map(BTreeMap::iter);
        let fixed = fixed.map(|(key, value)| (key.clone(), value.clone().into_bytes()));
        let same = named.into_iter().flatten().chain(fixed).collect();
        Some(Labels { same, position: headers.position.clone().map(|key| (key, position)) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_header_under_the_key_that_was_asked_for() {
        let headers = Headers {
            file: Some("path".into()),
            base_name: Some("name".into()),
            host: Some("node".into()),
            position: Some("at".into()),
            static_: Some(BTreeMap::from([("team".to_owned(), "web".to_owned())])),
        };
        let rule = Rule { headers: Some(headers), path: "/var/spool/".into(), host: "n1".into() };
        let labels = rule.labels(&Name::new(b"sub/\xff.log"), 7).unwrap();
        let pair = |key: &str, value: &[u8]| (key.to_owned(), value.to_vec());
        let wanted = [
            pair("path", b"/var/spool/sub/\xff.log"),
            pair("name", b"\xff.log"),
            pair("node", b"n1"),
            pair("team", b"web"),
        ];
        assert_eq!(labels.same, wanted);
        assert_eq!(labels.position, Some(("at".to_owned(), 7)));
        assert_eq!(Rule::default().labels(&Name::new(b"a"), 0), None);
    }
}
