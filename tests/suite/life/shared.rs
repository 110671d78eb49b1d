//! Versions that share what they spend: users are no units there, periods of time are. The example `periods` has hundreds of
//! runs of each.

use switchback::Phase;
use switchback::guard::Verdict;

use crate::by_periods::market::{Fate, GREEDY, LIVE, Split, THRIFTY, tried};
use crate::by_periods::periods::{Design, Periods};
use crate::common::*;

const PERIODS: Split = Split::Time { length: 40, burn_in: 25 };

/// What users tell of versions that spend one budget is what one does to the other, however many there are: an equal one is
/// taken back for being thrifty, and a worse one promoted for being greedy. A limit of the canary, not of its test.
#[test]
fn users_tell_the_wrong_story_of_versions_that_share_a_budget() {
    for seed in 1..=5 {
        assert_eq!(tried(THRIFTY, Split::Users, seed, 3_000).unwrap(), Fate::TakenBack, "seed {seed}");
        assert_eq!(tried(GREEDY, Split::Users, seed, 3_000).unwrap(), Fate::Promoted, "seed {seed}");
    }
}

#[test]
#[ignore = "long: some 200,000 requests"]
fn periods_of_time_tell_versions_that_share_a_budget_apart() {
    assert_eq!(tried(LIVE, PERIODS, 1, 10_000).unwrap(), Fate::Promoted);
    assert_eq!(tried(THRIFTY, PERIODS, 1, 10_000).unwrap(), Fate::Promoted);
    assert_eq!(tried(GREEDY, PERIODS, 1, 10_000).unwrap(), Fate::TakenBack);
}

/// What the other version has left behind acts at the beginning of a period: live lives on a thrifty candidate's savings.
#[test]
#[ignore = "long: some 200,000 requests"]
fn without_a_burn_in_what_was_left_behind_counts_for_the_wrong_version() {
    let all = Split::Time { length: 40, burn_in: 0 };
    assert_eq!(tried(THRIFTY, all, 1, 20_000).unwrap(), Fate::TakenBack);
}

/// A pair in which nobody looked for longer than allowed is evidence for neither, and each pair has a period of each version.
#[test]
fn a_pair_in_which_nobody_looked_counts_for_neither() {
    let clock = clock();
    let service = builder(&clock).live("v1", says("one", 0.9)).build().unwrap();
    let design = Design {
        length: seconds(10),
        burn_in: seconds(2),
        gap: seconds(3),
        margin: 0.1,
        error: (0.01, 0.05),
        secret: 7,
    };
    let periods = Periods::new(design).unwrap();
    let rollout = service.stage("v2", says("two", 0.9)).unwrap().guard(periods.guard());
    let mut answered = Vec::new();
    // Nobody is there for some of the fourth period.
    for second in (0..=60).filter(|second| !(33..38).contains(second)) {
        let behind = clock.now().since(switchback::Timestamp::from_unix_seconds(1_700_000_000));
        clock.advance(seconds(second) - behind);
        service.tick();
        periods.turn(&rollout, clock.now()).unwrap();
        let by = service.predict(&1.0).unwrap().version();
        if second % 10 == 0 && second < 60 {
            answered.push(by);
        } else if let Some(owner) = answered.get(usize::try_from(second / 10).unwrap()) {
            assert_eq!(by, *owner, "second {second}");
        }
        periods.count(clock.now(), 0.0);
    }
    for pair in answered.chunks(2) {
        assert!(pair[0] != pair[1], "{answered:?}");
    }
    service.tick();
    let evidence = rollout.status().unwrap().evidence[0].clone();
    assert_eq!(
        (evidence.verdict, evidence.samples, rollout.phase()),
        (Verdict::Inconclusive, 2, Phase::Canary)
    );
    assert!(evidence.note.unwrap().contains("by 2 pairs of periods, and 1 that count for neither"));
}
