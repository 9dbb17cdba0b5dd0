//! Values at and beside every bound, put one by one into a good LogPipeline: `validate` and the CRD must say the same of each.

use std::fmt::Write;

use serde_json::{Value, json};

use super::{both, good};

/// `document` with the field at `path` set to `value`, or removed.
pub(super) fn with(document: &Value, path: &str, value: Option<Value>) -> Value {
    let mut document = document.clone();
    let (parent, name) = path.rsplit_once('.').unwrap();
    // Fields with dots in their names are written with colons here.
    let place = parent.split('.').fold(&mut document, |place, name| &mut place[name]);
    let name = name.replace(':', ".");
    match value {
        Some(value) => place[&name] = value,
        None => _ = place.as_object_mut().unwrap().remove(&name),
    }
    document
}

fn long(text: &str, times: usize) -> Value {
    json!(text.repeat(times))
}

/// Every edge: the path, the value, the document with it.
pub(super) fn documents() -> impl Iterator<Item = (String, Value, Value)> {
    let good = good();
    let (full, beside) = (good[0].clone(), good[1].clone());
    let of = |base: Value, edges: Vec<(&'static str, Value)>| {
        edges.into_iter().flat_map(move |(path, values)| {
            let base = base.clone();
            let values = values.as_array().unwrap().clone();
            values.into_iter().map(move |value| {
                let document = with(&base, path, Some(value.clone()));
                (path.to_owned(), value, document)
            })
        })
    };
    let daemon = of(full, [names(), source(), kafka(), properties(), delivery(), daemon_set()].concat());
    daemon.chain(of(beside, sidecar()))
}

fn names() -> Vec<(&'static str, Value)> {
    vec![
        (
            "metadata.name",
            json!(["a", "a-1", "1a", "-a", "a-", "a.b", "A", "", "ä", long("a", 43), long("a", 44), null]),
        ),
        ("metadata.labels", json!([{}, {"a": "b"}, {"a": 1}, [], null])),
        ("spec.suspend", json!([true, false, "true", 1, null])),
        ("spec.surprise", json!([1])),
        ("spec", json!([null, {}, []])),
        ("spec.source", json!([null, {}, {"spoolDir": null}, {"spoolDir": {}}])),
        ("spec.sink", json!([null, {}, {"kafka": null}, {"kafka": {"topic": "t"}}])),
        (
            "spec.placement",
            json!([null, {}, {"daemonSet": {}}, {"daemonSet": null}, {"daemonSet": {}, "sidecar": {"volume": "v", "mountPath": "/var"}}]),
        ),
    ]
}

fn spans() -> Value {
    json!([
        "1ms",
        "9ms",
        "10ms",
        "49ms",
        "50ms",
        "99ms",
        "100ms",
        "0100ms",
        "1s",
        "10s",
        "10001ms",
        "60s",
        "1m",
        "61s",
        "60001ms",
        "24h",
        "1440m",
        "1441m",
        "25h",
        "0s",
        "",
        "5",
        "s",
        "5 s",
        "1m30s",
        "1.5s",
        "-1s",
        "1d",
        "1us",
        "99999999h",
        "999999999999999999999h",
        "00000000000000000000000000001s",
        "000000000000000000000000000001s",
        "00000000000000000000000000000001s",
        5,
        null,
    ])
}

fn source() -> Vec<(&'static str, Value)> {
    let texts = |max: usize| {
        json!([
            "",
            "x",
            "é",
            "x\u{0}",
            "x\n",
            "\u{85}",
            "\u{200b}",
            "a/b",
            long("x", max),
            long("x", max + 1),
            long("é", max / 2),
            long("é", max / 2 + 1),
            1,
            null
        ])
    };
    vec![
        (
            "spec.source.spoolDir.path",
            json!([
                "/",
                "//",
                "///",
                "/a",
                "/a/",
                "a",
                "",
                "/a/..",
                "/../a",
                "/a/../b",
                "/a..b",
                "/a/...",
                "..",
                "/a\u{0}",
                "/a\nb",
                long("/a", 2047),
                format!("/{}", "a".repeat(4094)),
                format!("/{}", "a".repeat(4095)),
                format!("/{}", "é".repeat(2047)),
                format!("/{}", "é".repeat(2048)),
                7,
                null,
            ]),
        ),
        (
            "spec.source.spoolDir.includePattern",
            json!(["", ".*", long("a", 1024), long("é", 1024), long("a", 1025), 1]),
        ),
        ("spec.source.spoolDir.ignorePattern", json!(["", "a|b", long("a", 1024), long("a", 1025), null])),
        ("spec.source.spoolDir.recursive", json!([true, "yes"])),
        ("spec.source.spoolDir.consumeOrder", json!(["Oldest", "Random", "oldest", "", 1, null])),
        ("spec.source.spoolDir.fileSuffix", texts(64)),
        ("spec.source.spoolDir.settleTime", spans()),
        ("spec.source.spoolDir.pollDelay", spans()),
        ("spec.source.spoolDir.inputCharset", texts(64)),
        (
            "spec.source.spoolDir.maxLineBytes",
            json!([-1, 0, 1, 1_000_448, 1_000_449, 16_000_000, 16_000_001, 3_000_000_000_i64, "1", 1.5, null]),
        ),
        ("spec.source.spoolDir.maxOpenFiles", json!([-1, 0, 1, 1024, 1025, i64::MAX, i64::MIN, true, null])),
        ("spec.source.spoolDir.headers.file", texts(255)),
        ("spec.source.spoolDir.headers.host", json!(["file", "team", "host", "name", "position"])),
        ("spec.source.spoolDir.headers.position", json!(["file", "team", "host", "name", "position"])),
        ("spec.source.spoolDir.headers.baseName", json!(["file", "team", "host", "name", "position"])),
        (
            "spec.source.spoolDir.headers.static",
            json!([
                {}, {"file": "x"}, {"": "x"}, {"a\n": "x"}, {"a": 1}, {"a": null}, {"x".repeat(255): ""}, {"x".repeat(256): ""}, {"é".repeat(128): ""},
                many(16), many(17), null,
            ]),
        ),
    ]
}

/// A map of so many entries.
fn many(count: usize) -> Value {
    (0..count).map(|n| (format!("k{n}"), json!("v"))).collect::<serde_json::Map<_, _>>().into()
}

fn topics() -> Value {
    json!([
        "t",
        ".",
        "..",
        "...",
        "a/b",
        "a b",
        "ä",
        "",
        "spoolway-shop-checkpoints",
        "spoolway-shop-receipts",
        "spoolway-x-checkpoints",
        "spoolway--receipts",
        "spoolway-receipts",
        "spoolway-a-b-receipts",
        "progress",
        "receipts",
        "web.access",
        long("a", 249),
        long("a", 250),
        1,
        null,
    ])
}

fn kafka() -> Vec<(&'static str, Value)> {
    let servers: Vec<Value> = [
        "k:1",
        "k:0",
        "k:65535",
        "k:65536",
        "k:99999",
        "k:00001",
        "k:+1",
        "k:",
        "k",
        ":1",
        "",
        "k:1:2",
        "K_1.a-b:9",
        "k b:1",
        "SSL://k:1",
        "a:1,b:2",
        "ä:1",
        "[::1]:9",
        "[1::2]:9",
        "::1:9",
        "[::1]",
        "[]:9",
        "[::ffff:1.2.3.4]:9",
        "[::1.2.3.4]:9",
        "[1.2.3.4]:9",
        "[fe80::1%eth0]:9",
        "[::g]:9",
        "[k]:9",
        "1.2.3.4:9",
        "k:1\n",
    ]
    .iter()
    .map(|server| json!([server]))
    .collect();
    let names = json!([
        "a",
        "a.b",
        "a-b",
        "A",
        "a_b",
        "-a",
        "a-",
        ".a",
        "a..b",
        "",
        "../x",
        "a/b",
        long("a", 253),
        long("a", 254),
        1,
        null
    ]);
    let keys = json!(["a", "a.b", ".a", "..a", ".", "..", "a/b", "A_-", "", long("a", 253), long("a", 254), null]);
    vec![
        ("spec.sink.kafka.bootstrapServers", servers.into()),
        (
            "spec.sink.kafka.bootstrapServers",
            json!([
                [],
                ["a:1", "a:2"],
                ["a:1", "A:1"],
                ["a:1", "b:1", "a:1"],
                [null],
                [1],
                "k:1",
                null,
                [format!("{}:65535", "a".repeat(253))],
                [format!("{}:1", "a".repeat(254))],
                (0..64).map(|n| format!("k{n}:1")).collect::<Vec<_>>(),
                (0..65).map(|n| format!("k{n}:1")).collect::<Vec<_>>(),
            ]),
        ),
        ("spec.sink.kafka.topic", topics()),
        ("spec.sink.kafka.partition", json!([0, 1])),
        ("spec.sink.kafka.partitioner", json!(["File", "Key", "RoundRobin", "None"])),
        (
            "spec.sink.kafka.key",
            json!([null, {}, {"baseName": {}}, {"baseName": {}, "constant": "a"}, {"baseName": {"a": 1}}, {"constant": ""}, {"constant": "\n"}, {"constant": "x".repeat(1024)}, {"constant": "x".repeat(1025)}, {"constant": "é".repeat(513)}]),
        ),
        ("spec.sink.kafka.acks", json!(["All", "Leader", "None", "all", 1, null])),
        (
            "spec.sink.kafka.tls",
            json!([{}, null, {"caSecret": {}}, {"caSecret": {"name": "a"}}, {"clientCertificateSecret": {"name": "a", "key": "b"}}]),
        ),
        ("spec.sink.kafka.tls.caSecret.name", names.clone()),
        ("spec.sink.kafka.tls.clientCertificateSecret.name", names.clone()),
        ("spec.sink.kafka.tls.caSecret.key", keys.clone()),
        (
            "spec.sink.kafka.sasl.username",
            json!(["", "a b", "a\n", long("x", 255), long("x", 256), long("é", 128), null]),
        ),
        ("spec.sink.kafka.sasl.mechanism", json!(["Plain", "scram-sha-512", null])),
        ("spec.sink.kafka.sasl.passwordSecret.name", names),
        ("spec.sink.kafka.sasl.passwordSecret.key", keys),
    ]
}

fn properties() -> Vec<(&'static str, Value)> {
    vec![
        ("spec.sink.kafka.properties", json!([{}, null, [], {"acks": "1"}, {"made.up": "x"}, many(33)])),
        (
            "spec.sink.kafka.properties.linger:ms",
            json!([
                "0",
                "5000",
                "5001",
                "-1",
                "-0",
                "+5",
                "05",
                " 5",
                "",
                "fast",
                "1e3",
                "99999999999999999",
                "999999999999999999999",
                5,
                null
            ]),
        ),
        ("spec.sink.kafka.properties.batch:num:messages", json!(["0", "1", "1000000", "1000001"])),
        ("spec.sink.kafka.properties.batch:size", json!(["0", "16000001"])),
        ("spec.sink.kafka.properties.broker:address:family", json!(["any", "v4", "ipv4", ""])),
        (
            "spec.sink.kafka.properties.client:dns:lookup",
            json!(["resolve_canonical_bootstrap_servers_only", "default"]),
        ),
        (
            "spec.sink.kafka.properties.client:id",
            json!(["", "a", "a\tb", long("x", 255), long("x", 256), long("é", 128)]),
        ),
        ("spec.sink.kafka.properties.compression:level", json!(["-2", "-1", "12", "13"])),
        ("spec.sink.kafka.properties.metadata:max:age:ms", json!(["999", "86400000", "86400001"])),
        (
            "spec.sink.kafka.properties.queue:buffering:max:kbytes",
            json!(["1023", "1024", "1953", "1954", "32768", "32769", "x"]),
        ),
        ("spec.sink.kafka.properties.reconnect:backoff:max:ms", json!(["-1", "600000", "600001"])),
        ("spec.sink.kafka.properties.reconnect:backoff:ms", json!(["-1", "600000", "600001"])),
        ("spec.sink.kafka.properties.socket:receive:buffer:bytes", json!(["-1", "100000000", "100000001"])),
        ("spec.sink.kafka.properties.socket:send:buffer:bytes", json!(["-1", "100000000", "100000001"])),
        ("spec.sink.kafka.properties.topic:metadata:refresh:interval:ms", json!(["-2", "3600000", "3600001"])),
    ]
}

fn delivery() -> Vec<(&'static str, Value)> {
    vec![
        ("spec.delivery.guarantee", json!(["ExactlyOnce", "AtLeastOnce", "BestEffort", "exactlyOnce"])),
        ("spec.delivery.commitInterval", spans()),
        (
            "spec.delivery.maxTransactionBytes",
            json!([
                "1023",
                "1024",
                "1Ki",
                "1k",
                "2k",
                "01Ki",
                "1Gi",
                "1024Mi",
                "1025Mi",
                "1G",
                "2G",
                "1073741824",
                "1073741825",
                "0",
                "",
                "Mi",
                "64 Mi",
                "64mi",
                "64MB",
                "-1",
                "+1",
                "1.5Gi",
                "1e3",
                "1Ti",
                "99999999999Gi",
                "99999999999999999999999",
                "00000000000000000000000000001024",
                "000000000000000000000000000001024",
                64,
                null,
            ]),
        ),
        ("spec.delivery.checkpointTopic", topics()),
        ("spec.delivery.receiptTopic", topics()),
    ]
}

fn daemon_set() -> Vec<(&'static str, Value)> {
    let amounts = json!([
        {"cpu": 0}, {"cpu": -1}, {"cpu": 1.5}, {"cpu": "1.5"}, {"cpu": "1."}, {"cpu": ".5"}, {"cpu": "."}, {"cpu": "1.2.3"}, {"cpu": ""}, {"cpu": "m"}, {"cpu": "500m"}, {"cpu": "1e3"},
        {"cpu": "-1"}, {"cpu": "1Ti"}, {"cpu": "1Pi"}, {"cpu": "1K"}, {"cpu": "1 Gi"}, {"cpu": null}, {"cpu": true}, {"gpu": 1}, {"memory": "1Ki", "ephemeral-storage": "1T"}, many(4), {}, null,
    ]);
    let ids = json!([-1, 0, 2147483647, 2147483648_i64, "0", null]);
    vec![
        (
            "spec.placement.daemonSet.maxUnavailable",
            json!([
                0,
                1,
                2147483647,
                2147483648_i64,
                -1,
                10.5,
                "1%",
                "0%",
                "100%",
                "101%",
                "001%",
                "0100%",
                "1",
                "%",
                "",
                "+1%",
                " 1%",
                "1%%",
                true,
                null
            ]),
        ),
        (
            "spec.placement.daemonSet.priorityClassName",
            json!(["a", "a.b", "A_b", "", "a..b", long("a", 253), long("a", 254)]),
        ),
        ("spec.placement.daemonSet.runAsUser", ids.clone()),
        ("spec.placement.daemonSet.runAsGroup", ids),
        ("spec.placement.daemonSet.nodeSelector", json!([{}, {"a": "b"}, {"a": 1}, {"a": null}])),
        (
            "spec.placement.daemonSet.tolerations",
            json!([
                [], [{}], [null], [{"operator": "Exists", "value": "x"}], [{"operator": "exists"}], [{"effect": "NoRun"}], [{"effect": "NoSchedule"}, {"effect": "PreferNoSchedule"}],
                [{"operator": null}], [{"tolerationSeconds": "5"}], [{"colour": "red"}], vec![json!({}); 64], vec![json!({}); 65],
            ]),
        ),
        ("spec.placement.daemonSet.resources.requests", amounts.clone()),
        ("spec.placement.daemonSet.resources.limits", amounts),
    ]
}

fn sidecar() -> Vec<(&'static str, Value)> {
    vec![
        ("spec.source.spoolDir.path", json!(["/logs", "/logs/", "/logs/a", "/logsx", "/log", "/", "/a"])),
        (
            "spec.placement.sidecar.mountPath",
            json!([
                "/logs",
                "/logs/",
                "/logs//",
                "/logs/web",
                "/logs/web/",
                "/logs/web/x",
                "/",
                "//",
                "/log",
                "logs",
                "/logs/..",
                "",
                null
            ]),
        ),
        ("spec.placement.sidecar.volume", json!(["a", "A", "a.b", "", long("a", 63), long("a", 64), null])),
        ("spec.placement.sidecar.runAsUser", json!([-1, 0, 2147483648_i64])),
        ("spec.placement.sidecar.onMissingVolume", json!(["EmptyDir", "None"])),
        ("spec.placement.sidecar.resources.limits", json!([{"cpu": "x"}, {"gpu": 1}])),
        ("spec.placement.sidecar.resources.requests", json!([{"cpu": "x"}, {"gpu": 1}])),
        ("spec.sink.kafka.partition", json!([-1, 0, 2147483647, 2147483648_i64, 3000000000_i64, "0", null])),
        ("spec.sink.kafka.partitioner", json!(["File", "Key", "RoundRobin"])),
        ("spec.sink.kafka.acks", json!(["None", "All"])),
        ("spec.delivery.guarantee", json!(["ExactlyOnce", "AtLeastOnce", null])),
    ]
}

#[test]
fn at_every_bound_the_rules_and_validate_say_the_same() {
    let (mut page, mut wrong, mut last) = (String::new(), String::new(), String::new());
    for (path, value, document) in documents() {
        let (ours, theirs) = both(&document);
        let verdict = |problems: &[_]| if problems.is_empty() { "ok" } else { "no" };
        if ours.is_empty() != theirs.is_empty() {
            writeln!(wrong, "{path} = {value}\n  validate {ours:?}\n  api      {theirs:?}").unwrap();
        }
        if path != last {
            writeln!(page, "{path}").unwrap();
            last = path;
        }
        let text: String = value.to_string().chars().take(60).collect();
        writeln!(page, "  {} {text}", verdict(&ours)).unwrap();
    }
    assert!(wrong.is_empty(), "{wrong}");
    insta::assert_snapshot!(page);
}
