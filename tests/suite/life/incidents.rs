//! What both versions suffer condemns neither.

use std::time::Duration;

use switchback::guard;

use super::each_seed;
use crate::world::{Ask, Fate, Reply, Version, World, anybody, clock, service, untold, version};

const MILLISECOND: Duration = Duration::from_millis(1);

/// Two versions that fail on the same requests, and a canary of 50 % under the breaker that a handle has by default.
fn failing_together(seed: u64, seconds: u64, fails: fn(&Ask) -> bool) -> Fate {
    let clock = clock();
    let on = |name: &str| -> Version {
        version(name, &clock, move |ask: &Ask| {
            (if fails(ask) { Reply::Fails } else { Reply::yes(0.9) }, MILLISECOND)
        })
    };
    let handle = service(&clock, seed).live("v1", on("one")).build().unwrap();
    let mut world = World::new(handle, &clock, seed);
    let rule = guard::error_rate().at_most_times_live(1.25);
    let rollout = world.handle.stage("v2", on("two")).unwrap().guard(rule);
    rollout.canary(0.5).unwrap();
    world.live_through(seconds, 100, anybody, untold);
    world.fate(&rollout)
}

/// Bug: where both versions failed on the same tenth of the inputs, the breaker tripped and the candidate was quarantined in
/// 143 runs of 400. Cause: five failures in a row were taken for the candidate's, whoever else could answer. Fix: ..
#[test]
#[ignore = "issue 13: not mended yet"]
fn inputs_that_live_fails_on_too_trip_no_breaker() {
    // Of three tenths it takes a hundredth of the requests until five have failed in a row.
    each_seed(12, |seed| failing_together(seed, 30, |ask| ask.chance(1) < 0.3)).are_rarely_taken_back();
}

/// Bug: an outage of 60 requests behind both versions had the candidate quarantined 400 times of 400. Cause: the breaker knew
/// nothing of live. Fix: ..
#[test]
#[ignore = "issue 13: not mended yet"]
fn an_outage_behind_both_versions_quarantines_nobody() {
    each_seed(20, |seed| failing_together(seed, 30, |ask| (1_000..1_060).contains(&ask.number)))
        .are_rarely_taken_back();
}
