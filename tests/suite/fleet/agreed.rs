//! What follows in each process from what a fleet has agreed on, and in the fleet from what one process says.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use switchback::events::EventKind;
use switchback::model::{Identity, LoadError, ModelError};
use switchback::options::{Retention, Tiers};
use switchback::versions::{Description, Lifecycle, TargetTier, Tier};
use switchback::{Builder, Model};

use super::members::{Handle, World};

fn told(handle: &Handle, name: &str) -> usize {
    handle.events().iter().filter(|event| event.kind.name() == name).count()
}

/// A model that can go cold, and answers nothing then.
#[derive(Clone)]
struct Sleepy {
    name: String,
    answer: f64,
    tier: Arc<Mutex<Tier>>,
    is_lost: Arc<AtomicBool>,
}

impl Sleepy {
    fn new(name: &str, answer: f64) -> Self {
        Self { name: name.to_owned(), answer, tier: Arc::new(Mutex::new(Tier::Hot)), is_lost: Arc::default() }
    }
}

impl Model<f64, f64> for Sleepy {
    fn predict(&self, _: &f64) -> Result<f64, ModelError> {
        if *self.tier.lock() == Tier::Cold { Err(ModelError::NotLoaded) } else { Ok(self.answer) }
    }
    fn identity(&self) -> Identity {
        Identity::of([("sleepy", self.name.as_bytes())])
    }
    fn lifecycle(&self) -> Option<&dyn Lifecycle> {
        Some(self)
    }
}

impl Lifecycle for Sleepy {
    fn tier(&self) -> Tier {
        *self.tier.lock()
    }
    fn wake(&self) -> Result<(), LoadError> {
        if self.is_lost.load(Ordering::Relaxed) {
            return Err(LoadError::other("its files are gone"));
        }
        let mut tier = self.tier.lock();
        if *tier == Tier::Cold {
            *tier = Tier::Warm;
        }
        Ok(())
    }
    fn settle(&self, wanted: &TargetTier) -> Result<Tier, LoadError> {
        let mut tier = self.tier.lock();
        if *tier == Tier::Cold && self.is_lost.load(Ordering::Relaxed) {
            return Err(LoadError::other("its files are gone"));
        }
        *tier = wanted.tier();
        Ok(*tier)
    }
    fn description(&self) -> Description {
        let mut description = Description::default();
        description.prepared = true;
        description
    }
}

/// Three processes with v2 live and v1 cold: the first version of each, and the world.
fn with_a_cold_one() -> (World, Vec<Sleepy>) {
    let (mut world, mut firsts) = (World::new(0), Vec::new());
    let tiers = Tiers::new().hot_for(Duration::from_secs(60)).warm_for(Duration::from_secs(600));
    for _ in 0..3 {
        let v1 = Sleepy::new("v1", 0.25);
        firsts.push(v1.clone());
        let tiers = tiers.clone();
        let build = |builder: Builder<f64, f64>| {
            builder
                .live("v1", v1)
                .source(|name: &str| Ok(Box::new(Sleepy::new(name, 0.75)) as Box<dyn Model<f64, f64>>))
                .retention(Retention::new().tiers(tiers))
        };
        world.join_as(build);
    }
    world.steps(6, 1);
    world.members[0].stage("v2", Sleepy::new("v2", 0.75)).unwrap().promote().unwrap();
    world.steps(700, 1);
    assert!(firsts.iter().all(|v1| v1.tier() == Tier::Cold), "{}", world.told());
    (world, firsts)
}

/// Bug: after a rollback to a version that had gone cold every other process answered nothing until its upkeep had loaded it. Cause: what was
/// agreed on was made live as it lay there; only the verb woke it, where it was said. Fix: a process wakes it first, aside, and answers with what was
/// live until then.
#[test]
fn a_cold_version_that_is_agreed_on_is_woken_before_it_is_live() {
    let (world, _) = with_a_cold_one();
    let _ = world.members[0].rollback("complaints");
    for _ in 0..6 {
        for member in &world.members {
            member.tick();
            assert!(member.predict(&0.5).is_ok(), "{}", world.told());
        }
        world.clock.advance(Duration::from_millis(500));
    }
    assert_eq!(world.lives(), ["v1", "v1", "v1"], "{}", world.told());
    for member in &world.members {
        assert_eq!(["rolled_back", "retired"].map(|name| told(member, name)), [1, 0], "{}", world.told());
    }
}

/// The same where it cannot be woken: what was live answers on, and it is told and tried again.
#[test]
fn a_cold_version_that_cannot_be_woken_is_not_live() {
    let (mut world, firsts) = with_a_cold_one();
    firsts[1].is_lost.store(true, Ordering::Relaxed);
    let _ = world.members[0].rollback("complaints");
    for _ in 0..20 {
        world.step(0);
        assert_eq!(*world.members[1].predict(&0.5).unwrap().output(), 0.75, "{}", world.told());
    }
    assert_eq!(world.lives(), ["v1", "v2", "v1"]);
    assert_eq!(told(&world.members[1], "not_ready"), 1, "{}", world.told());
    assert_eq!(world.members[1].fleet().unwrap().not_ready[0].reason, "its files are gone");
    firsts[1].is_lost.store(false, Ordering::Relaxed);
    world.steps(40, 0);
    assert_eq!(world.lives(), ["v1", "v1", "v1"], "{}", world.told());
    assert!(world.members[1].fleet().unwrap().not_ready.is_empty());
    let back = |event: &EventKind| matches!(event, EventKind::RolledBack { to, .. } if *to == "v1");
    assert_eq!(world.members[1].events().iter().filter(|event| back(&event.kind)).count(), 1);
}
