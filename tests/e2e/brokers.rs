//! Three brokers, each partition on all of them: leaders move, one is killed, the one that coordinates the transaction is killed at its
//! commit, all are. The agent stays.

use std::time::{Duration, Instant};

use super::feed::Feed;
use super::job::{Job, Plan};
use super::network::{LATE, PACE, PLAN, caught, goes_on};
use super::proxy::{END_TXN, Loss};
use super::{bed, until};

#[test]
fn leaders_move_while_files_flow() {
    let Some(bed) = bed::three() else { return };
    let bed = bed.as_ref().unwrap();
    let job = Job::new(bed, "leaders", &Plan { partitions: 1, ..PLAN });
    let feed = Feed::start(&job, 11, PACE);
    let agent = job.start();
    for _ in 0..2 {
        goes_on(&agent);
        let leader = until("it has a leader", LATE, || bed.leader(&job.topic, 0));
        bed.lead(&job.topic, 0, leader % 3 + 1);
    }
    goes_on(&agent);
    feed.ends_exactly(&job, &agent);
}

#[test]
fn the_broker_that_leads_is_killed_and_the_other_two_carry_on() {
    let Some(bed) = bed::three() else { return };
    let bed = bed.as_ref().unwrap();
    let job = Job::new(bed, "oneofthree", &Plan { partitions: 1, ..PLAN });
    let feed = Feed::start(&job, 12, PACE);
    let agent = job.start();
    goes_on(&agent);
    let leader = until("it has a leader", LATE, || bed.leader(&job.topic, 0));
    bed.kill_node(leader);
    goes_on(&agent);
    assert!(bed.leader(&job.topic, 0).is_none_or(|now| now != leader), "while it is dead");
    bed.start_all();
    bed.in_sync();
    goes_on(&agent);
    feed.ends_exactly(&job, &agent);
}

#[test]
fn the_coordinators_broker_is_killed_just_before_and_just_after_it_gets_a_commit() {
    let Some(bed) = bed::three() else { return };
    let bed = bed.as_ref().unwrap();
    let link = bed.link();
    let job = Job::new(bed, "coordinator", &PLAN).by(&link);
    let feed = Feed::start(&job, 13, PACE);
    let agent = job.start();
    for loss in [Loss::Request, Loss::Answer] {
        goes_on(&agent);
        // Whom the commit is sent to is the coordinator.
        let node = caught(&link, END_TXN, loss) as i32 + 1;
        bed.kill_node(node);
        goes_on(&agent);
        bed.start_all();
        bed.in_sync();
    }
    feed.ends_exactly(&job, &agent);
}

#[test]
fn all_brokers_are_killed_for_longer_than_a_transaction_may_take() {
    let Some(bed) = bed::three() else { return };
    let bed = bed.as_ref().unwrap();
    let job = Job::new(bed, "allthree", &PLAN);
    let feed = Feed::start(&job, 14, PACE);
    let agent = job.start();
    goes_on(&agent);
    (1..=3).for_each(|node| bed.kill_node(node));
    let away = Instant::now();
    until("/readyz is 503", Duration::from_secs(60), || (agent.get("/readyz").0 == 503).then_some(()));
    // A transaction may take 20 s.
    std::thread::sleep(Duration::from_secs(25).saturating_sub(away.elapsed()));
    assert_eq!((agent.get("/readyz").0, agent.get("/healthz").0), (503, 200));
    bed.start_all();
    bed.in_sync();
    goes_on(&agent);
    feed.ends_exactly(&job, &agent);
}
