//! Topics that a file was begun on, and that are others or gone by now.

use spoolway::agent::channel::file::Reason;
use spoolway::agent::channel::partitioner::Rule;
use spoolway::agent::channel::progress::Progress;
use spoolway::agent::channel::{Channel, Settings, Step};
use spoolway::pipeline::Partitioner;

use super::scene::{SECOND, Scene, settings, waits};

#[test]
fn a_generation_on_another_topic_gets_a_partition_of_that_topic() {
    let mut scene = Scene::new(settings(false));
    scene.put(1, "a.log", 1, b"one\n");
    scene.until(waits);
    let old = Progress { partition: 49, topic: "old".into(), ..scene.progress() };
    scene.channel.resume(vec![old], 3, scene.now);
    scene.put(1, "a.log", 1, b"two!\n");
    scene.until(|step| matches!(step, Step::Complete(_)));
    let new = scene.progress();
    assert_eq!((new.topic.as_str(), new.generation), ("test", 2));
    assert!(new.partition < 3, "partition {} does not exist", new.partition);
}

#[test]
fn a_generation_of_which_nothing_is_shipped_goes_where_the_pipeline_sends_by_now() {
    let mut scene = Scene::new(settings(false));
    scene.put(1, "a.log", 1, b"one\n");
    scene.until(waits);
    scene.put(1, "a.log", 1, b"");
    scene.until(|step| matches!(step, Step::Commit));
    scene.until(waits);
    let new = scene.progress();
    assert_eq!((new.generation, new.position), (2, 0));
    let old = Progress { partition: 49, topic: "old".into(), ..new };
    scene.channel.resume(vec![old], 3, scene.now);
    scene.put(1, "a.log", 1, b"two\n");
    scene.until(|step| matches!(step, Step::Complete(_)));
    let new = scene.progress();
    assert_eq!((new.topic.as_str(), new.generation, scene.lines.join(" ").as_str()), ("test", 2, "one two"));
    assert!(new.partition < 3, "partition {} does not exist", new.partition);
}

#[test]
fn a_file_begun_before_a_change_finishes_on_its_topic_and_partition_and_new_files_see_the_change() {
    let robin = |topic: &str| Settings {
        topic: topic.into(),
        partitions: Rule { partitioner: Some(Partitioner::RoundRobin), ..Rule::default() },
        ..settings(false)
    };
    let mut scene = Scene::new(robin("old"));
    scene.put(1, "a.log", 1, b"one\ntwo\n");
    scene.until(|step| matches!(step, Step::Wait(_)));
    let begun: Vec<Progress> = scene.committed.iter().map(|closing| closing.progress.clone()).collect();
    let (partition, before) = (begun[0].partition, scene.sent.clone());
    assert_eq!(before, [("old".into(), partition, 3)]);
    // As the agent does it: the loop ends, takes other settings, and goes through the opening order.
    scene.channel.stop();
    assert_eq!(scene.until(|step| matches!(step, Step::Done)), Step::Done);
    scene.channel.set_all(robin("new"));
    scene.channel.resume(begun, 50, scene.now);
    scene.put(1, "a.log", 1, b"one\ntwo\nthree\n");
    scene.put(2, "b.log", 2, b"four\n");
    scene.until(|step| matches!(step, Step::Wait(_)));
    assert_eq!(scene.lines, ["one", "two", "three", "four"]);
    assert_eq!(
        scene.sent[1],
        ("old".into(), partition, 1),
        "of the old topic, only its own partition is known to exist"
    );
    assert_eq!((scene.sent[2].0.as_str(), scene.sent[2].2), ("new", 50));
}

#[test]
fn a_file_whose_partition_is_gone_is_set_aside_alone_until_it_is_there_again() {
    let mut scene = Scene::new(Settings { settle: 100 * SECOND, ..settings(false) });
    scene.put(1, "a.log", 1, b"one\n");
    scene.until(waits);
    let begun = Progress { partition: 2, ..scene.progress() };
    let anew = |scene: &mut Scene, partitions| {
        scene.channel = Channel::new(Settings { settle: 100 * SECOND, ..settings(false) }, 8);
        scene.channel.resume(vec![begun.clone()], partitions, scene.now);
        scene.until(waits);
        let asides = scene.channel.snapshot().asides;
        asides.into_iter().map(|aside| (aside.name.to_string(), aside.reason, aside.note)).collect::<Vec<_>>()
    };
    scene.put(1, "a.log", 1, b"one\ntwo\n");
    scene.put(2, "b.log", 2, b"three\n");
    let note = "it was begun on partition 2 of topic test, which is gone";
    assert_eq!(anew(&mut scene, 2), [("a.log".to_owned(), Reason::TopicGone, note.to_owned())]);
    assert_eq!(scene.lines, ["one", "three"]);
    assert_eq!(anew(&mut scene, 3), []);
    assert_eq!(
        scene.lines,
        ["one", "three", "two", "three"],
        "of what was shipped last this agent was told nothing"
    );
}

#[test]
fn a_file_that_kafka_refuses_is_set_aside_for_the_reason_that_was_given() {
    let mut scene = Scene::new(settings(false));
    scene.put(1, "a.log", 1, b"one\n");
    scene.until(|step| matches!(step, Step::Commit));
    scene.channel.refused(0, Reason::TopicGone, "the topic is gone", scene.now);
    scene.channel.resume(vec![], 3, scene.now);
    scene.until(waits);
    let asides = scene.channel.snapshot().asides;
    assert_eq!((asides[0].reason, asides[0].note.as_str()), (Reason::TopicGone, "the topic is gone"));
}
