//! What the tests of the core share: a service in small, on a clock that is turned by hand.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
#![allow(dead_code, reason = "each test file uses a part")]

pub(crate) mod matrix;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use switchback::events::{Event, EventKind};
use switchback::options::{Labels, Threads};
use switchback::stats::ArmFigures;
use switchback::status::{RolloutStatus, Status};
use switchback::testing::Scripted;
use switchback::versions::ErrorKind;
use switchback::{Answer, Builder, Clock, ModelHandle, Plan, Share, Step, Task, Timestamp};

/// A service whose requests and answers are numbers; an answer is the probability of yes.
pub(crate) type Service = ModelHandle<f64, f64>;

/// Chance for what a test feeds a service, from a seed of its own (SplitMix64).
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    /// Evenly from 0 to 1.
    pub(crate) fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

pub(crate) fn clock() -> Clock {
    Clock::manual(Timestamp::from_unix_seconds(1_700_000_000))
}

/// A builder with nothing left to chance: who is sampled, what time it is, when somebody ticks.
pub(crate) fn builder(clock: &Clock) -> Builder<f64, f64> {
    ModelHandle::builder("late")
        .task(Task::binary(|probability: &f64| *probability))
        .labels(Labels::at_random())
        .clock(clock.clone())
        .seed(7)
        .threads(Threads::manual().stripes(1))
}

/// A model that always gives one probability.
pub(crate) fn says(name: &str, probability: f64) -> Scripted<f64, f64> {
    Scripted::new(name, move |_: &f64| probability)
}

pub(crate) fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(crate) fn share(fraction: f64) -> Share {
    Share::new(fraction).unwrap()
}

/// A ramp whose last step need not last a day, and that is followed without guards too.
pub(crate) fn ramp<const N: usize>(weights: [f64; N]) -> Plan {
    Plan::ramp(weights).unwrap().cycle(Duration::ZERO).unguarded()
}

/// The same for a service that does not shadow.
pub(crate) fn canaries<const N: usize>(weights: [f64; N]) -> Plan {
    ramp(weights).without_shadow().unwrap()
}

/// A plan whose last step need not last a day, and that is followed without guards too.
pub(crate) fn plan<const N: usize>(steps: [Step; N]) -> Plan {
    Plan::new(steps).unwrap().cycle(Duration::ZERO).unguarded()
}

/// Asks `times` times, and gives the answers.
pub(crate) fn ask(service: &Service, times: usize) -> Vec<Answer<f64>> {
    (0..times).map(|number| service.predict(&(number as f64)).unwrap()).collect()
}

/// Lets a second pass, and ticks.
pub(crate) fn tick(service: &Service, clock: &Clock) {
    clock.advance(seconds(1));
    service.tick();
}

/// The rollout of this number, whether it runs or is over.
pub(crate) fn rollout(status: &Status, number: u32) -> RolloutStatus {
    status.rollouts.iter().find(|rollout| rollout.number == number).unwrap().clone()
}

/// Everything a version ever did.
pub(crate) fn total(status: &Status, version: &str) -> ArmFigures {
    status.versions.iter().find(|known| known.version == version).unwrap().total.clone()
}

pub(crate) fn errors(figures: &ArmFigures, kind: ErrorKind) -> u64 {
    figures.errors.get(&kind).copied().unwrap_or(0)
}

/// The accuracy of what was labelled.
pub(crate) fn accuracy(figures: &ArmFigures) -> Option<f64> {
    let quality = figures.quality.as_ref()?;
    quality.measure(switchback::stats::Metric::Accuracy).map(|measured| measured.value)
}

/// The events so far that `which` picks.
pub(crate) fn events<T>(service: &Service, which: impl Fn(&EventKind) -> Option<T>) -> Vec<T> {
    service.events().iter().filter_map(|event| which(&event.kind)).collect()
}

/// The events so far, each by its name.
pub(crate) fn names(events: &[std::sync::Arc<Event>]) -> Vec<String> {
    let name = |event: &Event| serde_json::to_value(event).unwrap()["event"].as_str().unwrap().to_owned();
    events.iter().map(|event| name(event)).collect()
}

/// Waits until something is so that a thread of the handle's sees to. Looks every millisecond, so that the thread has a
/// core, which it gets only while nobody else wants it; and for a minute at most, so that a test fails and does not hang.
pub(crate) fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    for _ in 0..60_000 {
        if is_so() {
            return;
        }
        std::thread::park_timeout(Duration::from_millis(1));
    }
    panic!("not within a minute: {what}");
}

/// What a client has written in an address.
pub(crate) fn decoded(text: &str) -> String {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let [first, tail @ ..] = rest {
        let hex = tail.get(..2).filter(|_| *first == b'%').map(|hex| std::str::from_utf8(hex).unwrap());
        bytes.push(hex.map_or(*first, |hex| u8::from_str_radix(hex, 16).unwrap()));
        rest = if hex.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8(bytes).unwrap()
}

/// Raises a flag when it goes, also because a test fails: threads that run until then would run for ever.
pub(crate) struct RaisedAtTheEnd<'a>(pub(crate) &'a AtomicBool);

impl Drop for RaisedAtTheEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A folder of its own for a test, removed when the test is over.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("switchback-test-{}-{number}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o700)).unwrap();
        }
        Self(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
