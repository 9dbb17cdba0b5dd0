//! The storm: the agent killed again and again, between two steps and at random moments, and the broker too, over gigabytes.
//!
//! One code for `make test` (20 kills over a gigabyte), `make storm` (200 over two) and `make soak` (storm after storm).
//! `SEED` replays the schedule, though not what the machine did between the kills.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use fastrand::Rng;
use spoolway::agent::faults::Point;

use super::agent::Agent;
use super::check::{Seen, Written, committed, exactly, receipts};
use super::job::{Job, Plan};
use super::{bed, corpus, failpoints, seed, until};

/// Files of some lines that come with every kill.
const SMALL: usize = 15;
const RECOUNT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/recount.sh");

/// A number from the environment.
fn number(name: &str, usual: u32) -> u32 {
    std::env::var(name).map_or(usual, |text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// One kill.
#[derive(Debug, Clone, Copy)]
enum Strike {
    /// At a point in the code, the so many-th time, so many milliseconds later.
    At(Point, u32, u32),
    /// So many milliseconds after the start.
    Moment(u64),
    /// So many milliseconds after it is ready the broker is killed, and then the agent.
    Broker(u64),
}

/// What was killed where; the same for every machine.
fn schedule(rng: &mut Rng, kills: usize) -> Vec<Strike> {
    let mut points: Vec<_> = Point::ALL.to_vec();
    points.retain(|point| !matches!(point, Point::BeforeDelete | Point::AfterDelete));
    rng.shuffle(&mut points);
    let mut points = points.iter().cycle();
    let mut strikes: Vec<_> = (0..kills)
        .map(|kill| match kill % 20 {
            10 => Strike::Broker(rng.u64(0..1000)),
            n if n % 5 < 3 => at(rng, *points.next().unwrap()),
            // While it opens, or while it ships.
            _ => Strike::Moment(if rng.bool() { rng.u64(0..400) } else { rng.u64(400..2000) }),
        })
        .collect();
    rng.shuffle(&mut strikes);
    strikes
}

fn at(rng: &mut Rng, point: Point) -> Strike {
    let most = match point {
        // Once a start, or once where there is little to do.
        Point::AfterInit | Point::AfterProgressRead | Point::AfterList | Point::BeforeSync | Point::AfterSync => 1,
        Point::AfterBegin | Point::BeforeFlush | Point::AfterFlush | Point::BeforeCommit | Point::AfterCommit => 16,
        // A chunk is up to a mebibyte.
        Point::BeforeRead | Point::AfterRead | Point::AfterAppend => 60,
        _ => 12,
    };
    let time = if rng.bool() { 1 } else { rng.u32(1..=most) };
    // In a quarter of them somewhere in the step that follows.
    let after = if rng.u8(0..4) == 0 { rng.u32(1..20) } else { 0 };
    Strike::At(point, time, after)
}

/// Runs an agent until it is killed as planned; where that was.
fn strike(job: &Job, strike: Strike, files: usize) -> &'static str {
    match strike {
        Strike::At(point, time, after) => {
            let faults = format!("{}=kill@{time}+{after}", point.name());
            let faulty = failpoints::with(&faults).unwrap();
            let mut agent = Agent::start_by(faulty, &job.manifest, &["--http", "127.0.0.1:0"]);
            let mut looks = 0;
            let by_itself = until(&faults, Duration::from_secs(180), || {
                looks += 1;
                let at_rest = looks % 25 == 0 && job.completed() == files;
                (!agent.is_running() || at_rest).then_some(!at_rest)
            });
            if !by_itself {
                agent.kill();
                return "at rest: it did not come by";
            }
            let ended = agent.ended(Duration::from_secs(1));
            assert_eq!(ended.code, None, "{faults}: ended, but not by a signal: {ended:?}");
            point.name()
        }
        Strike::Moment(after) => {
            let agent = job.start();
            std::thread::sleep(Duration::from_millis(after));
            agent.kill();
            "at a random moment"
        }
        Strike::Broker(after) => {
            let agent = job.start();
            agent.reports("it is open", Duration::from_secs(60), |report| report.flowing);
            std::thread::sleep(Duration::from_millis(after));
            job.bed.kill();
            std::thread::sleep(Duration::from_millis(500)); // the agent runs into it
            agent.kill();
            job.bed.restart();
            "at a random moment, after the broker"
        }
    }
}

/// What is renamed is committed.
fn every_renamed_file_has_its_receipt(job: &Job) {
    let names = job.names();
    let renamed: Vec<_> = names.iter().filter_map(|name| name.strip_suffix(b".COMPLETED")).collect();
    // Kafka answers a commit before its marker is on every topic: they may come a moment later.
    until("every renamed file has its receipt", Duration::from_secs(60), || {
        let receipts: std::collections::HashSet<_> = receipts(job).into_iter().collect();
        renamed.iter().all(|name| receipts.contains(*name)).then_some(())
    });
}

#[test]
fn nothing_is_lost_and_nothing_is_twice_however_often_agent_and_broker_are_killed() {
    let Some(bed) = bed::mortal() else { return };
    if failpoints::with("").is_none() {
        return;
    }
    let (kills, gigabytes) = (number("SPOOLWAY_STORM_KILLS", 20), number("SPOOLWAY_STORM_GIGABYTES", 1));
    let seed = seed();
    let mut rng = Rng::with_seed(seed);
    let plan = Plan {
        partitions: 3,
        // At random, or the small files would wait for all of the large ones, and with them every rename.
        source: "settleTime: 100ms, pollDelay: 20ms, maxOpenFiles: 3, consumeOrder: Random",
        delivery: "commitInterval: 100ms, maxTransactionBytes: 3Mi",
        ..Plan::default()
    };
    let mut large = corpus::gigabytes(gigabytes);
    rng.shuffle(&mut large);
    let job = Job::new(bed.as_ref().unwrap(), "storm", &plan);
    let begin = Instant::now();
    let (written, landed) = rage(&job, seed, &mut rng, kills as usize, large);
    let committed_by_killed = committed(&job);
    let agent = job.start();
    let all = written.len();
    until("the last agent ships the rest", Duration::from_secs(600), || (job.completed() == all).then_some(()));
    agent.reports("it is ready", Duration::from_secs(60), |report| report.flowing);
    drop(agent);
    let took = begin.elapsed();
    let (seen, counts) = prove(&job, &written);
    let storm = Storm { seed, kills, gigabytes, files: all, landed, committed_by_killed, seen, counts, took };
    eprintln!("\n{}", storm.table(begin.elapsed()));
    let (seen, landed) = (storm.seen, storm.landed);
    assert!(seen.records > 5_000_000 * u64::from(gigabytes) && seen.segments > 100, "{seen:?}");
    let at_points: u32 = Point::ALL.iter().filter_map(|point| landed.get(point.name())).sum();
    assert!(at_points > kills / 5, "few kills landed where they should: {landed:?}");
}

/// All kills; what was written meanwhile, and how many of the kills were where.
fn rage(
    job: &Job,
    seed: u64,
    rng: &mut Rng,
    kills: usize,
    mut large: Vec<PathBuf>,
) -> (Vec<Written>, BTreeMap<&'static str, u32>) {
    let (begin, many) = (Instant::now(), large.len());
    let (mut written, mut landed) = (vec![], BTreeMap::new());
    for (kill, planned) in schedule(rng, kills).into_iter().enumerate() {
        // Something new for every one, so that there is work to the end: now and then a large file, and a swarm of small ones.
        while many - large.len() <= many * kill / kills
            && let Some(file) = large.pop()
        {
            written.push(job.link(&file));
        }
        for small in 0..SMALL {
            let (name, lines) = (format!("small-{kill:03}-{small:02}.log"), rng.usize(0..60));
            // Numbers that no other file has: no line is twice in all of the input.
            let number = 1000 + (kill * SMALL + small) as u32;
            written.push(job.put(name.as_bytes(), &corpus::lines(seed, number, lines)));
        }
        let place = strike(job, planned, written.len());
        eprintln!("{:>5.0} s  {:>3}  {planned:?}: {place}", begin.elapsed().as_secs_f64(), kill + 1);
        *landed.entry(place).or_default() += 1;
        if kill % (kills / 4).max(1) == 4 {
            every_renamed_file_has_its_receipt(job);
        }
    }
    (written, landed)
}

/// By our own judge, by tools that know nothing of us, and by `spoolway verify`; what the tools count.
fn prove(job: &Job, written: &[Written]) -> (Seen, Counts) {
    let seen = exactly(job, written);
    let counts = recount(job).unwrap_or_else(|said| panic!("{said}"));
    let verified = job.ask(&["verify"], &[]);
    assert_eq!(verified.code, Some(0), "{}{}", verified.out, verified.err);
    eprintln!("\n{}", verified.out);
    (seen, counts)
}

type Counts = BTreeMap<String, u64>;

/// Held against the spool directory by tools that know nothing of us; what they say where it differs.
fn recount(job: &Job) -> Result<Counts, String> {
    let mut recount = Command::new(RECOUNT);
    recount.arg(&job.topic).arg(&job.spool).env("KAFKA_BED", &job.bed.home).env("TMPDIR", job.home());
    let out = recount.output().unwrap();
    let said = String::from_utf8(out.stdout).unwrap();
    if !out.status.success() {
        return Err(said + &String::from_utf8_lossy(&out.stderr));
    }
    let counts = said.lines().map(|line| {
        let (what, count) = line.split_once(": ").unwrap();
        (what.to_owned(), count.parse().unwrap())
    });
    Ok(counts.collect())
}

#[test]
fn the_recount_sees_a_line_that_is_missing_and_one_that_is_twice() {
    let Some(bed) = bed::shared() else { return };
    let job = Job::new(bed, "recount", &Plan { partitions: 2, ..Plan::default() });
    job.put(b"a.log", b"one\ntwo\ntwo\n");
    job.put(b"b.log", b"three\n");
    assert_eq!(job.once().code, Some(0));
    let counts = recount(&job).unwrap();
    assert_eq!((counts["lines in the files"], counts["lines in the topic"]), (4, 4));
    // As if the topic had a line twice that is in the file once, and not one that is.
    std::fs::write(job.path(b"a.log.COMPLETED"), b"one\ntwo\nfour\n").unwrap();
    let said = recount(&job).unwrap_err();
    assert!(said.contains("missing in the topic: 1\ntoo many in the topic: 1\n"), "{said}");
    assert!(said.ends_with("four\n\ttwo\n"), "{said}");
}

/// What there was, for `docs/exactly-once.md`.
struct Storm {
    seed: u64,
    kills: u32,
    gigabytes: u32,
    files: usize,
    landed: BTreeMap<&'static str, u32>,
    committed_by_killed: u64,
    seen: Seen,
    counts: Counts,
    took: Duration,
}

impl Storm {
    fn table(&self, with_checks: Duration) -> String {
        let today = jiff::Timestamp::now().strftime("%Y-%m-%d");
        let cores = std::thread::available_parallelism().unwrap();
        let Storm { seed, kills, gigabytes, files, landed, committed_by_killed, seen, took, .. } = self;
        let of = |what: &str| self.counts.get(what).unwrap_or_else(|| panic!("no {what} in {:?}", self.counts));
        let rows = landed.iter().map(|(place, count)| format!("| {place} | {count} |\n")).collect::<String>();
        format!(
            "{today}, {cores} cores: SEED={seed} SPOOLWAY_STORM_KILLS={kills} SPOOLWAY_STORM_GIGABYTES={gigabytes}

| | |
|---|---|
| kills | {kills} |
| files | {files} |
| lines in them | {} |
| bytes in them | {} |
| of these committed by agents that were killed | {committed_by_killed} |
| lines in the topic | {} |
| missing | {} |
| too many | {} |
| segments | {} |
| runs in them whose offsets librdkafka could not tell | {} |
| time for the kills, and with the checks | {} s, {} s |

| killed | times |
|---|---|
{rows}",
            of("lines in the files"),
            of("bytes in the files"),
            of("lines in the topic"),
            of("missing in the topic"),
            of("too many in the topic"),
            seen.segments,
            seen.untold,
            took.as_secs(),
            with_checks.as_secs(),
        )
    }
}
