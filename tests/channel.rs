//! Scenarios of the channel alone, one sentence each: what went wrong once, found by the simulation or by reading.
//!
//! The channel is pure, so a directory is a few byte strings and time is a number.

mod scene;
mod topics;

use std::time::Duration;

use spoolway::agent::channel::charset::Charset;
use spoolway::agent::channel::digest::{FileId, Mark};
use spoolway::agent::channel::file::{Entry, Reason};
use spoolway::agent::channel::name::Name;
use spoolway::agent::channel::progress::Progress;
use spoolway::agent::channel::splitter::Rules;
use spoolway::agent::channel::{Channel, Completed, Settings, Step};
use spoolway::pipeline::{ConsumeOrder, DecodeErrorPolicy};

use scene::{SECOND, Scene, settings, waits};

#[test]
fn a_file_that_ends_with_its_line_ends_without_an_empty_record() {
    let mut scene = Scene::new(settings(false));
    scene.put(1, "a.log", 1, b"one\ntwo\n");
    scene.until(|step| matches!(step, Step::Complete(_)));
    assert_eq!(scene.lines, ["one", "two"]);
}

#[test]
fn a_file_replaced_by_one_with_its_inode_and_its_beginning_ships_from_the_first_byte() {
    let mut scene = Scene::new(settings(false));
    scene.put(1, "a.log", 1, b"one\ntwo\n");
    scene.until(waits);
    scene.put(1, "b.log", 2, b"one\ntwo\nthree\n");
    scene.until(|step| matches!(step, Step::Complete(_)));
    assert_eq!(scene.lines, ["one", "two", "one", "two", "three"]);
    assert_eq!(scene.progress().birth, Some(2), "or a restart would ship it once more");
}

#[test]
fn a_completion_carries_all_that_a_file_is_known_by() {
    let mut scene = Scene::new(settings(false));
    scene.put(1, "a.log", 5, b"one\ntwo\n");
    let Step::Complete(batch) = scene.until(|step| matches!(step, Step::Complete(_))) else { unreachable!() };
    assert_eq!((batch[0].birth, batch[0].size), (Some(5), 8));
    assert_eq!((batch[0].head, batch[0].tail), (Mark::of(b"one\ntwo\n"), Mark::of(b"one\ntwo\n")));
}

#[test]
fn files_that_vanish_while_many_wait_do_not_upset_their_order() {
    let mut scene = Scene::new(Settings { max_open: 1, ..settings(false) });
    for inode in 1..400 {
        scene.put(inode, "a.log", 1, b"one\n");
    }
    let Step::Read(read) = scene.until(|step| matches!(step, Step::Read(_))) else { unreachable!() };
    scene.read(&read);
    scene.files.retain(|inode, _| *inode != read.inode && inode % 3 == 0);
    scene.channel.listed(scene.entries(), scene.now, scene.now);
    for inode in 400..500 {
        scene.put(inode, "b.log", 1, b"one\n");
    }
    scene.channel.listed(scene.entries(), scene.now, scene.now);
    scene.until(waits);
    assert_eq!(scene.lines.len(), 1 + scene.files.len(), "the first was read before it vanished");
}

#[test]
fn once_looks_again_when_a_file_was_renamed_between_listing_and_reading() {
    let mut scene = Scene::new(settings(true));
    scene.put(1, "a.log", 1, b"one\n");
    scene.until(|step| matches!(step, Step::List { .. }));
    scene.channel.listed(scene.entries(), scene.now, scene.now);
    scene.put(1, "b.log", 1, b"one\n");
    scene.until(|step| matches!(step, Step::Done));
    assert_eq!((scene.lines.len(), scene.completed.len()), (1, 1));
}

#[test]
fn once_ends_although_a_file_grows_faster_than_it_is_read() {
    let mut scene = Scene::new(Settings { max_transaction_bytes: 4, ..settings(true) });
    scene.put(1, "a.log", 1, b"one\ntwo\n");
    for n in 0..200 {
        let step = scene.until(|step| matches!(step, Step::Read(_) | Step::Done));
        let Step::Read(read) = step else {
            assert_eq!(scene.channel.snapshot().growing, [Name::new(b"a.log")]);
            assert!(n > 1 && scene.lines.len() >= 2, "{:?}", scene.lines);
            return;
        };
        // A chunk is read, ten lines are written.
        scene.files.get_mut(&1).unwrap().2.extend_from_slice(b"x\n".repeat(10).as_slice());
        scene.read(&read);
    }
    panic!("it reads on for ever: {} lines", scene.lines.len());
}

#[test]
fn once_completes_the_second_name_of_a_file_too() {
    let mut scene = Scene::new(settings(true));
    scene.put(1, "a.log", 1, b"one\n");
    let both = |scene: &Scene| {
        let other = Entry { name: Name::new(b"b.log"), ..scene.entries()[0].clone() };
        vec![scene.entries()[0].clone(), other]
    };
    scene.until(|step| matches!(step, Step::List { .. }));
    let entries = both(&scene);
    scene.channel.listed(entries.clone(), scene.now, scene.now);
    scene.until(|step| matches!(step, Step::Complete(_)));
    let renamed = Completed::Renamed(Name::new(b"a.log.COMPLETED"));
    scene.channel.completed(vec![(1, renamed)], scene.now);
    scene.until(|step| matches!(step, Step::List { .. } | Step::Done));
    scene.channel.listed(entries[1..].to_vec(), scene.now, scene.now);
    let step = scene.until(|step| matches!(step, Step::Complete(_) | Step::Done));
    let Step::Complete(batch) = step else { panic!("it is done with a name left") };
    assert_eq!(batch[0].name, Name::new(b"b.log"));
    assert_eq!(scene.lines, ["one"]);
}

#[test]
fn what_follows_a_long_line_that_was_cut_by_the_end_is_a_line_of_its_own() {
    let mut scene = Scene::new(settings(false));
    scene.put(1, "a.log", 1, b"0123456789abcdef");
    scene.until(|step| matches!(step, Step::Complete(_)));
    assert_eq!(scene.progress().line_state, Default::default());
    scene.channel.completed(vec![(1, Completed::Resized)], scene.now);
    scene.put(1, "a.log", 1, b"0123456789abcdefrest\n");
    scene.until(|step| matches!(step, Step::Complete(_)));
    assert_eq!(scene.lines, ["01234567", "rest"]);
}

/// A file that is completed, and has grown by two lines since; each is a transaction.
fn grown() -> Scene {
    let mut scene = Scene::new(Settings { max_transaction_bytes: 4, ..settings(false) });
    scene.put(1, "a.log", 1, b"one\n");
    scene.later(20 * SECOND);
    scene.put(1, "a.log.COMPLETED", 1, b"one\ntwo\nsix\n");
    scene
}

#[test]
fn what_a_completed_file_grew_by_is_shipped_whole_wherever_an_agent_is_killed() {
    for (once, lines) in [(false, 1), (false, 2), (true, 1), (true, 2)] {
        let mut scene = grown();
        let commits = scene.committed.len() + lines;
        while scene.committed.len() < commits {
            scene.until(|step| matches!(step, Step::Commit));
            scene.committed.extend(scene.channel.closing(vec![]).0);
            scene.channel.committed(scene.now);
        }
        let progress = scene.progress();
        assert_eq!(
            (progress.position, progress.finished),
            (4 + 4 * lines as u64, false),
            "it is killed in the middle"
        );
        scene.channel = Channel::new(settings(once), 8);
        scene.channel.resume(vec![progress.clone()], 3, scene.now);
        if once {
            // Kafka is opened anew, when the names and sizes are taken.
            scene.until(|step| matches!(step, Step::Read(_)));
            scene.channel.resume(vec![progress], 3, scene.now);
        }
        scene.until(|step| matches!(step, Step::Complete(_)));
        assert_eq!(scene.lines, ["one", "two", "six"], "once: {once}");
        assert!(scene.progress().finished, "there is a receipt");
    }
}

#[test]
fn a_completed_file_that_is_overwritten_is_told_once_and_forgotten_like_any() {
    let mut scene = grown();
    scene.put(1, "a.log.COMPLETED", 1, b"other content altogether\n");
    scene.later(600 * SECOND);
    assert_eq!((scene.lines.join(" ").as_str(), scene.channel.snapshot().grown.count), ("one", 1));
    let looks = scene.channel.completed_lately().len();
    scene.later(3600 * SECOND);
    assert_eq!((looks, scene.channel.completed_lately().len()), (1, 0));
}

#[test]
fn a_generation_of_which_nothing_is_read_yet_takes_the_old_ones_place_in_one_transaction() {
    let mut scene = Scene::new(settings(false));
    scene.put(1, "a.log", 1, b"one\n");
    scene.until(waits);
    let old = scene.progress();
    // Not a whole line: nothing of it ships, and a restart must not take it for the first generation.
    scene.put(1, "a.log", 1, b"tw");
    scene.until(|step| matches!(step, Step::Commit));
    let (closing, tombstones) = scene.channel.closing(vec![]);
    let taken: Vec<_> =
        closing.iter().map(|c| (c.progress.generation, c.progress.position, c.evidence("a").len())).collect();
    assert_eq!((tombstones, taken), (vec![old.id], vec![(2, 0, 0)]));
    scene.channel.committed(scene.now);
    assert_eq!(scene.channel.snapshot().anew.count, 1);
}

#[test]
fn settled_files_that_have_grown_are_read_on_one_at_a_time_beside_the_open_ones() {
    let mut scene =
        Scene::new(Settings { max_open: 1, max_transaction_bytes: 1, poll: 60 * SECOND, ..settings(false) });
    for inode in 1..=4 {
        scene.put(inode, "a.log", 1, b"one\n");
    }
    scene.until(waits);
    for inode in 1..=4 {
        scene.put(inode, "a.log", 1, b"one\ntwo\nsix\nten\n");
    }
    scene.now += 2 * SECOND;
    let mut reads = 0;
    while let Step::Read(read) = scene.until(|step| matches!(step, Step::Read(_)) || waits(step)) {
        scene.read(&read);
        reads += 1;
        let open = (1..=4).filter(|inode| scene.channel.reads_on(*inode)).count();
        assert!(open <= 2, "maxOpenFiles, and one that is settled: {open}");
    }
    assert_eq!((reads >= 12, scene.lines.len()), (true, 16));
}

#[test]
fn once_does_not_end_on_a_listing_that_was_torn_by_a_rename() {
    let mut scene = Scene::new(settings(true));
    scene.put(1, "a.log", 1, b"one\n");
    scene.until(|step| matches!(step, Step::List { .. }));
    scene.channel.listed(scene.entries(), scene.now, scene.now);
    scene.channel.listed(vec![], scene.now, scene.now);
    scene.put(1, "b.log", 1, b"one\n");
    scene.until(|step| matches!(step, Step::Done));
    assert_eq!((scene.lines.join(" ").as_str(), scene.channel.snapshot().unread.count), ("one", 0));
}

#[test]
fn what_a_closed_directory_hides_is_neither_gone_nor_new_when_it_is_open_again() {
    let mut scene = Scene::new(Settings { settle: 60 * SECOND, poll: 600 * SECOND, ..settings(false) });
    scene.put(1, "sub/a.log", 1, b"one\ntw");
    scene.later(5 * SECOND);
    let file = scene.files.remove(&1).unwrap();
    scene.closed = vec!["sub"];
    for _ in 0..30 {
        scene.later(3600 * SECOND);
    }
    scene.closed.clear();
    scene.files.insert(1, file);
    scene.put(1, "sub/a.log", 1, b"one\ntwo\n");
    scene.until(|step| matches!(step, Step::Complete(_)));
    assert_eq!((scene.lines.join(" ").as_str(), scene.channel.snapshot().unread.count), ("one two", 0));
}

#[test]
fn a_restart_does_not_begin_the_day_anew_that_progress_of_a_finished_file_is_kept() {
    let kept = |age: u32, finished: bool, hours: u32| {
        let settings = Settings { poll: 600 * SECOND, ..settings(false) };
        let mut scene = Scene::new(settings.clone());
        scene.put(1, "a.log", 1, b"one\n");
        scene.until(|step| matches!(step, Step::Complete(_)));
        let progress = Progress { age: age * 3600 * SECOND, finished, grown: true, ..scene.progress() };
        scene.files.clear();
        scene.channel = Channel::new(settings, 8);
        scene.channel.resume(vec![progress], 3, scene.now);
        scene.later(hours * 3600 * SECOND);
        !scene.channel.completed_lately().is_empty()
    };
    assert!(kept(1, true, 22) && !kept(1, true, 24));
    assert!(kept(30, true, 0) && !kept(30, true, 2), "an hour all the same");
    assert!(kept(30, false, 23), "of what is half shipped, a day");
}

#[test]
fn a_file_that_is_set_aside_is_tried_again_after_ten_minutes_though_nothing_changed() {
    let mut scene = Scene::new(Settings { poll: 30 * SECOND, ..settings(false) });
    scene.put(1, "a.log", 1, b"one\n");
    let Step::Read(read) = scene.until(|step| matches!(step, Step::Read(_))) else { panic!() };
    scene.channel.set_aside(read.inode, Reason::ReadError, "input/output error", scene.now);
    let aside = scene.now;
    let Step::Read(read) = scene.until(|step| matches!(step, Step::Read(_))) else { panic!() };
    assert_eq!(scene.now, aside + 600 * SECOND);
    scene.read(&read);
    scene.until(|step| matches!(step, Step::Complete(_)));
    assert_eq!(scene.lines, ["one"]);
}

#[test]
fn bytes_that_are_cut_off_or_taken_away_unread_are_counted_and_named() {
    let unread = |scene: &Scene| scene.channel.snapshot().unread;
    let mut scene = Scene::new(Settings { settle: 60 * SECOND, ..settings(false) });
    scene.put(1, "a.log", 1, b"one\ntw");
    scene.put(2, "b.log", 1, b"one\ntw");
    scene.put(3, "c.log", 1, b"one\ntw");
    scene.put(4, "d.log", 1, b"one\n");
    scene.later(5 * SECOND);
    scene.put(2, "renamed.log", 1, b"one\ntw");
    scene.put(3, "c.log", 1, b"one\nt");
    scene.files.remove(&4);
    scene.later(5 * SECOND);
    assert_eq!((unread(&scene).count, unread(&scene).last), (1, Some(Name::new(b"c.log"))));
    scene.files.remove(&1);
    scene.later(5 * SECOND);
    assert_eq!((unread(&scene).count, unread(&scene).last), (3, Some(Name::new(b"a.log"))));
    scene.later(20 * SECOND);
    assert_eq!(unread(&scene).count, 3, "once");
    scene.put(1, "e.log", 2, b"x");
    scene.later(5 * SECOND);
    assert_eq!(unread(&scene).count, 3, "whoever has its inode now lost nothing");
}

#[test]
fn what_is_only_tracked_is_complete_once_and_looked_at_again_when_it_changes() {
    let mut scene = Scene::new(Settings { track: true, ..settings(false) });
    scene.put(1, "a.log", 1, b"one\n");
    let files = |scene: &Scene| scene.channel.snapshot().totals.files;
    // It settles and is committed; nothing is asked of the source.
    scene.until(|step| matches!(step, Step::Wait(until) if *until > Duration::from_secs(20)));
    assert_eq!((files(&scene), scene.completed.len()), (1, 0));
    scene.put(1, "a.log", 1, b"one\ntwo\n");
    scene.until(|step| matches!(step, Step::Wait(until) if *until > Duration::from_secs(60)));
    assert_eq!((scene.lines.join(" ").as_str(), files(&scene)), ("one two", 2));
    // A successor verifies what progress remembers, and counts nothing twice.
    let progress = scene.progress();
    scene.channel.resume(vec![progress], 3, scene.now);
    let Step::Complete(batch) = scene.until(|step| matches!(step, Step::Complete(_))) else { panic!() };
    scene.channel.completed(batch.iter().map(|c| (c.inode, Completed::Kept)).collect(), scene.now);
    assert_eq!((files(&scene), scene.lines.len()), (2, 2));
}

#[test]
fn progress_of_a_tracked_file_outlives_a_directory_that_is_unmounted_for_an_hour() {
    let mut scene = Scene::new(Settings { track: true, ..settings(false) });
    scene.put(1, "a.log", 1, b"one\n");
    scene.until(|step| matches!(step, Step::Wait(until) if *until > Duration::from_secs(20)));
    let content = scene.files.remove(&1).unwrap();
    for _ in 0..20 {
        scene.now += Duration::from_secs(3600);
        scene.until(waits);
    }
    scene.files.insert(1, content);
    scene.until(|step| matches!(step, Step::Complete(_)));
    assert_eq!(scene.lines, ["one"], "not shipped again");
}

#[test]
fn the_youngest_is_read_first_where_that_is_the_order() {
    let order = |order| {
        let mut scene = Scene::new(Settings { order, max_open: 1, ..settings(false) });
        for (inode, name) in [(1, "b"), (2, "a"), (3, "c")] {
            scene.put(inode, name, inode as i64, format!("{name}\n").as_bytes());
        }
        let mut entries = scene.entries();
        for (entry, modified) in entries.iter_mut().zip([5, 5, 9]) {
            entry.stat.modified = modified;
        }
        scene.until(|step| matches!(step, Step::List { .. }));
        scene.channel.listed(entries, scene.now, scene.now);
        scene.until(|step| matches!(step, Step::Commit));
        scene.lines.concat()
    };
    assert_eq!(order(ConsumeOrder::Oldest), "abc");
    assert_eq!(order(ConsumeOrder::Youngest), "cab");
}

#[test]
fn a_long_line_counts_once_however_often_what_is_before_it_cannot_be_decoded() {
    let mut settings = settings(false);
    settings.rules = Rules { charset: Charset::new("UTF-8", DecodeErrorPolicy::Fail), ..settings.rules };
    let mut scene = Scene::new(settings);
    scene.put(1, "a.log", 1, b"0123456789\n\xff\nabcdefghij\n");
    // It is set aside, and tried again twice.
    scene.later(1500 * SECOND);
    assert_eq!(scene.lines, ["01234567"]);
    assert_eq!(scene.progress().altered.long_lines, 1);
    assert_eq!(scene.channel.snapshot().totals.altered.long_lines, 1);
    scene.put(1, "a.log", 1, b"0123456789\n!\nabcdefghij\n");
    scene.until(|step| matches!(step, Step::Complete(_)));
    assert_eq!(scene.lines, ["01234567", "!", "abcdefgh"]);
    assert_eq!(scene.progress().altered.long_lines, 2);
    assert_eq!(scene.channel.snapshot().totals.altered.long_lines, 2);
}

#[test]
fn of_two_records_of_one_inode_the_one_that_is_behind_goes() {
    let mut scene = Scene::new(settings(false));
    scene.put(1, "a.log", 1, b"one\n");
    scene.until(|step| matches!(step, Step::Complete(_)));
    let ahead = scene.progress();
    let behind = Progress { id: FileId(7), position: 0, ..ahead.clone() };
    for both in [[ahead.clone(), behind.clone()], [behind, ahead]] {
        scene.channel = Channel::new(settings(false), 8);
        scene.channel.resume(both.to_vec(), 3, scene.now);
        scene.put(2, "b.log", 2, b"two\n");
        scene.until(|step| matches!(step, Step::Commit));
        assert_eq!(scene.channel.closing(vec![]).1, [FileId(7)]);
    }
}
