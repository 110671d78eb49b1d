//! Processes that share a folder as a fleet's store, and are killed and stopped at any moment: what they were told goes together
//! with one register.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{Seek, Write};
use std::path::Path;
use std::process::{Child, Command};

use switchback::fleet::history::{Act, Operation, Said, check};
use switchback::fleet::{Directory, Key, Over, Read, Store, StoreError, StoreOutcome, Tag};

use crate::common::{Chance, Folder};
use crate::harness::tests;

tests! { "fleet_directory":
    processes_that_are_killed_and_stopped_share_one_register,
    processes_that_are_killed_and_stopped_share_one_register_for_long long "a hundred kills",
}

/// A counter that all processes share: a file that each adds a byte to. The system adds at the end whoever writes, and says
/// where that was, so that no number is given twice and a later one is larger.
struct Moments(File);

impl Moments {
    fn open(folder: &Path) -> Self {
        Self(OpenOptions::new().append(true).create(true).open(folder.join("moments")).unwrap())
    }

    fn next(&mut self) -> u64 {
        self.0.write_all(b".").unwrap();
        self.0.stream_position().unwrap()
    }
}

/// Reads, and writes over what it has read, for as long as it lives; what it asks and is told goes to a file of its own.
pub(crate) fn child(told: &[String]) {
    let [folder, number] = told else { panic!("{told:?}") };
    let (folder, number) = (Path::new(folder), number.parse::<u64>().unwrap());
    let store = Directory::open(folder.join("store")).unwrap();
    let head = Key::new("h/late/head").unwrap();
    let mut moments = Moments::open(folder);
    let mut log = File::create(folder.join(format!("log-{number}"))).unwrap();
    let mut known: Option<(Tag, u64)> = None;
    for round in 0.. {
        let called = moments.next();
        let read = store.get(&head, known.as_ref().map(|(tag, _)| tag)).unwrap();
        let returned = moments.next();
        match read {
            Read::Absent => known = None,
            Read::Same => {}
            Read::Value { bytes, tag, .. } => {
                known = Some((tag, String::from_utf8(bytes).unwrap().parse().unwrap()));
            }
        }
        let over = known.as_ref().map(|(_, value)| *value);
        writeln!(log, "read {called} {returned} {}", over.unwrap_or(0)).unwrap();
        let value = number << 32 | round;
        let called = moments.next();
        // The line is there before the write is: whoever is killed between them may have written.
        writeln!(log, "write {called} {value} {}", over.unwrap_or(0)).unwrap();
        let over = known.as_ref().map_or(Over::Nothing, |(tag, _)| Over::This(tag));
        let put = store.put(&head, value.to_string().as_bytes(), over);
        let said = match put.as_ref().map_err(StoreError::outcome) {
            Ok(_) => "done",
            Err(StoreOutcome::Conflict) => "conflict",
            Err(StoreOutcome::Unknown) => "unknown",
            Err(StoreOutcome::NotDone) => panic!("{put:?}"),
        };
        let returned = moments.next();
        writeln!(log, "told {returned} {said}").unwrap();
        if let Ok(tag) = put {
            known = Some((tag, value));
        }
    }
}

/// What a process has written down until it was killed, at most in the middle of a line.
fn operations(log: &str, found: &mut Vec<Operation>) {
    let mut asked: Option<Operation> = None;
    let whole = log.rsplit_once('\n').map_or("", |(whole, _)| whole);
    for line in whole.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let number = |place: usize| words[place].parse::<u64>().unwrap();
        let value = |place: usize| Some(number(place)).filter(|value| *value > 0);
        match words[0] {
            "read" => {
                let act = Act::Read { saw: value(3) };
                found.push(Operation { called: number(1), returned: Some(number(2)), act });
            }
            "write" => {
                let act = Act::Write { value: number(2), over: value(3), said: Said::Unknown };
                asked = Some(Operation { called: number(1), returned: None, act });
            }
            _ => {
                let mut operation = asked.take().unwrap();
                operation.returned = Some(number(1));
                if let Act::Write { said, .. } = &mut operation.act {
                    *said = match words[2] {
                        "done" => Said::Done,
                        "conflict" => Said::Conflict,
                        _ => Said::Unknown,
                    };
                }
                found.push(operation);
            }
        }
    }
    found.extend(asked);
}

fn signal(child: &Child, which: &str) {
    let sent = Command::new("sh").arg("-c").arg(format!("kill -{which} {}", child.id())).status().unwrap();
    assert!(sent.success());
}

/// How far the counter has come. What waits for it to move on needs no clock.
fn moved_by(folder: &Path, moments: u64) {
    let file = folder.join("moments");
    let length = || file.metadata().map_or(0, |metadata| metadata.len());
    let until = length() + moments;
    crate::common::wait_until("the processes go on", || length() >= until);
}

fn processes_that_are_killed_and_stopped_share_one_register() {
    kill_and_stop(24, 20_261_127);
}

fn processes_that_are_killed_and_stopped_share_one_register_for_long() {
    kill_and_stop(100, 20_261_128);
}

fn kill_and_stop(kills: u64, seed: u64) {
    let folder = Folder::new();
    Directory::create(folder.0.join("store")).unwrap();
    let mut number = 0;
    let mut spawn = || {
        number += 1;
        let mut command = crate::child("fleet_directory");
        command.args([folder.0.to_str().unwrap(), &number.to_string()]).spawn().unwrap()
    };
    let mut chance = Chance(seed);
    let mut running: Vec<Child> = (0..6).map(|_| spawn()).collect();
    for _ in 0..kills {
        // One stands still, in the middle of whatever it does, while the others go on for more than 64 writes.
        let stopped = (chance.next() * running.len() as f64) as usize;
        signal(&running[stopped], "STOP");
        moved_by(&folder.0, 200 + (chance.next() * 600.0) as u64);
        let killed = (chance.next() * running.len() as f64) as usize;
        let mut gone = running.swap_remove(killed);
        assert!(gone.try_wait().unwrap().is_none(), "it ended by itself");
        gone.kill().unwrap();
        gone.wait().unwrap();
        for child in &running {
            signal(child, "CONT");
        }
        running.push(spawn());
        moved_by(&folder.0, (chance.next() * 200.0) as u64);
    }
    for mut child in running {
        assert!(child.try_wait().unwrap().is_none(), "it ended by itself");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    let mut all = Vec::new();
    for number in 1..=number {
        operations(
            &std::fs::read_to_string(folder.0.join(format!("log-{number}"))).unwrap_or_default(),
            &mut all,
        );
    }
    let chain = check(&all).unwrap();
    let mut said: BTreeMap<String, usize> = BTreeMap::new();
    for operation in &all {
        let what = match operation.act {
            Act::Read { .. } => "read".to_owned(),
            Act::Write { said, .. } => format!("{said:?}"),
        };
        *said.entry(what).or_default() += 1;
    }
    // Writes were done, and refused; and somebody was killed who was not told.
    assert!(said["Done"] > 10 * kills as usize && said["Conflict"] > 10 && said["Unknown"] > 0, "{said:?}");
    // Of those that nobody was told of few came, and all that were told of did.
    assert!(
        chain.len() >= said["Done"] && chain.len() <= said["Done"] + said["Unknown"],
        "{} {said:?}",
        chain.len()
    );
    let store = Directory::open(folder.0.join("store")).unwrap();
    let last = store.get(&Key::new("h/late/head").unwrap(), None).unwrap();
    let Read::Value { bytes, .. } = last else { panic!("{last:?}") };
    let last: u64 = String::from_utf8(bytes).unwrap().parse().unwrap();
    let known =
        all.iter().any(|operation| matches!(operation.act, Act::Write { value, .. } if value == last));
    assert!(
        known && (chain.last() == Some(&last) || !chain.contains(&last)),
        "{last} after {:?}",
        chain.last()
    );
    eprintln!("{} values by {number} processes: {said:?}", chain.len());
}
