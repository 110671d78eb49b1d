//! Several candidates at once, and who gets how much.

use switchback::events::{Cause, EventKind};
use switchback::options::Threads;
use switchback::plan::Allocation;
use switchback::{
    Clock, Kpi, Outcome, Phase, Plan, Rollout, RolloutError, Step, guard, options::ErrorBudget,
};

use crate::common::*;

type Rollouts = Vec<Rollout<f64, f64>>;

fn ranking(seed: u64, candidates: &[&str]) -> (Service, Rollouts, Clock) {
    let clock = clock();
    let service = builder(&clock)
        .seed(seed)
        .error_budget(ErrorBudget::new().harm(0.05).promotion(0.05))
        .live("v1", says("v1", 0.1))
        .task(switchback::Task::binary(|probability: &f64| *probability).kpi(Kpi::rate("click").unwrap()))
        .build()
        .unwrap();
    let stage = |name: &&str| {
        let rollout = service.stage(name, says(name, 0.5)).unwrap();
        rollout.guard(guard::kpi("click").at_most_below_live(0.0))
    };
    let rollouts = candidates.iter().map(stage).collect();
    (service, rollouts, clock)
}

/// Who is shown a version clicks as often as it says.
fn drive(
    service: &Service,
    clock: &Clock,
    chance: &mut Chance,
    ticks: usize,
    clicks: impl Fn(&str, usize) -> f64,
) {
    for now in 0..ticks {
        for _ in 0..20 {
            let answer = service.predict(&0.0).unwrap();
            let clicked = chance.next() < clicks(answer.version().as_str(), now);
            service.feedback(answer.id(), Outcome::kpi("click", f64::from(u8::from(clicked))));
        }
        tick(service, clock);
    }
}

fn weight(rollout: &Rollout<f64, f64>) -> f64 {
    rollout.status().unwrap().weight.fraction()
}

/// Traffic goes to the best two, everybody keeps the floor, and who is shown to be worse is taken off.
#[test]
fn traffic_goes_where_it_tells_most_and_the_worse_are_dropped() {
    let (service, rollouts, clock) = ranking(7, &["v2", "v3", "v4"]);
    let all: Vec<&Rollout<f64, f64>> = rollouts.iter().collect();
    let division = Allocation::top_two(guard::kpi("click")).floor(0.1).unwrap().every(seconds(10));
    service.allocate(division, &all).unwrap();
    assert!(all.iter().all(|rollout| (weight(rollout) - 0.25).abs() < 0.02), "alike for a start");
    let clicks = |version: &str, _| match version {
        "v2" => 0.5,
        "v3" => 0.42,
        "v4" => 0.1,
        _ => 0.4,
    };
    let mut chance = Chance(1);
    drive(&service, &clock, &mut chance, 25, clicks);
    let worst = rollouts[2].status().unwrap();
    assert!(worst.phase.is_over() || weight(&rollouts[2]) < 0.13, "{worst:?}");
    drive(&service, &clock, &mut chance, 300, clicks);
    let caused = |rollout: &Rollout<f64, f64>| rollout.status().unwrap().cause;
    assert!(
        matches!(caused(&rollouts[2]), Some(Cause::Eliminated | Cause::Guard { .. })),
        "{:?}",
        caused(&rollouts[2])
    );
    assert_eq!(rollouts[0].phase(), Phase::Canary, "the best one stays");
    assert!(weight(&rollouts[0]) > 0.3, "{}", weight(&rollouts[0]));
    let weights = events(&service, |kind| match kind {
        EventKind::PhaseChanged { weight, .. } => Some(weight.fraction()),
        _ => None,
    });
    assert!(weights.iter().all(|weight| *weight >= 0.1 - 1e-9), "{weights:?}");
    rollouts[0].promote().unwrap();
    drive(&service, &clock, &mut chance, 30, clicks);
    assert_eq!(service.live(), "v2");
}

/// Shares follow the figures while everything moves with the hour: guards on equal versions fire no more often than they
/// say. (A comparison of pooled means would.)
#[test]
fn guards_stay_valid_while_shares_follow_the_figures() {
    let taken_off = taken_off_while_shares_follow(8);
    assert!(taken_off <= 2, "{taken_off} of 16, two to a rollout with an error of 5 %");
}

#[test]
#[ignore = "long: 40 rollouts"]
fn guards_stay_valid_over_forty_rollouts_whose_shares_follow_the_figures() {
    let taken_off = taken_off_while_shares_follow(40);
    assert!(taken_off <= 5, "{taken_off} of 80, two to a rollout with an error of 5 %");
}

fn taken_off_while_shares_follow(rollouts_of_two: u64) -> usize {
    let mut taken_off = 0;
    for seed in 0..rollouts_of_two {
        let (service, rollouts, clock) = ranking(seed, &["v2", "v3"]);
        let all: Vec<&Rollout<f64, f64>> = rollouts.iter().collect();
        let division = Allocation::top_two(guard::kpi("click")).every(seconds(5)).eliminate(0.0).unwrap();
        service.allocate(division, &all).unwrap();
        let mut chance = Chance(seed + 50);
        drive(&service, &clock, &mut chance, 150, |_, now| 0.4 + 0.3 * (now as f64 / 20.0).sin());
        taken_off += rollouts.iter().filter(|rollout| rollout.phase().is_over()).count();
    }
    taken_off
}

/// The best is eliminated no more often than was asked for.
#[test]
fn equal_versions_are_seldom_eliminated() {
    let eliminated = eliminated_of_equals(8);
    assert!(eliminated <= 2, "{eliminated} of 8 with an error of 5 %");
}

#[test]
#[ignore = "long: 40 rollouts"]
fn equal_versions_are_seldom_eliminated_in_forty_rollouts() {
    let eliminated = eliminated_of_equals(40);
    assert!(eliminated <= 6, "{eliminated} of 40 with an error of 5 %");
}

fn eliminated_of_equals(rollouts_of_two: u64) -> usize {
    let mut eliminated = 0;
    for seed in 0..rollouts_of_two {
        let (service, rollouts, clock) = ranking(seed, &["v2", "v3"]);
        let unguarded: Rollouts = rollouts;
        let all: Vec<&Rollout<f64, f64>> = unguarded.iter().collect();
        service.allocate(Allocation::top_two(guard::kpi("click")).every(seconds(5)), &all).unwrap();
        drive(&service, &clock, &mut Chance(seed + 90), 150, |_, _| 0.3);
        let causes = unguarded.iter().filter_map(|rollout| rollout.status().unwrap().cause);
        eliminated += causes.filter(|cause| *cause == Cause::Eliminated).count();
    }
    eliminated
}

#[test]
fn what_cannot_be_divided_is_refused() {
    let (service, rollouts, _) = ranking(7, &["v2", "v3"]);
    let refused =
        |allocation, rollouts: &[&Rollout<f64, f64>]| service.allocate(allocation, rollouts).unwrap_err();
    let by_clicks = || Allocation::top_two(guard::kpi("click"));
    assert!(matches!(refused(by_clicks(), &[]), RolloutError::Guard { .. }));
    assert!(matches!(
        refused(Allocation::top_two(guard::kpi("sales")), &[&rollouts[0]]),
        RolloutError::Guard { .. }
    ));
    rollouts[1].run(Plan::ramp([0.1]).unwrap().without_shadow().unwrap().unguarded()).unwrap();
    assert!(matches!(refused(by_clicks(), &[&rollouts[0], &rollouts[1]]), RolloutError::Refused(_)));
    let untended = builder(&clock())
        .task(switchback::Task::binary(|probability: &f64| *probability).kpi(Kpi::rate("click").unwrap()))
        .live("v1", says("v1", 0.1))
        .threads(Threads::none())
        .build()
        .unwrap();
    let rollout = untended.stage("v2", says("v2", 0.2)).unwrap();
    assert_eq!(untended.allocate(by_clicks(), &[&rollout]), Err(RolloutError::NobodyTicks));
}

/// Bug: of three equal versions the healthy candidate was eliminated, where one answer in ten of the other's had no truth. Cause: clicks were held
/// against the shares in which traffic was divided, so that whoever has more labels has more of what does not click too. Fix: against the
/// shares in which labels came.
#[test]
fn a_candidate_whose_labels_all_come_is_not_worse_for_it() {
    let mut eliminated = 0;
    for seed in 0..4 {
        let (service, rollouts, clock) = ranking(seed, &["v2", "v3"]);
        let all: Vec<&Rollout<f64, f64>> = rollouts.iter().collect();
        let division = Allocation::top_two(guard::kpi("click")).every(seconds(30));
        service.allocate(division, &all).unwrap();
        let mut chance = Chance(seed + 90);
        for _ in 0..200 {
            for _ in 0..150 {
                let answer = service.predict(&0.0).unwrap();
                let (clicked, lost) = (chance.next() < 0.1, chance.next() < 0.1);
                if !(lost && answer.version() == "v2") {
                    service.feedback(answer.id(), Outcome::kpi("click", f64::from(u8::from(clicked))));
                }
            }
            tick(&service, &clock);
        }
        let cause = rollouts[1].status().unwrap().cause;
        eliminated += u32::from(matches!(cause, Some(Cause::Eliminated)));
    }
    assert_eq!(eliminated, 0);
}

/// Candidates that nothing guards, each staged and no more.
fn unguarded(candidates: &[&str]) -> (Service, Rollouts, Clock) {
    let clock = clock();
    let service = builder(&clock)
        .live("v1", says("v1", 0.1))
        .task(switchback::Task::binary(|probability: &f64| *probability).kpi(Kpi::rate("click").unwrap()))
        .build()
        .unwrap();
    let rollouts = candidates.iter().map(|name| service.stage(name, says(name, 0.5)).unwrap()).collect();
    (service, rollouts, clock)
}

fn by_clicks() -> Allocation {
    Allocation::top_two(guard::kpi("click")).floor(0.1).unwrap().every(seconds(10))
}

/// Bug: a candidate was eliminated for the answers of another one that had been taken off. Cause: labels that came late were counted by the place
/// of the candidate and the number of the division alone, and after a candidate was gone, or another allocation begun, these were others'.
/// Fix: labels say in which round of which allocation their requests were made, and those of another one are passed over.
#[test]
fn late_labels_of_a_candidate_that_is_gone_count_for_nobody_else() {
    for way in ["taken off", "allocated again", "promoted"] {
        let (service, mut rollouts, clock) = unguarded(&["v2", "v3", "v4"]);
        let all: Vec<&Rollout<f64, f64>> = rollouts.iter().collect();
        service.allocate(by_clicks(), &all).unwrap();
        let mut late = Vec::new();
        for _ in 0..2_000 {
            let answer = service.predict(&0.0).unwrap();
            if answer.version() == "v2" {
                late.push(answer.id());
            }
        }
        match way {
            "taken off" => drop(rollouts[0].rollback("by hand")),
            "allocated again" => {
                let _ = rollouts[0].rollback("by hand");
                service.allocate(by_clicks(), &[&rollouts[1], &rollouts[2]]).unwrap();
            }
            _ => {
                rollouts[0].promote().unwrap();
                rollouts =
                    ["v0", "v5", "v6"].map(|name| service.stage(name, says(name, 0.5)).unwrap()).into();
                service.allocate(by_clicks(), &[&rollouts[1], &rollouts[2]]).unwrap();
            }
        }
        tick(&service, &clock);
        for id in late {
            service.feedback(id, Outcome::kpi("click", 0.0));
        }
        drive(&service, &clock, &mut Chance(3), 60, |_, _| 0.5);
        for rollout in &rollouts[1..] {
            let status = rollout.status().unwrap();
            assert_eq!((status.phase, status.cause), (Phase::Canary, None), "{way}: {}", rollout.version());
        }
    }
}

fn weights(rollouts: &[Rollout<f64, f64>]) -> Vec<f64> {
    rollouts.iter().map(weight).collect()
}

/// Bug: `allocate` exposed candidates beside a guard that had been refused, took rollouts of another handle for its own of the same number, one
/// rollout twice, and a floor that was then lower than was asked for. Cause: nothing looked. Fix: each is an error, and nothing has changed.
#[test]
fn what_an_allocation_cannot_keep_is_an_error_that_changes_nothing() {
    let (service, rollouts, _) = unguarded(&["v2", "v3"]);
    let (_other, others, _) = unguarded(&["v8", "v9"]);
    let stranger = &others[1];
    let refuses_guard = service.stage("v4", says("v4", 0.5)).unwrap().guard(guard::error_rate().at_most(7.0));
    let (epoch, told) = (service.status().epoch, service.events().len());
    let refused = |allocation, rollouts: &[&Rollout<f64, f64>], why: &str| {
        let error = service.allocate(allocation, rollouts).map_err(|error| error.to_string());
        assert!(error.as_ref().is_err_and(|error| error.contains(why)), "{error:?}");
        let status = service.status();
        assert!(status.rollouts.iter().all(|rollout| rollout.phase == Phase::Staged), "{status:?}");
        assert_eq!((status.epoch, service.events().len()), (epoch, told));
    };
    let [v2, v3] = [&rollouts[0], &rollouts[1]];
    refused(by_clicks(), &[v2, &refuses_guard], "error rate");
    refused(by_clicks(), &[v2, stranger], "the rollout of v9 is another handle's");
    refused(by_clicks(), &[v2, v3, v2], "the rollout of v2 is given twice");
    let floor = |share| by_clicks().floor(share).unwrap();
    refused(
        floor(0.5),
        &[v2, v3],
        "the floor of an allocation is 0.5: it must be at most 0.328125 among 3 versions, live included",
    );
    service.allocate(floor(0.328), &[v2, v3]).unwrap();
    assert!(weights(&rollouts).iter().all(|weight| *weight > 0.328));
}

fn left_to_live(service: &Service) -> f64 {
    1.0 - service.status().rollouts.iter().map(|rollout| rollout.weight.fraction()).sum::<f64>()
}

/// Bug: an allocation took all that another canary had left of live, so that no guard of anyone counted anything. Cause: nothing asked for the room
/// that others leave. Fix: that room is what is divided, live's floor first, and where floors do not fit at the start it is an error.
#[test]
fn an_allocation_divides_what_other_canaries_leave_and_keeps_lives_floor() {
    let (service, rollouts, clock) = unguarded(&["v2", "v3", "v4"]);
    let (other, divided) = (&rollouts[2], [&rollouts[0], &rollouts[1]]);
    other.canary(0.8).unwrap();
    let refused = service.allocate(by_clicks(), &divided).unwrap_err();
    assert!(matches!(refused, RolloutError::NotEnoughLeft { left, .. } if left == share(0.2)), "{refused}");
    assert_eq!(weights(&rollouts), [0.0, 0.0, 0.8], "nothing has changed");
    other.canary(0.5).unwrap();
    service.allocate(by_clicks(), &divided).unwrap();
    assert_eq!(weight(other), 0.5);
    assert!(left_to_live(&service) >= 0.1, "{:?}", weights(&rollouts));
    assert!(weights(&rollouts)[..2].iter().all(|weight| *weight >= 0.1));

    // Another canary grows into what live has.
    let mut chance = Chance(5);
    other.canary(0.5 + left_to_live(&service)).unwrap();
    assert!(left_to_live(&service) < 1e-9);
    drive(&service, &clock, &mut chance, 11, |_, _| 0.5);
    assert!(left_to_live(&service) >= 0.1, "{:?}", weights(&rollouts));
    assert!(weight(other) > 0.6, "what others have stays theirs");
    // And back: what it gives up is divided too.
    other.canary(0.1).unwrap();
    drive(&service, &clock, &mut chance, 11, |_, _| 0.5);
    let (live, shares) = (left_to_live(&service), weights(&rollouts));
    assert!(live + shares[0] + shares[1] > 0.85 && (0.1..0.6).contains(&live), "{shares:?}");
}

/// Bug: during a freeze the others were given more when a candidate was gone. Cause: traffic was divided among those that stayed, whatever was frozen.
/// Fix: they keep the shares that they have, and traffic is divided anew once the freeze is over.
#[test]
fn while_frozen_nobody_is_given_what_a_candidate_leaves() {
    let (service, rollouts, clock) = unguarded(&["v2", "v3", "v4"]);
    let all: Vec<&Rollout<f64, f64>> = rollouts.iter().collect();
    service.allocate(by_clicks(), &all).unwrap();
    service.freeze("quarter end");
    let _ = rollouts[0].rollback("by hand");
    let clicks = |version: &str, _| if version == "v3" { 0.0 } else { 0.5 };
    drive(&service, &clock, &mut Chance(5), 9, clicks);
    assert_eq!(weights(&rollouts), [0.0, 0.25, 0.25]);
    drive(&service, &clock, &mut Chance(6), 120, clicks);
    assert_eq!(rollouts[1].status().unwrap().cause, Some(Cause::Eliminated), "lowering is not frozen");
    assert_eq!(weights(&rollouts), [0.0, 0.0, 0.25]);
    service.unfreeze();
    tick(&service, &clock);
    assert!(weight(&rollouts[2]) > 0.3, "{:?}", weights(&rollouts));
    assert!(left_to_live(&service) >= 0.1);
}

/// Bug: a candidate that was paused was given more. Cause: its share was set like the others'. Fix: it is given no more than it has until it is resumed.
#[test]
fn a_candidate_that_is_paused_is_given_no_more() {
    let (service, rollouts, clock) = unguarded(&["v2", "v3", "v4"]);
    let all: Vec<&Rollout<f64, f64>> = rollouts.iter().collect();
    service.allocate(by_clicks(), &all).unwrap();
    rollouts[1].pause("looked at").unwrap();
    let _ = rollouts[0].rollback("by hand");
    let mut chance = Chance(5);
    drive(&service, &clock, &mut chance, 5, |_, _| 0.5);
    let shares = weights(&rollouts);
    assert!(shares[1] == 0.25 && shares[2] > 0.3, "{shares:?}");
    rollouts[1].resume().unwrap();
    drive(&service, &clock, &mut chance, 11, |version, _| if version == "v4" { 0.0 } else { 0.5 });
    assert!(weight(&rollouts[1]) > 0.25, "{:?}", weights(&rollouts));
}

/// Bug: a plan was run on a candidate of an allocation, and each took back what the other did. Cause: an allocation refused a rollout that followed a
/// plan, and a plan was never held against an allocation. Fix: whoever is given a plan leaves the allocation, and whoever is allocated its plan.
#[test]
fn a_candidate_follows_a_plan_or_an_allocation_and_never_both() {
    let (service, rollouts, clock) = unguarded(&["v2", "v3", "v4"]);
    let all: Vec<&Rollout<f64, f64>> = rollouts.iter().collect();
    let held = plan([Step::canary(0.15).unwrap().min_predictions(1_000_000)]);
    rollouts[0].run(held.clone()).unwrap();
    let refused = service.allocate(by_clicks(), &all).unwrap_err();
    assert!(matches!(refused, RolloutError::Refused(_)), "{refused}");
    rollouts[0].pause("the allocation has it now").unwrap();
    service.allocate(by_clicks(), &all).unwrap();
    assert_eq!(weights(&rollouts), [0.25; 3]);
    let status = rollouts[0].status().unwrap();
    assert_eq!((status.paused, status.step), (false, None));
    let mut chance = Chance(5);
    drive(&service, &clock, &mut chance, 2, |_, _| 0.5);
    assert!(weight(&rollouts[0]) > 0.2, "its plan is over");

    rollouts[0].run(held).unwrap();
    assert_eq!(weights(&rollouts), [0.15, 0.25, 0.25], "it begins with its first step");
    drive(&service, &clock, &mut chance, 45, |_, _| 0.5);
    assert_eq!(weight(&rollouts[0]), 0.15, "nobody but its plan moves it");
    assert_eq!(rollouts[0].phase(), Phase::Canary);
    let (live, shares) = (left_to_live(&service), weights(&rollouts));
    assert!(shares[1..].iter().all(|share| *share >= 0.1) && live >= 0.1, "{shares:?}");
    assert!(shares[1] + shares[2] > 0.4, "the others divide what is left: {shares:?}");
}

/// Bug: a candidate was held, since "a few keys bring most of the requests", as soon as another one left. Cause: the requests of all the time
/// since its exposure changed were held against its share as it is now, and what live answers changes with the others. Fix: against what its
/// share was when they came.
#[test]
fn a_candidate_is_not_held_because_another_one_leaves() {
    let clock = clock();
    let service = builder(&clock).live("v1", says("v1", 0.1)).build().unwrap();
    let stage = |name: &str, share: f64| {
        let rollout = service.stage(name, says(name, 0.5)).unwrap().guard(guard::error_rate().at_most(0.1));
        rollout.canary(share).unwrap();
        rollout
    };
    let (stays, leaves) = (stage("v2", 0.2), stage("v3", 0.6));
    let come = |ticks: usize| {
        for _ in 0..ticks {
            ask(&service, 200);
            tick(&service, &clock);
        }
        events(&service, |kind| match kind {
            EventKind::Held { reason, .. } => Some(reason.clone()),
            _ => None,
        })
    };
    assert_eq!(come(30), Vec::<String>::new());
    let _ = leaves.rollback("enough");
    assert_eq!(come(10), Vec::<String>::new());
    assert_eq!(stays.phase(), Phase::Canary);
}

/// Bug: of three equal versions one was eliminated in 40 runs of 40, where half of the requests came with a key and clicked at another
/// rate. Cause: requests and keys of an arm were pooled, and of two candidates the second has hardly a key that counts: only as many as live
/// can match. Fix: arms are compared in each kind of unit by itself.
#[test]
fn a_candidate_with_fewer_users_that_count_is_not_worse_for_it() {
    let mut eliminated = 0;
    for seed in 0..4 {
        let (service, rollouts, clock) = ranking(seed, &["v2", "v3"]);
        let all: Vec<&Rollout<f64, f64>> = rollouts.iter().collect();
        service.allocate(Allocation::top_two(guard::kpi("click")).every(seconds(50)), &all).unwrap();
        let mut chance = Chance(seed + 90);
        for now in 0..100_u32 {
            for number in 0..60_u32 {
                let is_user = number % 2 == 0;
                let answer = if is_user {
                    service.predict_keyed((60 * now + number).to_le_bytes(), &0.0).unwrap()
                } else {
                    service.predict(&0.0).unwrap()
                };
                let clicked = chance.next() < if is_user { 0.6 } else { 0.2 };
                service.feedback(answer.id(), Outcome::kpi("click", f64::from(u8::from(clicked))));
            }
            tick(&service, &clock);
        }
        let causes = rollouts.iter().filter_map(|rollout| rollout.status().unwrap().cause);
        eliminated += causes.filter(|cause| *cause == Cause::Eliminated).count();
    }
    assert!(eliminated <= 1, "{eliminated} of 8 equal ones");
}
