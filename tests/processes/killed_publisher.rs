//! Processes that publish and are killed at any moment, and what is in their repository then.

use std::collections::BTreeSet;
use std::path::Path;

use switchback::Timestamp;
use switchback::repository::{Draft, Manifest, Repository};

use crate::common::{Chance, Folder};
use crate::harness::tests;
use crate::killed::{KILLS, kill, say};

tests! { "killed_publisher":
    after_a_kill_at_any_moment_every_version_of_a_repository_is_whole,
    after_each_of_three_hundred_kills_every_version_of_a_repository_is_whole long "300 kills",
}

/// Versions of some size, so that a kill finds one half copied; tags that move, and versions that are removed.
pub(crate) fn child(told: &[String]) {
    let [folder, seed] = told else { panic!("{told:?}") };
    let seed: u64 = seed.parse().unwrap();
    let models = Repository::create(Path::new(folder)).unwrap();
    for number in seed.. {
        let version = number.to_string();
        let mut manifest = Manifest::new("late", version.as_str(), Timestamp::from_unix_seconds(number));
        manifest.tags.insert("stable".into());
        say(&format!("try publish {version}"));
        let draft = Draft::new(manifest)
            .file("model.onnx", "tests/models/affine.onnx")
            .bytes("weights.bin", vec![number as u8; 300_000])
            .bytes("more/weights.bin", vec![number as u8; 300_000]);
        models.publish(draft).unwrap();
        say(&format!("published {version}"));
        if number > seed && number % 3 == 2 {
            let before = (number - 1).to_string();
            say(&format!("try remove {before}"));
            models.remove("late", &before).unwrap();
            say(&format!("removed {before}"));
        }
    }
}

fn after_a_kill_at_any_moment_every_version_of_a_repository_is_whole() {
    kill_and_look(KILLS, 20_261_125);
}

fn after_each_of_three_hundred_kills_every_version_of_a_repository_is_whole() {
    kill_and_look(300, 20_261_127);
}

/// Invariant 20.
fn kill_and_look(kills: u64, seed: u64) {
    let folder = Folder::new();
    let mut chance = Chance(seed);
    let (mut there, mut halves) = (BTreeSet::new(), 0);
    for kill in 0..kills {
        let mut child = crate::child("killed_publisher");
        child.args([folder.0.to_str().unwrap(), &(1_000 * (kill + 1)).to_string()]);
        let lines = 1 + (chance.next() * 12.0) as usize;
        let mut tried = None;
        self::kill(&mut child, lines, (chance.next() * 3_000_000.0) as u32, |line| {
            match line.split_once(' ') {
                Some(("published", version)) => tried = Some(there.insert(version.to_owned())).and(None),
                Some(("removed", version)) => tried = Some(there.remove(version)).and(None),
                Some(("try", what)) => tried = Some(what.to_owned()),
                _ => panic!("{line}"),
            }
        });

        let models = Repository::open(&folder.0).unwrap();
        let entries = models.versions("late").unwrap();
        // Those of earlier rounds were looked at then.
        let newest = entries.iter().rev().take(30);
        newest.for_each(|entry| models.verify(entry).unwrap_or_else(|error| panic!("kill {kill}: {error}")));
        let found: BTreeSet<String> = entries.iter().map(|entry| entry.version.to_string()).collect();
        let doubtful =
            tried.as_deref().and_then(|tried| tried.split_once(' ')).map(|(_, version)| version.to_owned());
        let differ: Vec<&String> = found.symmetric_difference(&there).collect();
        assert!(
            differ.iter().all(|version| Some(*version) == doubtful.as_ref()),
            "kill {kill}: {differ:?}, {tried:?}"
        );
        for version in models.tags("late").unwrap().values() {
            models.get("late", version).unwrap();
        }
        halves += models.sweep().unwrap().asides;
        there = found;
    }
    assert!(halves > 0, "some were killed in the middle of something");
}
