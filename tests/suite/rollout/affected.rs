//! How many users got worse beside the mean, and where nobody can know.

use switchback::decisions::replay;
use switchback::guard::{self, Affected, AffectedUnits, Rule, RuleError};
use switchback::operator::figures::{self, FigureValue, Sample};
use switchback::options::Shadowing;
use switchback::testing::Scripted;
use switchback::{Clock, Outcome, Phase, Rollout};

use crate::common::*;

/// A model that is wrong about users whose number lies in a part of the range from 0 to 1. All are yes.
fn wrong_about(name: &str, part: std::ops::Range<f64>) -> Scripted<f64, f64> {
    Scripted::new(name, move |user: &f64| if part.contains(user) { 0.1 } else { 0.9 })
}

/// Users who come three times each, and whose truth is told at once.
fn users(service: &Service, clock: &Clock, chance: &mut Chance, ticks: usize, per_tick: usize) {
    for _ in 0..ticks {
        for _ in 0..per_tick {
            let user = chance.next();
            for _ in 0..3 {
                let answer = service.request().key(&user.to_le_bytes()).predict(&user).unwrap();
                service.feedback(answer.id(), Outcome::class(1));
            }
        }
        service.run_shadow(usize::MAX);
        tick(service, clock);
    }
}

fn affected(rollout: &Rollout<f64, f64>) -> Option<Affected> {
    rollout.status()?.evidence.first()?.affected
}

fn counted(rollout: &Rollout<f64, f64>) -> AffectedUnits {
    let Some(Affected::Counted(counted)) = affected(rollout) else { panic!("{:?}", affected(rollout)) };
    counted
}

/// Two versions that are right about 80 % of all users each: a tenth of them got worse, and a tenth better.
fn equal_on_average(
    clock: &Clock,
    rule: Result<Rule, RuleError>,
    shadowing: bool,
) -> (Service, Rollout<f64, f64>) {
    let builder = builder(clock).live("v1", wrong_about("one", 0.0..0.2));
    let service = match shadowing {
        true => builder.shadowing(Shadowing::new()).build().unwrap(),
        false => builder.build().unwrap(),
    };
    let rollout = service.stage("v2", wrong_about("two", 0.1..0.3)).unwrap().guard(rule);
    (service, rollout)
}

#[test]
fn a_mean_that_has_not_moved_does_not_hide_that_a_tenth_of_the_users_got_worse() {
    let clock = clock();
    let (service, rollout) = equal_on_average(&clock, guard::accuracy().at_most_below_live(0.04), true);
    rollout.run(ramp([0.5])).unwrap();
    assert_eq!(affected(&rollout), None);
    let mut chance = Chance(11);
    for _ in 0..200 {
        users(&service, &clock, &mut chance, 1, 100);
        if rollout.phase() == Phase::Promoted {
            break;
        }
    }
    // Nothing in the mean speaks against it, and it is promoted; how many pay for it is said.
    assert_eq!(rollout.phase(), Phase::Promoted);
    let decisions = service.decisions();
    let last = decisions.iter().max_by_key(|decision| decision.number()).unwrap();
    let evidence = replay(last).unwrap();
    let Some(Affected::Counted(seen)) = evidence.affected else { panic!("{evidence}") };
    let (worse, better) = (seen.worse_share(), seen.better_share());
    for share in [worse, better] {
        assert!(share.low < 0.1 && 0.1 < share.high && share.high - share.low < 0.06, "{share:?}");
    }
    let effect = evidence.effect.unwrap();
    assert!(effect.estimate.abs() < 0.02, "{effect:?}");
    let said = format!("% of {} units got worse (95 % interval ", seen.units);
    assert!(evidence.to_string().contains(&said), "{evidence}");
    let json = serde_json::to_value(&evidence).unwrap();
    assert!(json["affected"]["counted"]["worse_share"]["low"].as_f64().unwrap() > 0.05, "{json}");

    #[cfg(feature = "report")]
    {
        let report = rollout.report().unwrap().markdown();
        assert!(report.contains(&said), "{report}");
    }
}

/// The users of a keyed shadow are its units, however often they come.
#[test]
fn a_user_who_comes_three_times_got_worse_once() {
    let clock = clock();
    let (service, rollout) = equal_on_average(&clock, guard::accuracy().at_most_below_live(0.05), true);
    rollout.shadow(1.0).unwrap();
    users(&service, &clock, &mut Chance(5), 30, 50);
    let seen = counted(&rollout);
    assert!((500..=1_500).contains(&seen.units), "{seen:?}");
    let families = figures::of(&service.operator());
    let shown = |side: &str| {
        let family = families.iter().find(|family| family.name == "switchback_guard_affected_ratio").unwrap();
        let of_side = |sample: &&Sample| sample.labels.contains(&("side", side.to_owned()));
        family.samples.iter().find(of_side).map(|sample| sample.value.clone())
    };
    let share = |count: u64| Some(FigureValue::Number(count as f64 / seen.units as f64));
    assert_eq!(shown("worse"), share(seen.worse));
    assert_eq!(shown("better"), share(seen.better));
}

/// Where each user is asked of one version, any share is possible that the mean allows.
#[test]
fn who_got_worse_between_two_arms_is_not_known_and_it_says_so() {
    let clock = clock();
    let (service, rollout) = equal_on_average(&clock, guard::accuracy().at_most_below_live(0.05), false);
    rollout.canary(0.5).unwrap();
    users(&service, &clock, &mut Chance(5), 20, 50);
    assert_eq!(affected(&rollout), Some(Affected::NotIdentified));
    #[cfg(feature = "report")]
    {
        let report = rollout.report().unwrap().markdown();
        assert!(report.contains("how many users got worse, and how many better, is not known"), "{report}");
    }
}

/// By what a guard is about: who failed, who was slow, whose loss grew; of an absolute limit too, where live is asked beside.
#[test]
fn every_figure_that_pairs_compare_says_who_got_worse() {
    for rule in [
        guard::accuracy().at_most_below_live(0.05),
        guard::accuracy().at_least(0.5),
        guard::recall().at_most_below_live(0.05),
        guard::f1().at_most_below_live(0.05),
        guard::brier_score().at_most_above_live(0.05),
        guard::log_loss().at_most_above_live(0.1),
    ] {
        let clock = clock();
        let name = rule.as_ref().unwrap().to_string();
        let (service, rollout) = equal_on_average(&clock, rule, true);
        rollout.shadow(1.0).unwrap();
        users(&service, &clock, &mut Chance(3), 30, 50);
        let seen = counted(&rollout);
        let (worse, better) = (seen.worse_share(), seen.better_share());
        for share in [worse, better] {
            assert!((0.07..0.13).contains(&share.estimate), "{name}: {share:?}");
        }
    }
    let clock = clock();
    let (service, rollout) = equal_on_average(&clock, guard::error_rate().at_most_times_live(1.25), true);
    rollout.shadow(1.0).unwrap();
    users(&service, &clock, &mut Chance(3), 5, 50);
    assert_eq!((counted(&rollout).worse, counted(&rollout).better), (0, 0));
    // What each said yes to is matched over time: those are two users.
    let (service, rollout) = equal_on_average(&clock, guard::precision().at_most_below_live(0.05), true);
    rollout.shadow(1.0).unwrap();
    users(&service, &clock, &mut Chance(3), 5, 50);
    assert_eq!(affected(&rollout), Some(Affected::NotIdentified));
    // That answers differ says not which is the better one.
    let (service, rollout) = equal_on_average(&clock, guard::divergence().at_most(0.5), true);
    rollout.shadow(1.0).unwrap();
    users(&service, &clock, &mut Chance(3), 5, 50);
    assert_eq!(affected(&rollout), None);
}

/// Looked at after every tick, over whole rollouts: the claim is that 5 % of the intervals ever miss the share that holds.
#[test]
fn the_interval_holds_however_often_anybody_looks() {
    let mut missed = 0;
    for seed in 0..60 {
        let clock = clock();
        let (service, rollout) = equal_on_average(&clock, guard::accuracy().at_most_below_live(0.05), true);
        rollout.shadow(1.0).unwrap();
        let mut chance = Chance(1_000 + seed);
        let mut ever = false;
        for _ in 0..30 {
            users(&service, &clock, &mut chance, 1, 25);
            if let Some(Affected::Counted(seen)) = affected(&rollout) {
                let worse = seen.worse_share();
                ever |= worse.low > 0.1 || worse.high < 0.1;
            }
        }
        missed += u32::from(ever);
    }
    // Of 60 with a chance of 5 % each, more than 8 come once in a thousand times.
    assert!(missed <= 8, "{missed} of 60");
}
