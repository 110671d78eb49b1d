//! Events in the host's log.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use switchback::model::{Identity, LoadError};
use switchback::model::{InputError, ModelError};
use switchback::options::{Inputs, Limits, Retention, Shadowing, Tiers};
use switchback::versions::{Description, Lifecycle, TargetTier, Tier};
use switchback::{Model, ModelHandle, closure, guard};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use crate::common::*;

/// What was logged: the level, and every field with its value.
type Logged = (Level, Vec<(String, String)>);

/// A span: its name, and every field with its value.
type Spanned = (String, Vec<(String, String)>);

/// Where a span lies.
type Place = (Level, Option<Id>, bool);

/// A subscriber that keeps what it is told and, at every event, calls back into the handle: the worst that a layer does.
#[derive(Clone, Default)]
struct Log {
    logged: Arc<Mutex<Vec<Logged>>>,
    spans: Arc<Mutex<Vec<Spanned>>>,
    /// The level of each span, and what it lies in: another one, or whatever its thread is in.
    lies_in: Arc<Mutex<Vec<Place>>>,
    /// Spans as they were entered (true) and left.
    steps: Arc<Mutex<Vec<(Id, bool)>>>,
    service: Arc<Mutex<Option<Service>>>,
    froze: Arc<AtomicUsize>,
    #[cfg(feature = "state")]
    wrote: Arc<AtomicUsize>,
    panics: bool,
}

/// How often a layer makes an event of its own.
const OWN_EVENTS: usize = 3;

#[derive(Default)]
struct Fields(Vec<(String, String)>);

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.push((field.name().into(), value.into()));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.push((field.name().into(), format!("{value:?}")));
    }
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "switchback" || metadata.target() == "test"
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut fields = Fields::default();
        span.record(&mut fields);
        self.call_back();
        let mut spans = self.spans.lock();
        let contextual = span.is_contextual() && std::thread::current().name() != Some("switchback-load");
        self.lies_in.lock().push((*span.metadata().level(), span.parent().cloned(), contextual));
        spans.push((span.metadata().name().into(), fields.0));
        Id::from_u64(spans.len() as u64)
    }

    fn record(&self, span: &Id, values: &Record<'_>) {
        let mut fields = Fields::default();
        values.record(&mut fields);
        self.spans.lock()[span.into_u64() as usize - 1].1.extend(fields.0);
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        self.logged.lock().push((*event.metadata().level(), fields.0));
        let service = self.service.lock().clone();
        if let Some(service) = service {
            let _ = (service.status(), service.events(), service.readiness());
            service.tick();
            if self.froze.fetch_add(1, Ordering::Relaxed) < OWN_EVENTS {
                service.freeze("by a layer");
                service.unfreeze();
            }
        }
        assert!(!self.panics, "on purpose");
    }

    fn enter(&self, span: &Id) {
        self.call_back();
        self.steps.lock().push((span.clone(), true));
        assert!(!self.panics, "on purpose");
    }

    fn exit(&self, span: &Id) {
        self.call_back();
        self.steps.lock().push((span.clone(), false));
        assert!(!self.panics, "on purpose");
    }
}

impl Log {
    /// From within a span: what looks, writes and ticks.
    fn call_back(&self) {
        let service = self.service.lock().clone();
        if let Some(service) = service {
            let _ = (service.status(), service.events(), service.readiness());
            service.tick();
            #[cfg(feature = "state")]
            if self.wrote.fetch_add(1, Ordering::Relaxed) < OWN_EVENTS {
                let _ = service.checkpoint();
            }
        }
    }
}

fn field<'f>((_, fields): &'f Logged, name: &str) -> Option<&'f str> {
    fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str())
}

/// Runs a test under a subscriber. Where another test of this process comes to an event for the first time just when the
/// subscriber is set, it would not be asked about that event: so all of them are come to before.
fn logged_by(log: &Log, run: impl FnOnce()) {
    tracing::subscriber::with_default(Log::default(), || {
        what_takes_long(&Log::default());
        taken_back();
    });
    tracing::subscriber::with_default(log.clone(), || {
        tracing::callsite::rebuild_interest_cache();
        run();
    });
}

/// A candidate that fails on everything.
fn taken_back() {
    let clock = clock();
    let service = builder(&clock).live("v1", says("one", 0.1)).build().unwrap();
    let bad = closure("two@1", |_: &f64| Err::<f64, _>(ModelError::engine("on purpose")));
    let rollout = service.stage("v2", bad).unwrap();
    rollout.canary(1.0).unwrap();
    (0..100).for_each(|_| drop(service.predict(&0.5)));
    tick(&service, &clock);
    tick(&service, &clock);
}

fn life(service: &Service, clock: &switchback::Clock) {
    let rollout = service.stage("v2", says("two", 0.9)).unwrap().guard(guard::error_rate().at_most(0.5));
    rollout.shadow(1.0).unwrap();
    ask(service, 4);
    service.run_shadow(4);
    rollout.canary(0.5).unwrap();
    tick(service, clock);
    rollout.promote().unwrap();
    tick(service, clock);
    let _ = service.acting_as("ada").rollback("complaints");
    tick(service, clock);
}

#[test]
fn every_event_is_logged_in_order_and_a_layer_that_calls_back_hangs_nothing() {
    let log = Log::default();
    logged_by(&log, || {
        let clock = clock();
        let service =
            builder(&clock).live("v1", says("one", 0.1)).shadowing(Shadowing::new()).build().unwrap();
        *log.service.lock() = Some(service.clone());
        life(&service, &clock);
        log.service.lock().take();
        tick(&service, &clock);
        let told = service.events();
        let logged = log.logged.lock();
        let sequences: Vec<_> = logged
            .iter()
            .map(|one| field(one, "sequence").unwrap_or_else(|| panic!("{one:?}")).to_owned())
            .collect();
        assert_eq!(sequences, told.iter().map(|event| event.sequence.to_string()).collect::<Vec<_>>());
        for (one, event) in logged.iter().zip(&told) {
            assert_eq!(field(one, "event"), Some(event.kind.name()));
            assert_eq!(field(one, "message"), Some(&*event.to_string()));
            assert_eq!(field(one, "model"), Some("late"));
            assert_eq!(field(one, "actor"), event.actor.as_deref());
            assert_eq!(field(one, "version"), event.kind.version().as_ref().map(|version| version.as_str()));
        }
        let level = |name: &str| logged.iter().find(|one| field(one, "event") == Some(name)).unwrap().0;
        assert_eq!([level("promoted"), level("rolled_back"), level("frozen")], [Level::INFO; 3]);
        assert!(told.iter().filter(|event| event.kind.name() == "frozen").count() == OWN_EVENTS);
    });
}

#[test]
fn a_layer_that_panics_ends_nothing() {
    let log = Log { panics: true, ..Log::default() };
    logged_by(&log, || {
        let clock = clock();
        let service =
            builder(&clock).live("v1", says("one", 0.1)).shadowing(Shadowing::new()).build().unwrap();
        life(&service, &clock);
        assert_eq!(service.live(), "v1");
        assert_eq!(log.logged.lock().len(), service.events().len());
    });
}

#[test]
fn what_automation_takes_back_is_a_warning() {
    let log = Log::default();
    logged_by(&log, || {
        taken_back();
        let logged = log.logged.lock();
        let taken_back = logged.iter().find(|one| field(one, "event") == Some("tripped"));
        assert_eq!(taken_back.map(|(level, _)| *level), Some(Level::WARN), "{logged:#?}");
    });
}

/// Bug: a rollout that was paused because the process had crashed was logged at INFO, like one that a person pauses. Cause: the
/// level followed from the kind alone. Fix: what nobody who is named has paused is a warning.
#[test]
fn a_pause_by_nobody_who_is_named_is_a_warning() {
    let log = Log::default();
    logged_by(&log, || {
        let service = builder(&clock()).live("v1", says("one", 0.1)).build().unwrap();
        service.acting_as("ada").stage("v2", says("two", 0.2)).unwrap().pause("a look").unwrap();
        service.tick();
        service
            .stage("v3", says("three", 0.3))
            .unwrap()
            .pause("the process crashed while this version was on trial")
            .unwrap();
        service.tick();
        let logged = log.logged.lock();
        let paused = logged.iter().filter(|one| field(one, "event") == Some("paused"));
        assert_eq!(paused.map(|one| one.0).collect::<Vec<_>>(), [Level::INFO, Level::WARN]);
    });
}

/// Bug: a thread that was given up, and a pipeline that does not fit its own model, were logged at INFO, where nobody looks. Cause: neither had
/// a level of its own. Fix: both are warnings.
#[test]
fn a_thread_that_is_given_up_and_a_pipeline_that_does_not_fit_are_warnings() {
    let log = Log::default();
    logged_by(&log, || {
        let level = |name: &str| {
            let logged = log.logged.lock();
            logged.iter().find(|one| field(one, "event") == Some(name)).map(|(level, _)| *level)
        };
        let clock = clock();
        let deadline = Duration::from_millis(50);
        let limits = Limits::new().candidate_deadline(deadline).candidates_beside(true);
        let built =
            builder(&clock).live("v1", says("one", 0.1)).inputs(Inputs::new().copied()).limits(limits);
        let service = built.build().unwrap();
        let (leave, may_leave) = std::sync::mpsc::channel::<()>();
        let (may_leave, is_inside) = (Mutex::new(may_leave), Arc::new(AtomicBool::new(false)));
        let inside = Arc::clone(&is_inside);
        let hangs = closure("two@1", move |_: &f64| {
            inside.store(true, Ordering::SeqCst);
            let _ = may_leave.lock().recv();
            Ok(0.9)
        });
        service.stage("v2", hangs).unwrap().canary(1.0).unwrap();
        std::thread::scope(|scope| {
            // Within, so that a test which fails lets it go.
            let leave = leave;
            scope.spawn(|| service.predict(&0.5).unwrap());
            wait_until("it hangs", || is_inside.load(Ordering::SeqCst));
            clock.advance(seconds(1));
            service.tick();
            drop(leave);
        });
        assert_eq!(level("thread_abandoned"), Some(Level::WARN), "{:#?}", log.logged.lock());

        let cause = Box::new(InputError::Refused { reason: "no input of that name".into() });
        let misfit = move |_: &f64| Err::<f64, _>(ModelError::Signature { cause: cause.clone() });
        let service = builder(&clock).live("v1", closure("one@1", misfit)).build().unwrap();
        service.predict(&0.5).unwrap_err();
        service.tick();
        assert_eq!(level("pipeline_misfit"), Some(Level::WARN), "{:#?}", log.logged.lock());
    });
}

#[test]
fn a_span_of_the_hosts_learns_who_answered() {
    let log = Log::default();
    logged_by(&log, || {
        let service = ModelHandle::builder("late").live("v1", says("one", 0.1)).build().unwrap();
        let span = tracing::info_span!(
            target: "test",
            "score",
            feature_flag.key = "late",
            feature_flag.result.variant = tracing::field::Empty,
            switchback.route = tracing::field::Empty,
            switchback.prediction_id = tracing::field::Empty,
        );
        let answer = span.in_scope(|| service.predict(&0.5)).unwrap();
        answer.record(&span);
        let id = answer.id().to_string();
        let expected = [
            ("feature_flag.key", "late"),
            ("feature_flag.result.variant", "v1"),
            ("switchback.route", "live"),
            ("switchback.prediction_id", id.as_str()),
        ];
        let spans = log.spans.lock();
        let (name, fields) = spans.iter().find(|(name, _)| name == "score").unwrap();
        let fields: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!((name.as_str(), &fields[..]), ("score", &expected[..]));
        assert!(log.logged.lock().iter().all(|one| field(one, "event").is_some()), "a request is no event");
    });
}

/// A model that is cold once it is retained.
struct Steps(Mutex<Tier>);

impl Model<f64, f64> for Steps {
    fn predict(&self, _: &f64) -> Result<f64, ModelError> {
        Ok(0.5)
    }

    fn identity(&self) -> Identity {
        Identity::of([("steps", &b"1"[..])])
    }

    fn lifecycle(&self) -> Option<&dyn Lifecycle> {
        Some(self)
    }
}

impl Lifecycle for Steps {
    fn tier(&self) -> Tier {
        *self.0.lock()
    }

    fn wake(&self) -> Result<(), LoadError> {
        *self.0.lock() = Tier::Warm;
        Ok(())
    }

    fn settle(&self, wanted: &TargetTier) -> Result<Tier, LoadError> {
        *self.0.lock() = wanted.tier();
        Ok(wanted.tier())
    }

    fn description(&self) -> Description {
        let mut description = Description::default();
        description.prepared = true;
        description
    }
}

/// Everything that has a span.
fn what_takes_long(log: &Log) {
    let clock = clock();
    #[cfg(feature = "state")]
    let folder = Folder::new();
    let tiers = Tiers::new().hot_for(seconds(0)).warm_for(seconds(0));
    let built =
        builder(&clock).live("v1", Steps(Mutex::new(Tier::Hot))).retention(Retention::new().tiers(tiers));
    #[cfg(feature = "state")]
    let built = built.state(&folder.0);
    let service = built.build().unwrap();
    *log.service.lock() = Some(service.clone());
    service.stage("v2", says("two", 0.9)).unwrap().promote().unwrap();
    #[cfg(feature = "state")]
    service.checkpoint().unwrap();
    tick(&service, &clock);
    tick(&service, &clock);
    let _ = service.rollback("complaints");
    assert_eq!(service.live(), "v1");
    log.service.lock().take();
}

#[test]
fn what_takes_long_is_a_span_and_a_layer_that_calls_back_hangs_none() {
    let log = Log::default();
    logged_by(&log, || {
        what_takes_long(&log);

        let (spans, lies_in) = (log.spans.lock(), log.lies_in.lock());
        let found = |name: &str, version: Option<&str>| {
            let has = |fields: &[(String, String)], key: &str, value: &str| {
                fields.iter().any(|(field, found)| (field.as_str(), found.as_str()) == (key, value))
            };
            let is = |(found, fields): &Spanned| {
                found == name
                    && version
                        .is_none_or(|version| has(fields, "version", version) && has(fields, "model", "late"))
            };
            spans.iter().position(is).unwrap_or_else(|| panic!("{name} in {spans:?}"))
        };
        let id = |place: usize| Id::from_u64(place as u64 + 1);
        let stage = found("switchback.stage", Some("v2"));
        assert_eq!(lies_in[stage], (Level::INFO, None, true), "it lies in what the host is in");
        let within = |of: usize| {
            let children =
                spans.iter().zip(lies_in.iter()).filter(|(_, (_, parent, _))| *parent == Some(id(of)));
            children.map(|((name, _), _)| name.as_str()).collect::<Vec<_>>()
        };
        assert_eq!(within(stage), ["open", "load", "warm_up"]);
        assert_eq!(within(found("switchback.stage", Some("v1"))), ["load", "warm_up"]);
        assert_eq!(lies_in[found("switchback.tick", None)].0, Level::TRACE);
        let wake = &lies_in[found("switchback.wake", Some("v1"))];
        assert_eq!((wake.0, &wake.1), (Level::INFO, &None));
        #[cfg(feature = "state")]
        assert_eq!(lies_in[found("switchback.checkpoint", None)].0, Level::DEBUG);
        // Whatever is entered is left, as often.
        let steps = log.steps.lock();
        for place in 0..spans.len() {
            let count = |entered| steps.iter().filter(|step| **step == (id(place), entered)).count();
            assert_eq!(count(true), count(false), "{:?}", spans[place]);
        }
    });
}
