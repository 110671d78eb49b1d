//! Keys: what was randomised is the user, so what is counted is the user.

use std::collections::BTreeSet;

use switchback::events::EventKind;
use switchback::guard;
use switchback::guard::Verdict;
use switchback::options::Limits;
use switchback::testing::Scripted;
use switchback::{Clock, Outcome, Phase, Rollout, Route, Step, options::ErrorBudget};

use crate::common::*;

const USERS: usize = 2_000;

/// A user's number: a few come often (Zipf).
fn user(chance: &mut Chance) -> usize {
    ((USERS as f64 + 1.0).powf(chance.next()) - 1.0) as usize % USERS
}

/// How often a version is wrong about a user, who is always the same: between never and half of the time.
fn wrong_about(user: usize) -> f64 {
    0.5 * Chance(user as u64).next()
}

fn always_yes(name: &str) -> Scripted<f64, f64> {
    says(name, 0.9)
}

fn build(clock: &Clock, seed: u64) -> (Service, Rollout<f64, f64>) {
    let alpha = ErrorBudget::new().harm(0.05).promotion(0.05);
    let service =
        builder(clock).seed(seed).error_budget(alpha).live("v1", always_yes("one")).build().unwrap();
    // So that keys are known to come before the canary begins.
    service.predict_keyed("somebody", &0.0).unwrap();
    tick(&service, clock);
    let rollout =
        service.stage("v2", always_yes("two")).unwrap().guard(guard::accuracy().at_most_times_live(1.0));
    (service, rollout)
}

fn drive(service: &Service, clock: &Clock, chance: &mut Chance, requests: usize, worse: f64) {
    for number in 0..requests {
        let user = user(chance);
        let answer = service.predict_keyed(format!("user-{user}"), &0.0).unwrap();
        let extra = if answer.version() == "v2" { worse } else { 0.0 };
        let wrong = chance.next() < wrong_about(user) + extra;
        service.feedback(answer.id(), Outcome::class(u16::from(!wrong)));
        if number % 50 == 49 {
            tick(service, clock);
        }
    }
    tick(service, clock);
}

/// Users differ, and some come a hundred times: a test that counted requests would fire in one healthy rollout in six.
#[test]
#[ignore = "long: many rollouts"]
fn users_who_come_often_are_no_evidence_against_an_equal_candidate() {
    let mut taken_back = 0;
    for seed in 0..40 {
        let clock = clock();
        let (service, rollout) = build(&clock, seed);
        rollout.canary(0.1).unwrap();
        drive(&service, &clock, &mut Chance(seed + 100), 6_000, 0.0);
        taken_back += u32::from(rollout.phase().is_over());
    }
    assert!(taken_back <= 6, "{taken_back} of 40 with an error of 5 %");
}

/// Each key counts once; what is harmful is seen all the same.
#[test]
fn a_harm_to_users_is_seen_on_users() {
    let clock = clock();
    let (service, rollout) = build(&clock, 1);
    rollout.canary(0.2).unwrap();
    drive(&service, &clock, &mut Chance(7), 12_000, 0.4);
    assert_eq!(rollout.phase(), Phase::Aborted);
    let evidence = events(&service, |kind| match kind {
        EventKind::GuardFailed { evidence, .. } => Some(evidence.clone()),
        _ => None,
    });
    assert!(evidence[0].samples < USERS as u64 / 4, "users, not requests: {}", evidence[0]);
}

/// Each step enrols as many of live's users as of the candidate's, and they count from then on; all of it is 1 to 1.
#[test]
fn users_are_enrolled_in_pairs() {
    let clock = clock();
    let (service, rollout) = build(&clock, 2);
    let mut on_canary = BTreeSet::new();
    let mut come = |weight: f64| {
        rollout.canary(weight).unwrap();
        for user in 0..USERS {
            for _ in 0..12 {
                let answer = service.predict_keyed(format!("user-{user}"), &0.0).unwrap();
                if answer.route() == Route::Canary {
                    on_canary.insert(user);
                }
            }
        }
        tick(&service, &clock);
        on_canary.len() as u64
    };
    let first = come(0.1);
    let status = rollout.status().unwrap();
    // About as many of live's as of the candidate's.
    let control = status.keys - first;
    assert!((150..250).contains(&first) && (150..250).contains(&control), "{first} {control}");
    let second = come(0.3);
    let keys = rollout.status().unwrap().keys;
    assert!((520..680).contains(&second) && (520..680).contains(&(keys - second)), "{second} {keys}");
}

/// Requests with a key and requests without one are different units, and neither is taken for the other.
#[test]
fn requests_with_and_without_a_key_are_counted_apart() {
    let clock = clock();
    let (service, rollout) = build(&clock, 3);
    rollout.canary(0.5).unwrap();
    let ask = |keyed: bool| {
        for number in 0..400 {
            let answer = match keyed {
                // One user, again and again.
                true => service.predict_keyed("the same", &0.0).unwrap(),
                false => service.predict(&0.0).unwrap(),
            };
            service.feedback(answer.id(), Outcome::class(u16::from(number % 4 != 0)));
        }
        tick(&service, &clock);
        let evidence = rollout.status().unwrap().evidence[0].clone();
        evidence.samples + evidence.live_samples
    };
    assert_eq!(ask(true), 1, "one user is one unit");
    assert_eq!(ask(false), 401);
}

/// Statistics 5.1: units that do not come in the shares in which traffic was split say that something is wrong with the
/// figures. Here a host has already filtered its users by the same hash, so most that come are the candidate's.
#[test]
fn users_who_do_not_come_in_their_shares_block_a_promotion() {
    let clock = clock();
    let (service, rollout) = build(&clock, 4);
    let rollout = rollout.guard(guard::error_rate().at_most(0.05));
    rollout.run(plan([Step::canary(0.5).unwrap()])).unwrap();
    // Another handle that splits in the same way tells who would be on the canary.
    let twin_clock = crate::common::clock();
    let (twin, twins) = build(&twin_clock, 4);
    twins.canary(0.5).unwrap();
    let mut came = 0;
    for user in 0..6_000 {
        let key = format!("user-{user}");
        let canary = twin.predict_keyed(&key, &0.0).unwrap().route() == Route::Canary;
        if canary || user % 2 == 0 {
            came += 1;
            let answer = service.predict_keyed(&key, &0.0).unwrap();
            service.feedback(answer.id(), Outcome::class(1));
        }
        if came % 50 == 49 {
            tick(&service, &clock);
        }
    }
    assert_eq!(service.live(), "v1");
    let evidence = rollout.status().unwrap().evidence.clone();
    let noted = evidence.iter().filter_map(|evidence| evidence.note.as_ref());
    assert!(
        noted.clone().count() > 0 && noted.clone().all(|note| note.contains("telemetry was lost")),
        "{evidence:?}"
    );
}

/// A streak of failures for one user is one failed unit, and as one it is evidence of little.
#[test]
fn one_user_s_trouble_is_one_unit() {
    let clock = clock();
    let service = builder(&clock)
        .live("v1", says("one", 0.1))
        .limits(Limits::new().circuit_breaker(0))
        .build()
        .unwrap();
    service.predict_keyed("somebody", &0.0).unwrap();
    tick(&service, &clock);
    let candidate = says("two", 0.9);
    let script = candidate.control();
    let rollout = service.stage("v2", candidate).unwrap().guard(guard::error_rate().at_most(0.01));
    rollout.canary(0.9).unwrap();
    let unlucky = (0..100).map(|user| format!("user-{user}"));
    let unlucky =
        unlucky.into_iter().find(|key| service.predict_keyed(key, &0.0).unwrap().route() == Route::Canary);
    script.fail();
    for _ in 0..300 {
        service.predict_keyed(unlucky.as_ref().unwrap(), &0.0).unwrap();
    }
    tick(&service, &clock);
    let evidence = rollout.status().unwrap().evidence[0].clone();
    assert_eq!(evidence.verdict, Verdict::Inconclusive, "{evidence}");
    assert_eq!(rollout.status().unwrap().candidate.requests, 301);
}
