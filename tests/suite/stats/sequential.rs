//! The sequential tests as they are used on their own: what must hold of every one of them.

use proptest::prelude::*;
use switchback::stats::sequential::*;
use switchback::{ArgumentError, Share};

fn odds(share: f64) -> Odds {
    Odds::new(Share::new(share).unwrap(), Share::new(1.0 - share).unwrap()).unwrap()
}

/// One observation, as numbers that every test can make something of.
#[derive(Debug, Clone, Copy)]
struct Seen {
    /// Which of three shares was in force.
    share: usize,
    candidate: bool,
    bad: (bool, bool),
    loss: f64,
    chance: u64,
}

fn seen() -> impl Strategy<Value = Seen> {
    (0usize..3, any::<bool>(), any::<(bool, bool)>(), -1.0..=1.0_f64, any::<u64>())
        .prop_map(|(share, candidate, bad, loss, chance)| Seen { share, candidate, bad, loss, chance })
}

const SHARES: [f64; 3] = [0.01, 0.2, 0.5];

/// Counts one observation in the way that each test wants it.
trait Counted: Additive + std::fmt::Debug + PartialEq + serde::Serialize + serde::de::DeserializeOwned {
    fn count(&mut self, seen: Seen);
}

impl Counted for PairedEvents {
    fn count(&mut self, seen: Seen) {
        PairedEvents::count(self, Arms { candidate: seen.bad.1, live: seen.bad.0 });
    }
}

impl Counted for Scores {
    fn count(&mut self, seen: Seen) {
        Scores::count(self, seen.loss, seen.chance);
    }
}

impl Counted for Events {
    fn count(&mut self, seen: Seen) {
        self.merge(&Events { events: seen.bad.0.into(), units: 1 });
    }
}

fn arm<C: Additive>(counts: &mut ByOdds<C>, seen: Seen) -> &mut C {
    let arms = counts.at(odds(SHARES[seen.share]));
    if seen.candidate { &mut arms.candidate } else { &mut arms.live }
}

impl Counted for ByOdds<Events> {
    fn count(&mut self, seen: Seen) {
        Counted::count(arm(self, seen), seen);
    }
}

impl Counted for ByOdds<Scores> {
    fn count(&mut self, seen: Seen) {
        Counted::count(arm(self, seen), seen);
    }
}

impl Counted for ByOdds<Values> {
    fn count(&mut self, seen: Seen) {
        arm(self, seen).count(seen.loss * 1e3);
    }
}

impl Counted for PairedParts {
    fn count(&mut self, seen: Seen) {
        let of = |bad: bool| part(bad.into(), seen.share.min(2) as u8);
        PairedParts::count(self, Arms { candidate: of(seen.bad.1), live: of(seen.bad.0) }, 1);
    }
}

impl Counted for Arms<Parts> {
    fn count(&mut self, seen: Seen) {
        let part = part(seen.bad.0.into(), seen.share.min(2) as u8);
        let parts = if seen.candidate { &mut self.candidate } else { &mut self.live };
        parts.count(part, 1);
    }
}

/// Shards that saw a part each, merged in another order, are what one thread would have counted: the same bits of
/// evidence, also after a journey through text.
fn merges_in_any_order<T: SequentialTest>(test: &T, seen: &[Seen], shards: &[usize])
where
    T::Counts: Counted,
{
    let mut one = T::Counts::default();
    seen.iter().for_each(|seen| one.count(*seen));
    let mut parts = vec![T::Counts::default(); 4];
    for (place, seen) in seen.iter().enumerate() {
        parts[shards[place % shards.len()] % 4].count(*seen);
    }
    let mut merged = T::Counts::default();
    parts.iter().rev().for_each(|part| merged.merge(part));
    assert_eq!(merged, one);
    let elsewhere: T::Counts = serde_json::from_str(&serde_json::to_string(&merged).unwrap()).unwrap();
    assert_eq!(test.e_value(&elsewhere), test.e_value(&one));
    assert!(!test.e_value(&one).ln().is_nan());
}

const CLAIMS: [Claim; 2] = [Claim::Harm, Claim::NonInferiority];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_test_merges_in_any_order(
        seen in prop::collection::vec(seen(), 0..120), shards in prop::collection::vec(0usize..4, 1..9),
        margin in 0.0..0.3_f64,
    ) {
        for claim in CLAIMS {
            merges_in_any_order(&Rate::new(claim, margin).unwrap(), &seen, &shards);
            merges_in_any_order(&Mean::new(claim, margin).unwrap(), &seen, &shards);
            merges_in_any_order(&PairedDifference::new(claim, margin).unwrap(), &seen, &shards);
            merges_in_any_order(&PairedScores::new(claim, margin).unwrap(), &seen, &shards);
            merges_in_any_order(&PairedRatio::new(claim, 1.0 + margin).unwrap(), &seen, &shards);
            merges_in_any_order(&RateRatio::new(claim, 1.0 + margin).unwrap(), &seen, &shards);
            merges_in_any_order(&MeanDifference::new(claim, margin).unwrap(), &seen, &shards);
            merges_in_any_order(&Asymptotic::new(claim, margin).unwrap(), &seen, &shards);
            merges_in_any_order(&PairedRatioTest::new(claim, RatioMargin::Above(margin), 2).unwrap(), &seen, &shards);
            merges_in_any_order(&SplitRatioTest::new(claim, RatioMargin::Times(1.0 + margin), 2).unwrap(), &seen, &shards);
        }
        merges_in_any_order(&SampleRatio::default(), &seen, &shards);
    }

    /// Another bad event of the candidate's, on top of as many good ones as the margin is worth, is never evidence for
    /// the candidate; and one of live's is never evidence against it.
    #[test]
    fn evidence_goes_the_way_of_what_was_seen(
        neither in 0u64..500, only_live in 0u64..60, only_candidate in 0u64..60, both in 0u64..60, share in 0.01..0.99_f64,
    ) {
        let pairs = PairedEvents { neither, only_live, only_candidate, both };
        let worse = PairedEvents { only_candidate: only_candidate + 1, ..pairs };
        let better = PairedEvents { only_live: only_live + 1, ..pairs };
        let mut arms = ByOdds::<Events>::default();
        arms.at(odds(share)).candidate.events = only_candidate;
        arms.at(odds(share)).live.events = only_live;
        let (mut arms_worse, mut arms_better) = (arms.clone(), arms.clone());
        arms_worse.at(odds(share)).candidate.events += 1;
        arms_better.at(odds(share)).live.events += 1;
        for claim in CLAIMS {
            let up = |before: EValue, after: EValue| match claim {
                Claim::Harm => after >= before,
                Claim::NonInferiority => after <= before,
            };
            let down = |before: EValue, after: EValue| up(after, before);
            for margin in [0.0, 0.02] {
                let test = PairedDifference::new(claim, margin).unwrap();
                prop_assert!(up(test.e_value(&pairs), test.e_value(&worse)));
                prop_assert!(down(test.e_value(&pairs), test.e_value(&better)));
            }
            let test = PairedRatio::new(claim, 1.25).unwrap();
            prop_assert!(up(test.e_value(&pairs), test.e_value(&worse)));
            prop_assert!(down(test.e_value(&pairs), test.e_value(&better)));
            let test = RateRatio::new(claim, 1.25).unwrap();
            prop_assert!(up(test.e_value(&arms), test.e_value(&arms_worse)));
            prop_assert!(down(test.e_value(&arms), test.e_value(&arms_better)));
        }
    }

    /// A larger margin makes harm harder to show, and the absence of it easier.
    #[test]
    fn evidence_goes_the_way_of_the_margin(
        only_live in 0u64..200, only_candidate in 0u64..200, neither in 500u64..5_000, margin in 0.0..0.1_f64, more in 0.02..0.1_f64
    ) {
        let pairs = PairedEvents { neither, only_live, only_candidate, both: 10 };
        let e = |claim, margin| PairedDifference::new(claim, margin).unwrap().e_value(&pairs);
        // Where nothing speaks for a claim, how little does is no question of the margin.
        let speaks = |e: EValue| e > EValue::of(2.0);
        let (harm, harm_more) = (e(Claim::Harm, margin), e(Claim::Harm, margin + more));
        prop_assert!(harm_more <= harm || !speaks(harm_more));
        let (fine, fine_more) = (e(Claim::NonInferiority, margin), e(Claim::NonInferiority, margin + more));
        prop_assert!(fine_more >= fine || !speaks(fine));
    }
}

#[test]
fn no_count_is_too_large() {
    const MOST: u64 = 1 << 53;
    let events = Events { events: MOST / 3, units: MOST };
    let pairs = PairedEvents { neither: MOST, only_live: MOST / 7, only_candidate: MOST / 5, both: MOST / 2 };
    let mut scores = Scores::default();
    (-64..=64).for_each(|place| scores.count_place(place, MOST / 129));
    let mut by_odds = ByOdds::<Events>::default();
    let mut scores_by_odds = ByOdds::<Scores>::default();
    for share in SHARES {
        by_odds.at(odds(share)).candidate = events;
        by_odds.at(odds(share)).live = events;
        scores_by_odds.at(odds(share)).candidate = scores.clone();
        scores_by_odds.at(odds(share)).live = scores.clone();
    }
    let mut parts = PairedParts::default();
    let mut split = Arms::<Parts>::default();
    for one in [part(0, 1), part(1, 1), part(1, 2)] {
        parts.count(Arms { candidate: part(0, 1), live: one }, MOST / 4);
        parts.count(Arms { candidate: one, live: part(0, 1) }, MOST / 4);
        split.candidate.count(one, MOST / 4);
        split.live.count(one, MOST / 4);
    }
    for claim in CLAIMS {
        for e in [
            Rate::new(claim, 0.3).unwrap().e_value(&events),
            Mean::new(claim, 0.3).unwrap().e_value(&scores),
            PairedDifference::new(claim, 0.01).unwrap().e_value(&pairs),
            PairedScores::new(claim, 0.01).unwrap().e_value(&scores),
            PairedRatio::new(claim, 1.1).unwrap().e_value(&pairs),
            RateRatio::new(claim, 1.1).unwrap().e_value(&by_odds),
            MeanDifference::new(claim, 0.01).unwrap().e_value(&scores_by_odds),
            PairedRatioTest::new(claim, RatioMargin::Above(0.01), 2).unwrap().e_value(&parts),
            SplitRatioTest::new(claim, RatioMargin::Above(0.01), 2).unwrap().e_value(&split),
            SampleRatio::default().e_value(&by_odds),
        ] {
            assert!(!e.ln().is_nan() && e.p_value() >= 0.0 && e.p_value() <= 1.0);
        }
    }
}

/// The interval of a difference holds what was seen, and shrinks as more is.
#[test]
fn intervals_hold_the_estimate_and_shrink() {
    let width = |times: u64| {
        let pairs = PairedEvents {
            neither: 90 * times,
            only_live: 3 * times,
            only_candidate: 5 * times,
            both: 2 * times,
        };
        let estimate = pairs.difference().unwrap();
        let Interval { low, high, .. } = interval(0.05, -1.0..=1.0, estimate, |claim, margin| {
            PairedDifference::new(claim, margin).unwrap().e_value(&pairs)
        })
        .unwrap();
        assert!(low < estimate && estimate < high);
        high - low
    };
    assert!(width(10) > 2.0 * width(100) && width(100) > 2.0 * width(1_000));

    let mut errors = ByOdds::<Events>::default();
    errors.at(odds(0.2)).candidate.events = 100;
    errors.at(odds(0.2)).live.events = 200;
    let Interval { low, high, .. } = interval(0.05, 1e-3..=1e3, errors.ratio().unwrap(), |claim, times| {
        RateRatio::new(claim, times).unwrap().e_value(&errors)
    })
    .unwrap();
    assert!(1.2 < low && low < 2.0 && 2.0 < high && high < 3.2, "{low} {high}");
}

/// A test that is asked for a margin at which there is none says so, and makes no other one in its place.
#[test]
fn a_margin_at_which_there_is_no_test_is_refused() {
    type Refused = Option<ArgumentError>;
    let harm = Claim::Harm;
    let above = RatioMargin::Above;
    let refused: [(Refused, &str); 14] = [
        (Rate::new(harm, 0.0).err(), "the limit is 0: it must be from 1e-9 to 1 - 1e-9"),
        (Mean::new(harm, f64::NAN).err(), "the limit is NaN: it must be from 1e-9 to 1 - 1e-9"),
        (PairedDifference::new(harm, 1.5).err(), "the margin is 1.5: it must be from -1 to 1"),
        (PairedScores::new(harm, -2.0).err(), "the margin is -2: it must be from -1 to 1"),
        (PairedRatio::new(harm, 0.0).err(), "the margin is 0: it must be from 0.001 to 1000 times"),
        (RateRatio::new(harm, 1e4).err(), "the margin is 10000: it must be from 0.001 to 1000 times"),
        (RateDifference::new(harm, 0.01, 2.0).err(), "the centre is 2: it must be from 0 to 1"),
        (
            MeanDifference::new(harm, 0.0).unwrap().centred_at(-0.5).err(),
            "the centre is -0.5: it must be from 0 to 1",
        ),
        (
            PairedHidden::new(harm, 0.01, Some(0.0)).err(),
            "the share that is explored is 0: it must be from 0.001 to 1",
        ),
        (PairedRatioTest::new(harm, above(3.0), 1).err(), "the margin is 3: it must be from -1 to 1"),
        (SplitRatioTest::new(harm, above(0.0), 3).err(), "the largest whole is 3: it must be 1 to 2"),
        (RatioLimit::new(harm, 0.1, 0).err(), "the largest whole is 0: it must be 1 to 2"),
        (Asymptotic::new(harm, f64::INFINITY).err(), "the margin is inf: it must be finite"),
        (RateDetector::new(0.1, 0.5).err(), "the run length is 0.5: it must be 1 or more, and finite"),
    ];
    for (refused, expected) in refused {
        assert_eq!(refused.map(|refused| refused.to_string()).as_deref(), Some(expected));
    }
}

/// What one unit adds, as far as there is a whole.
fn part(part: u8, whole: u8) -> Part {
    Part::of(part.min(whole), whole).unwrap()
}
