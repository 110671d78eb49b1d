//! What can be known before the truth is, and of whom: one candidate is taken back because what it says has drifted from
//! what live says, hours before any label; another one, which is right more often than live, because it is wrong more often
//! for one airport.
//!
//! Flights, scores and labels are simulated: there is no model in it but two lines of arithmetic.
//!
//! ```sh
//! cargo run --release --example before_the_truth
//! ```

use std::error::Error;
use std::time::Duration;

use switchback::drift::estimate::Calibration;
use switchback::drift::{Cell, Drift, OnDrift, ReferenceProfile, Season};
use switchback::events::{Cause, EventKind};
use switchback::options::{Inputs, Labels, Shadowing, Threads};
use switchback::stats::Metric;
use switchback::{
    Clock, Model, ModelHandle, Outcome, Phase, PredictionId, Rollout, Task, Timestamp, closure, guard,
};

const HOUR: Duration = Duration::from_secs(3_600);
const AIRPORTS: [&str; 4] = ["JFK", "EWR", "LGA", "ORD"];

/// A flight at pushback, and what becomes of it.
#[derive(Clone)]
struct Flight {
    delay: f64,
    origin: &'static str,
    late: bool,
}

fn main() -> Result<(), Box<dyn Error>> {
    let clock = Clock::manual(Timestamp::from_unix_seconds(1_770_000_000));
    let late = ModelHandle::builder("late-arrival")
        .live("v1", version("v1", score))
        .task(Task::binary(|probability: &f64| *probability))
        .labels(Labels::complete_after(HOUR * 12))
        .shadowing(Shadowing::new())
        .drift(
            Drift::new()
                .sample(1.0)
                .season(Season::HourOfWeek)
                .calibration(calibration()?)
                .on_shared_drift(OnDrift::Pause),
        )
        .inputs(
            Inputs::new()
                .segment(|flight: &Flight| flight.origin) // figures by airport: the first 64, the rest are `other`
                .features(training()?, |flight: &Flight, cells| {
                    cells.push(flight.delay);
                    cells.push(flight.origin);
                }),
        )
        .clock(clock.clone())
        .threads(Threads::manual().tick_every(HOUR))
        .build()?;
    let mut day = Day { clock, late, chance: 1, hours: 0, in_the_air: Vec::new() };

    // It says half of what it should.
    let timid = day.late.stage("v2", version("v2", |flight| score(flight) / 2.0))?;
    let timid = guarded(timid)?;
    timid.shadow(1.0)?;
    let labels_before = day.labels_until_over(&timid)?;
    let why = day.why_taken_off("v2");

    // It knows better at every airport but one.
    let partial = day.late.stage(
        "v3",
        version("v3", |flight| match flight.origin {
            "ORD" => 1.0 - score(flight),
            _ => f64::from(u8::from(flight.late)),
        }),
    )?;
    let partial = partial.guard(guard::accuracy().by_segment().at_most_below_live(0.02));
    partial.shadow(1.0)?;
    day.labels_until_over(&partial)?;
    let accuracy = |of: fn(&switchback::stats::SegmentFigures) -> Option<f64>| {
        let status = partial.status()?;
        status.segments.iter().find(|segment| &*segment.segment == "ORD").and_then(of)
    };
    let overall = partial.status().ok_or("the rollout is forgotten")?;
    let right = |figures: &switchback::stats::ArmFigures| {
        figures
            .quality
            .as_ref()
            .and_then(|quality| quality.measure(Metric::Accuracy))
            .map(|known| known.value)
    };
    println!(
        "v3 at ORD: right {:.1} % of the time, v1 {:.1} %",
        accuracy(|segment| segment.candidate.accuracy()).unwrap_or(f64::NAN) * 100.0,
        accuracy(|segment| segment.live.accuracy()).unwrap_or(f64::NAN) * 100.0,
    );

    let checks = [
        ("v2 was taken back by what it says", why.as_deref().is_some_and(|guard| guard.contains("drift"))),
        ("there was no label yet", labels_before == 0),
        (
            "v3 was taken back for one airport",
            day.why_taken_off("v3").is_some_and(|guard| guard.contains("by segment")),
        ),
        ("v3 is right more often over all", right(&overall.candidate) > right(&overall.control)),
        ("live is what it was", day.late.live() == "v1"),
    ];
    for (check, holds) in checks {
        println!("{} {check}", if holds { "ok  " } else { "FAIL" });
    }
    if checks.iter().all(|(_, holds)| *holds) { Ok(()) } else { Err("not everything happened".into()) }
}

/// What needs no label, and what does.
fn guarded(rollout: Rollout<Flight, f64>) -> Result<Rollout<Flight, f64>, Box<dyn Error>> {
    let rollout = rollout
        .calibrated(calibration()?)
        .guard(guard::drift()) // the candidate's answers, beside live's to the same requests
        .guard(guard::estimated(Metric::Accuracy).at_most_below_live(0.02))
        .guard(guard::accuracy().by_segment().at_most_below_live(0.02));
    Ok(rollout)
}

fn version(
    name: &str,
    says: impl Fn(&Flight) -> f64 + Send + Sync + 'static,
) -> impl Model<Flight, f64> + 'static {
    closure(format!("{name}@1.0"), move |flight: &Flight| Ok(says(flight)))
}

/// The probability that a flight with this delay is late.
fn score(flight: &Flight) -> f64 {
    (flight.delay / 60.0).clamp(0.02, 0.98)
}

/// Flights as training had them.
fn flights() -> impl Iterator<Item = Flight> + Clone {
    let mut chance = 7;
    std::iter::repeat_with(move || flight(&mut chance))
}

fn training() -> Result<ReferenceProfile, Box<dyn Error>> {
    let rows = flights().take(5_000).map(|flight| [Cell::from(flight.delay), Cell::from(flight.origin)]);
    Ok(ReferenceProfile::builder().numeric("delay").categorical("origin").build_from(rows)?)
}

/// How often a score comes true.
fn calibration() -> Result<Calibration, Box<dyn Error>> {
    Ok(Calibration::fit(flights().take(5_000).map(|flight| (score(&flight), flight.late)))?)
}

fn flight(chance: &mut u64) -> Flight {
    let mut next = || {
        *chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (*chance >> 33) as f64 / f64::from(1_u32 << 31)
    };
    let (delay, place, luck) = (next() * 60.0, next() * AIRPORTS.len() as f64, next());
    let origin = AIRPORTS.get(place as usize).copied().unwrap_or("JFK");
    let flight = Flight { delay, origin, late: false };
    Flight { late: luck < score(&flight), ..flight }
}

/// A service whose labels come six hours late.
struct Day {
    clock: Clock,
    late: ModelHandle<Flight, f64>,
    chance: u64,
    hours: u64,
    in_the_air: Vec<(u64, PredictionId, bool)>,
}

impl Day {
    /// Answers flights until the rollout is over, four days at most. How many labels had come by then.
    fn labels_until_over(&mut self, rollout: &Rollout<Flight, f64>) -> Result<u64, Box<dyn Error>> {
        let (mut labels, told) = (0, self.late.subscribe(256));
        for _ in 0..96 {
            for _ in 0..400 {
                let flight = flight(&mut self.chance);
                let answer = self.late.predict(&flight)?;
                self.in_the_air.push((self.hours + 6, answer.id(), flight.late));
                self.late.run_shadow(4);
            }
            self.hours += 1;
            self.clock.advance(HOUR);
            let (landed, flying) = std::mem::take(&mut self.in_the_air)
                .into_iter()
                .partition::<Vec<_>, _>(|(lands, ..)| *lands <= self.hours);
            self.in_the_air = flying;
            for (_, id, was_late) in landed {
                let _ = self.late.feedback(id, Outcome::class(was_late.into()));
                labels += 1;
            }
            self.late.tick();
            while let Some(event) = told.try_recv() {
                println!("hour {:3}  {event}", self.hours);
            }
            if rollout.phase() == Phase::Aborted {
                break;
            }
        }
        Ok(labels)
    }

    /// The guard that took a version off.
    fn why_taken_off(&self, version: &str) -> Option<String> {
        self.late.events().iter().find_map(|event| match &event.kind {
            EventKind::Aborted { version: of, cause: Cause::Guard { evidence } } if *of == *version => {
                Some(evidence.guard.clone())
            }
            _ => None,
        })
    }
}
