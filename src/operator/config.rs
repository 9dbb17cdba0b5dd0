//! What the operator is told by the one who installs it: `spoolway operator --config FILE`.
//!
//! Pure. Everything that is wrong is said at once, each with its path. The rule behind `hostPaths`: what one namespace may read,
//! no other may, and nothing that a node keeps its own secrets in may be read by any.

use serde::Deserialize;

use crate::pipeline::Problem;
use crate::pipeline::problem::{field, quoted};
use crate::yaml;

/// Stands for the pipeline's namespace in a prefix.
const NAMESPACE: &str = "{namespace}";
/// Stands for every namespace in a list of them.
const EVERY: &str = "*";

/// Never read, whatever is allowed: what lies there is the node's own.
const DENIED: &[&str] =
    &["/etc", "/proc", "/sys", "/dev", "/run", "/root", "/boot", "/var/lib/kubelet", "/var/lib/etcd", "/var/run"];

/// The operator's configuration.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OperatorConfig {
    /// The image of the agents: this program's own.
    pub image: String,
    /// Always, IfNotPresent or Never, for the agents. Default: Kubernetes' own.
    pub image_pull_policy: Option<String>,
    /// Names of Secrets to pull the image with; they must exist in each pipeline's namespace. Default: none.
    #[serde(default)]
    pub image_pull_secrets: Vec<String>,
    /// Keeps clusters that share a Kafka apart, 1 to 40 of a-z, 0-9 and -. Default: the first 8 characters of kube-system's uid.
    pub cluster_name: Option<String>,
    /// Which host paths pipelines may read. Default: `/var/spool/spoolway/{namespace}` for every namespace.
    #[serde(default)]
    pub host_paths: HostPaths,
    /// Whether each pipeline's agents get a NetworkPolicy that lets nothing in but probes and metrics. Default false.
    #[serde(default)]
    pub network_policy: bool,
    /// The Service that reports go through, in the operator's namespace. Default spoolway-report.
    #[serde(default = "report_service")]
    pub report_service: String,
    /// The Secret that keeps the report endpoint's certificate, in the operator's namespace. Default spoolway-operator-tls.
    #[serde(default = "certificate_secret")]
    pub certificate_secret: String,
}

/// Which host paths pipelines may read.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HostPaths {
    /// One entry a group of namespaces. None: no pipeline may read any.
    pub allowed: Vec<Allowed>,
}

/// What some namespaces may read.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Allowed {
    /// Their names; `*` is every namespace.
    pub namespaces: Vec<String>,
    /// Absolute paths beneath which they may read; the component `{namespace}` stands for the pipeline's own.
    pub prefixes: Vec<String>,
}

impl Default for HostPaths {
    fn default() -> Self {
        let prefix = format!("/var/spool/spoolway/{NAMESPACE}");
        Self { allowed: vec![Allowed { namespaces: vec![EVERY.to_owned()], prefixes: vec![prefix] }] }
    }
}

fn report_service() -> String {
    "spoolway-report".to_owned()
}

fn certificate_secret() -> String {
    "spoolway-operator-tls".to_owned()
}

impl OperatorConfig {
    /// The configuration in `text`.
    ///
    /// # Errors
    /// All problems at once; where the text is not of this form at all, the first.
    pub fn read(text: &str) -> Result<Self, Vec<Problem>> {
        let config: Self = yaml::read(text).map_err(|problem| vec![problem])?;
        let problems = config.problems();
        if problems.is_empty() { Ok(config) } else { Err(problems) }
    }

    /// The configuration that knows no more than an image.
    pub fn of_image(image: &str) -> Self {
        Self {
            image: image.to_owned(),
            image_pull_policy: None,
            image_pull_secrets: Vec::new(),
            cluster_name: None,
            host_paths: HostPaths::default(),
            network_policy: false,
            report_service: report_service(),
            certificate_secret: certificate_secret(),
        }
    }

    fn problems(&self) -> Vec<Problem> {
        let mut found = Vec::new();
        let mut add = |path: &str, message: String| found.push(Problem::new(path, message));
        if self.image.is_empty() || self.image.chars().any(|c| c.is_whitespace() || c.is_control()) {
            add("image", format!("is {}; name an image, such as example.com/spoolway:1", quoted(&self.image)));
        }
        if let Some(policy) = &self.image_pull_policy
            && !["Always", "IfNotPresent", "Never"].contains(&policy.as_str())
        {
            add("imagePullPolicy", format!("is {}; use Always, IfNotPresent or Never", quoted(policy)));
        }
        if let Some(cluster) = &self.cluster_name
            && !is_name(cluster, 40, false)
        {
            let message =
                format!("is {}; use 1 to 40 of a-z, 0-9 and -, a letter or digit at both ends", quoted(cluster));
            add("clusterName", message);
        }
        let names = [("reportService", &self.report_service), ("certificateSecret", &self.certificate_secret)];
        let secrets = self.image_pull_secrets.iter().enumerate();
        let secrets = secrets.map(|(index, name)| (format!("imagePullSecrets[{index}]"), name));
        for (path, name) in names.map(|(path, name)| (path.to_owned(), name)).into_iter().chain(secrets) {
            if !is_name(name, 253, true) {
                add(&path, format!("is {}, which no object can be called", quoted(name)));
            }
        }
        found.extend(self.host_paths.problems());
        found
    }
}

fn is_name(name: &str, max: usize, dots: bool) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || (dots && b == b'.');
    let end = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let bytes = name.as_bytes();
    bytes.len() <= max && bytes.iter().all(|b| inner(*b)) && end(bytes.first()) && end(bytes.last())
}

impl HostPaths {
    /// The allowed root beneath which `path` lies for a pipeline of `namespace`, the deepest if several do.
    pub fn root_of(&self, namespace: &str, path: &str) -> Option<String> {
        if path.split('/').any(|part| part == "..") || is_denied(&parts(path)) {
            return None;
        }
        let roots = self.roots(namespace).into_iter().filter(|root| parts(path).starts_with(&parts(root)));
        roots.max_by_key(|root| parts(root).len())
    }

    /// All roots of `namespace`, cleaned.
    pub fn roots(&self, namespace: &str) -> Vec<String> {
        let mine = self.allowed.iter().filter(|allowed| allowed.is_for(namespace));
        mine.flat_map(|allowed| &allowed.prefixes)
            .map(|prefix| {
                let parts = parts(prefix);
                let named = parts.iter().map(|part| if *part == NAMESPACE { namespace } else { part });
                named.fold(String::new(), |path, part| format!("{path}/{part}"))
            })
            .collect()
    }

    fn problems(&self) -> Vec<Problem> {
        let mut found = Vec::new();
        let mut prefixes = Vec::new();
        for (index, allowed) in self.allowed.iter().enumerate() {
            let at = format!("hostPaths.allowed[{index}]");
            if allowed.namespaces.is_empty() {
                found.push(Problem::new(
                    field(&at, "namespaces"),
                    "is empty; name namespaces, or \"*\" for every one",
                ));
            }
            for (number, name) in allowed.namespaces.iter().enumerate() {
                if name != EVERY && !is_name(name, 63, false) {
                    let message = format!("is {}, which no namespace can be called", quoted(name));
                    found.push(Problem::new(format!("{at}.namespaces[{number}]"), message));
                }
            }
            for (number, prefix) in allowed.prefixes.iter().enumerate() {
                let path = format!("{at}.prefixes[{number}]");
                match refused(prefix) {
                    Some(message) => found.push(Problem::new(path, format!("{} {message}", quoted(prefix)))),
                    None => prefixes.push((path, allowed, prefix)),
                }
            }
        }
        for (index, (path, allowed, prefix)) in prefixes.iter().enumerate() {
            for (_, other, others) in &prefixes[..=index] {
                if meet(allowed, &parts(prefix), other, &parts(others)) {
                    let message = format!(
                        "{} and {} would let namespaces read each other's files; put /{NAMESPACE} in, or name one namespace",
                        quoted(prefix),
                        quoted(others)
                    );
                    found.push(Problem::new(path, message));
                }
            }
        }
        found
    }
}

impl Allowed {
    fn is_for(&self, namespace: &str) -> bool {
        self.namespaces.iter().any(|name| name == EVERY || name == namespace)
    }

    /// Whether another namespace than `namespace` is meant too.
    fn is_for_another_than(&self, namespace: &str) -> bool {
        self.namespaces.iter().any(|name| name == EVERY || name != namespace)
    }
}

/// The components of a path that mean something.
fn parts(path: &str) -> Vec<&str> {
    path.split('/').filter(|part| !part.is_empty() && *part != ".").collect()
}

/// Whether a cleaned path is the node's own, or lies in what is.
fn is_denied(path: &[&str]) -> bool {
    path.is_empty() || DENIED.iter().any(|denied| path.starts_with(&parts(denied)))
}

/// Why nobody may read beneath `prefix`.
fn refused(prefix: &str) -> Option<String> {
    let all = parts(prefix);
    if !prefix.starts_with('/') {
        return Some("is not absolute; begin it with /".to_owned());
    }
    if all.contains(&"..") || prefix.chars().any(char::is_control) {
        return Some("has .. or control characters in it; write the path without".to_owned());
    }
    if all.iter().any(|part| *part != NAMESPACE && part.contains(['{', '}'])) {
        return Some(format!("has braces in it; {NAMESPACE} may stand for a whole component, and nothing else"));
    }
    // A root is mounted whole: it may not hold what is denied either.
    let near = |denied: &&&str| all.starts_with(&parts(denied)) || parts(denied).starts_with(&all);
    let denied = DENIED.iter().find(near)?;
    Some(format!("reaches {denied}, which no pipeline may read; use a directory of its own"))
}

/// Whether two different namespaces could get paths of which one holds the other.
fn meet(one: &Allowed, path: &[&str], other: &Allowed, others: &[&str]) -> bool {
    let (mut only, mut only_other) = (None, None);
    for (part, others) in path.iter().zip(others) {
        match (*part == NAMESPACE, *others == NAMESPACE) {
            (true, true) => return false,
            (true, false) if only.is_none_or(|name| name == *others) => only = Some(*others),
            (false, true) if only_other.is_none_or(|name| name == *part) => only_other = Some(*part),
            (false, false) if part == others => {}
            _ => return false,
        }
    }
    match (only, only_other) {
        (Some(name), Some(others)) => name != others && one.is_for(name) && other.is_for(others),
        (Some(name), None) => one.is_for(name) && other.is_for_another_than(name),
        (None, Some(name)) => other.is_for(name) && one.is_for_another_than(name),
        (None, None) => one.namespaces.iter().any(|name| name == EVERY || other.is_for_another_than(name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(hosts: &str) -> String {
        let text = format!("image: i:1\nhostPaths: {{allowed: [{hosts}]}}");
        let problems = OperatorConfig::read(&text).err().unwrap_or_default();
        problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn what_is_left_out_has_a_default_and_what_is_unknown_is_refused() {
        assert_eq!(OperatorConfig::read("image: i:1").unwrap(), OperatorConfig::of_image("i:1"));
        for (text, wrong) in [
            ("image: ''", "image: is \"\""),
            ("{}", "missing field `image`"),
            ("image: i\nnetworkPolicies: true", "unknown field `networkPolicies`"),
            ("image: i\nimagePullPolicy: Sometimes", "imagePullPolicy: is \"Sometimes\""),
            ("image: i\nimagePullSecrets: [a, B]", "imagePullSecrets[1]: is \"B\""),
            ("image: i\nclusterName: a/b", "clusterName: is \"a/b\""),
            ("image: i\nreportService: ''", "reportService: is \"\""),
        ] {
            let problems = OperatorConfig::read(text).unwrap_err();
            assert!(problems.iter().any(|p| p.to_string().contains(wrong)), "{text}: {problems:?}");
        }
        assert_eq!(OperatorConfig::read("image: ''\nclusterName: A").unwrap_err().len(), 2, "all at once");
    }

    #[test]
    fn a_path_is_beneath_a_root_by_whole_components() {
        let hosts = HostPaths::default();
        let root = Some("/var/spool/spoolway/shop".to_owned());
        for path in
            ["/var/spool/spoolway/shop", "/var/spool/spoolway/shop/web", "//var/./spool/spoolway/shop//web/"]
        {
            assert_eq!(hosts.root_of("shop", path), root, "{path}");
        }
        for path in [
            "/var/spool/spoolway/shop2",
            "/var/spool/spoolway",
            "/",
            "/var/spool/spoolway/shop/../bank",
            "/var/spool/spoolway/bank",
        ] {
            assert_eq!(hosts.root_of("shop", path), None, "{path}");
        }
    }

    #[test]
    fn the_deepest_root_is_mounted_and_other_namespaces_have_none() {
        let text = "image: i\nhostPaths: {allowed: [{namespaces: [shop], prefixes: [/data/, /data/./web]}]}";
        let hosts = OperatorConfig::read(text).unwrap().host_paths;
        assert_eq!(hosts.root_of("shop", "/data/web/a").as_deref(), Some("/data/web"));
        assert_eq!(hosts.root_of("shop", "/data/app").as_deref(), Some("/data"));
        assert_eq!(hosts.root_of("bank", "/data/app"), None);
    }

    #[test]
    fn what_is_the_nodes_own_cannot_be_allowed() {
        for prefix in ["/", "/etc", "/etc/app", "/var", "/var/lib", "/var/lib/kubelet/pods", "//run/", "/var/run/x"]
        {
            let said = said(&format!("{{namespaces: [a], prefixes: ['{prefix}']}}"));
            assert!(said.contains("which no pipeline may read"), "{prefix}: {said}");
        }
        for (prefix, wrong) in
            [("data", "is not absolute"), ("/a/../b", "has .."), ("/a/x{namespace}", "has braces")]
        {
            let said = said(&format!("{{namespaces: [a], prefixes: ['{prefix}']}}"));
            assert!(said.contains(wrong), "{prefix}: {said}");
        }
    }

    #[test]
    fn namespaces_cannot_be_given_each_others_files() {
        for fine in [
            "{namespaces: ['*'], prefixes: ['/s/{namespace}', '/data/{namespace}/logs']}",
            "{namespaces: [a], prefixes: [/data, /data/more]}, {namespaces: [b], prefixes: [/other]}",
            "{namespaces: [a, b], prefixes: ['/s/{namespace}']}, {namespaces: [c], prefixes: [/s/c]}",
            "{namespaces: ['*'], prefixes: ['/s/{namespace}']}, {namespaces: [a], prefixes: [/data2]}",
        ] {
            assert_eq!(said(fine), "", "{fine}");
        }
        for shared in [
            "{namespaces: ['*'], prefixes: [/data]}",
            "{namespaces: [a, b], prefixes: [/data]}",
            "{namespaces: [a], prefixes: [/data]}, {namespaces: [b], prefixes: [/data/b]}",
            "{namespaces: ['*'], prefixes: ['/s/{namespace}']}, {namespaces: [a], prefixes: [/s]}",
            "{namespaces: ['*'], prefixes: ['/s/{namespace}']}, {namespaces: [a], prefixes: [/s/b]}",
        ] {
            assert!(said(shared).contains("read each other's files"), "{shared}");
        }
    }
}
