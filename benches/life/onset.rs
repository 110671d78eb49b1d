//! How soon a harm is seen that begins after a long clean history, beside one that is there from the start.
//!
//! Events are failures, or wrong answers, of either version, from the moment at which the harm begins.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use switchback::guard::{self, Rule, RuleError};
use switchback::options::{Limits, Shadowing};
use switchback::{Outcome, Rollout};

use crate::support::median;
use crate::world::{Ask, Chance, Reply, Said, Version, World, clock, service, version};

/// Events before the harm begins.
const CLEAN: f64 = 5_000.0;

/// A harm: what is off, how often on live, and how many times as often on the candidate once it is.
struct Onset {
    name: &'static str,
    rule: fn() -> Result<Rule, RuleError>,
    rate: f64,
    times: f64,
    shadow: bool,
}

const ONSETS: [Onset; 4] = [
    Onset {
        name: "errors times 5 on a canary of 10 %",
        rule: || guard::error_rate().at_most_times_live(1.0),
        rate: 0.02,
        times: 5.0,
        shadow: false,
    },
    Onset {
        name: "errors times 20 on a canary of 10 %",
        rule: || guard::error_rate().at_most_times_live(1.0),
        rate: 0.02,
        times: 20.0,
        shadow: false,
    },
    Onset {
        name: "errors times 5 on a canary of 10 %, a quarter more allowed",
        rule: || guard::error_rate().at_most_times_live(1.25),
        rate: 0.02,
        times: 5.0,
        shadow: false,
    },
    Onset {
        name: "wrong answers times 3 in a shadow, 2 points allowed",
        rule: || guard::accuracy().at_most_below_live(0.02),
        rate: 0.05,
        times: 3.0,
        shadow: true,
    },
];

const LIVE: u64 = 1;

const CANDIDATE: u64 = 2;

const ONSET: u64 = 3;

impl Onset {
    /// Events until it is taken back, where the harm begins at this request; infinity where it is not.
    fn events(&self, seed: u64, begins: u64) -> f64 {
        let (clock, seen) = (clock(), Arc::new(AtomicU64::new(0)));
        let on = |name: &str, place: u64| -> Version {
            let (rate, times, shadow, seen) = (self.rate, self.times, self.shadow, Arc::clone(&seen));
            version(name, &clock, move |ask: &Ask| {
                let harmful = ask.number >= begins;
                let rate = if place == CANDIDATE && harmful { rate * times } else { rate };
                let off = ask.chance(place) < rate;
                seen.fetch_add(u64::from(off && harmful), Ordering::Relaxed);
                let reply = match (off, shadow) {
                    (true, false) => Reply::Fails,
                    (off, _) => Reply::yes(if off { 0.1 } else { 0.9 }),
                };
                (reply, Duration::from_micros(10))
            })
        };
        let mut builder =
            service(&clock, seed).live("v1", on("one", LIVE)).limits(Limits::new().circuit_breaker(0));
        if self.shadow {
            builder = builder.shadowing(Shadowing::new());
        }
        let mut world = World::new(builder.build().unwrap(), &clock, seed);
        let rollout: Rollout<Ask, Said> =
            world.handle.stage("v2", on("two", CANDIDATE)).unwrap().guard((self.rule)());
        if self.shadow {
            rollout.shadow(1.0).unwrap()
        } else {
            rollout.canary(0.1).unwrap()
        };
        while world.asked() < begins + 200_000 {
            // Where it is looked for, it is looked for often.
            let requests = if world.asked() + 500 <= begins { 500 } else { 10 };
            for _ in 0..requests {
                let ask = world.ask();
                if let Ok(answer) = world.handle.predict(&ask) {
                    world.tell(answer.id(), Outcome::class(1));
                }
            }
            world.tick();
            if world.is_over() {
                return seen.load(Ordering::Relaxed) as f64;
            }
        }
        f64::INFINITY
    }

    fn events_at_the_median(&self, runs: u64, threads: usize, late: bool) -> f64 {
        let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
        let work = || {
            while let Some(seed) = Some(next.fetch_add(1, Ordering::Relaxed) as u64).filter(|run| *run < runs)
            {
                let seed = (seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                // At any moment within the stretches in which the evidence is counted.
                let mut moment = Chance(seed ^ ONSET);
                let of_both = if self.shadow { 2.0 } else { 1.0 };
                let clean = CLEAN / self.rate / of_both * (1.0 + 0.1 * moment.next());
                let events = self.events(seed, if late { clean as u64 } else { 0 });
                done.lock().unwrap().push(events);
            }
        };
        std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
        median(done.into_inner().unwrap())
    }
}

/// What was measured of each.
pub(crate) struct Onsets(Vec<(&'static str, f64, f64)>);

impl Onsets {
    pub(crate) fn measure(runs: u64, threads: usize, wanted: impl Fn(&str) -> bool) -> Self {
        let measured = |onset: &Onset| {
            let of = |late| onset.events_at_the_median(runs, threads, late);
            (onset.name, of(false), of(true))
        };
        Self(ONSETS.iter().filter(|onset| wanted(onset.name)).map(measured).collect())
    }

    pub(crate) fn tell(&self) {
        println!("\n{:<62} {:>10} {:>10} {:>7}", "events until harm is seen", "fresh", "late", "ratio");
        for (name, fresh, late) in &self.0 {
            println!("{name:<62} {fresh:>10.0} {late:>10.0} {:>7.2}", late / fresh);
        }
    }

    /// The worst of them.
    pub(crate) fn worst_ratio(&self) -> Option<f64> {
        self.0.iter().map(|(_, fresh, late)| late / fresh).max_by(f64::total_cmp)
    }

    pub(crate) fn figures(&self) -> serde_json::Value {
        let figures = |(name, fresh, late): &(&str, f64, f64)| json!({ "harm": name, "clean_events": CLEAN, "fresh_events": fresh, "late_events": late });
        self.0.iter().map(figures).collect()
    }
}
