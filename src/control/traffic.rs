//! Whether a candidate's share of the traffic is what its share of the keys was meant to be.
//!
//! A share of keys is no share of requests: who has one busy user, or the one key that many callers share, answers more than
//! anybody decided. Units of evidence are keys, so no test would see it.

use std::collections::{BTreeMap, VecDeque};

use crate::stats::counting::exposure::Units;
use crate::stats::sequential::Odds;

/// The requests that a candidate and its live were asked since the exposure last changed.
#[derive(Debug, Clone, Default)]
pub(crate) struct TrafficSeen {
    era: u32,
    candidate: u64,
    live: u64,
    /// The draws by which they went where they did: a batch that stays together is one, and so is a pinned stream.
    draws: u64,
    /// Some came with a key.
    keyed: bool,
    /// Of all of these, the candidate's by its share when they came: others come and go, and it changes with them.
    expected: f64,
    /// The keys of some of the candidate's last requests.
    keys: VecDeque<u64>,
    /// Of the candidate's last requests, and of those among them that had a match.
    all: Keyed,
    in_arms: Keyed,
    /// Of the last that both versions were asked.
    in_pairs: Keyed,
    /// The warnings that have been told since the exposure changed: once is enough, however often it comes and goes.
    told: Told,
}

/// Requests with a key, and how many of them counted for one that had not counted before.
#[derive(Debug, Clone, Copy, Default)]
struct Keyed {
    requests: u64,
    counted: u64,
}

impl Keyed {
    fn see(&mut self, requests: u64, counted: u64) {
        (self.requests, self.counted) = (self.requests + requests, self.counted + counted);
        if self.requests > 2 * LATELY {
            (self.requests, self.counted) = (self.requests / 2, self.counted / 2);
        }
    }

    fn have_run_out(self) -> bool {
        self.requests >= LATELY && self.counted * FEW < self.requests
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Told {
    fault: bool,
    run_out: bool,
}

/// So many requests are the last ones.
const LATELY: u64 = 2_000;

/// New keys that are few: one in so many requests.
const FEW: u64 = 500;

/// Keys that are looked at.
const KEYS_MAX: usize = 2_048;

/// From so many on they say how the traffic is spread.
const KEYS_FEWEST: usize = 200;

/// Requests of both from which on their shares are looked at.
const REQUESTS_FEWEST: u64 = 1_000;

/// Draws by which they went where they did, likewise.
const DRAWS_FEWEST: u64 = 100;

/// The part of a candidate's traffic that one key may have.
const ONE_KEY: f64 = 0.1;

/// How many times its share of the keys a candidate's share of the requests may be.
const TIMES: f64 = 2.0;

impl TrafficSeen {
    /// Returns what is to be told of these, if it has not been.
    pub(crate) fn untold(&mut self, fault: Option<&String>, run_out: Option<&String>) -> Vec<String> {
        let of =
            |told: &mut bool, said: Option<&String>| said.filter(|_| !std::mem::replace(told, true)).cloned();
        let Told { fault: of_fault, run_out: of_run_out } = &mut self.told;
        of(of_fault, fault).into_iter().chain(of(of_run_out, run_out)).collect()
    }

    /// Takes note of what one exposure was asked while traffic was split like that.
    pub(crate) fn see(&mut self, era: u32, candidate: bool, split: Odds, units: &Units) {
        let Units { asked, draws, keyed, keyed_here, ref keys, ref some_keys, .. } = *units;
        if !self.is_of(era) {
            return;
        }
        self.expected += asked as f64 * split.share();
        self.draws += draws;
        self.keyed |= keyed > 0;
        // Keys count in the candidate's arm and its control alike; live's other keys never do.
        if candidate {
            self.all.see(keyed, keys.units);
            self.in_arms.see(keyed_here, keys.units);
            self.candidate += asked;
            self.keys.extend(some_keys);
            let beyond = self.keys.len().saturating_sub(KEYS_MAX);
            self.keys.drain(..beyond);
        } else {
            self.live += asked;
        }
    }

    /// Takes note of the requests that both versions were asked, in pairs that count from one change of exposure to the next.
    pub(crate) fn see_pairs(&mut self, era: u32, units: &Units) {
        if self.is_of(era) {
            self.in_pairs.see(units.keyed_pairs, units.keys_of_pairs);
        }
    }

    /// Whether what was made in the stretch `era` is of the present one, which begins with it where it is new.
    fn is_of(&mut self, era: u32) -> bool {
        if era > self.era {
            *self = Self { era, ..Self::default() };
        }
        era == self.era
    }

    /// Takes note of what live was asked under the keys that are the control of another candidate: they are none of this one's units,
    /// and live's traffic all the same.
    pub(crate) fn see_elsewhere(&mut self, asked: u64, split: Odds) {
        self.live += asked;
        self.draws += asked;
        self.keyed = true;
        self.expected += asked as f64 * split.share();
    }

    /// Whether its requests have keys, and none or hardly any counted, for whatever reason.
    pub(crate) fn counts_few_keys(&self) -> bool {
        (self.all.requests >= KEYS_FEWEST as u64 && self.all.counted == 0) || self.all.have_run_out()
    }

    /// That hardly any new keys come, where that is so: evidence is keys, and grows no more.
    pub(crate) fn keys_run_out(&self) -> Option<String> {
        let Keyed { requests, counted } = self.in_arms;
        self.in_arms.have_run_out().then(|| {
            format!(
                "new users have run out: {counted} of the candidate's last {requests} requests came from one who had not counted \
                 yet, and each counts once; expose it to more of them, or shadow, where each counts once more, by one request that \
                 both are asked"
            )
        })
    }

    /// The same of what rests on pairs alone: of a key one counts.
    pub(crate) fn keys_of_pairs_run_out(&self) -> Option<String> {
        let Keyed { requests, counted } = self.in_pairs;
        self.in_pairs.have_run_out().then(|| {
            format!(
                "new users have run out: {counted} of the last {requests} requests that both versions were asked came from one who \
                 had not counted yet, and each counts once, by one of them; copy more of the requests, or expose the candidate to \
                 some users, where each counts once more"
            )
        })
    }

    /// Returns the fault in how traffic is spread, if there is one.
    pub(crate) fn fault(&self) -> Option<String> {
        let all = self.candidate + self.live;
        let [meant, found] = [self.expected, self.candidate as f64].map(|of| of / all.max(1) as f64);
        // What stays together is drawn together.
        let chance = 4.0 * (meant * (1.0 - meant) / self.draws.max(1) as f64).sqrt();
        let seen = all >= REQUESTS_FEWEST && self.draws >= DRAWS_FEWEST;
        if seen && found > TIMES * meant + chance {
            let [found, meant] = [found, meant].map(|part| part * 100.0);
            return Some(if self.keyed {
                format!(
                    "the candidate answers {found:.1} % of the requests where {meant:.1} % of the keys are its own: a few keys \
                     bring most of them, so route those by another key or by none"
                )
            } else {
                format!(
                    "the candidate answers {found:.1} % of the requests where {meant:.1} % were to be its own: a few batches or \
                     pinned streams bring most of them, so ask for less at a time"
                )
            });
        }
        let mut of_key: BTreeMap<u64, u32> = BTreeMap::new();
        self.keys.iter().for_each(|key| *of_key.entry(*key).or_default() += 1);
        let (most, keys) = (of_key.values().copied().max().unwrap_or(0), self.keys.len());
        let part = f64::from(most) / keys.max(1) as f64;
        let chance = 3.0 * (ONE_KEY * (1.0 - ONE_KEY) / keys.max(1) as f64).sqrt();
        (keys >= KEYS_FEWEST && part > ONE_KEY + chance).then(|| {
            format!(
                "one key brings {:.0} % of the candidate's requests: it counts as one user, so what the candidate does to \
                 the others is hardly seen; give each caller a key of its own, or none",
                part * 100.0
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::share::Share;

    fn asked(asked: u64, some_keys: &[u64]) -> Units {
        Units { asked, draws: asked, keyed: asked, some_keys: some_keys.to_vec(), ..Units::default() }
    }

    #[test]
    fn that_few_new_keys_come_is_told_once_it_is_so() {
        let mut seen = TrafficSeen::default();
        let tick = |new: u64| {
            let mut units = Units { asked: 1_000, keyed: 1_000, keyed_here: 1_000, ..Units::default() };
            units.keys.units = new;
            units
        };
        for new in [400, 200, 100] {
            seen.see(1, true, split(0.5), &tick(new));
            assert_eq!(seen.keys_run_out(), None);
        }
        for _ in 0..20 {
            seen.see(1, true, split(0.5), &tick(1));
        }
        assert!(seen.keys_run_out().unwrap().starts_with("new users have run out"));
    }

    /// Those that are thinned out and those without a match are no users who have run out.
    #[test]
    fn requests_whose_key_cannot_count_say_nothing_of_new_keys() {
        let mut seen = TrafficSeen::default();
        for _ in 0..20 {
            let mut units = Units { asked: 1_000, keyed: 1_000, keyed_here: 4, ..Units::default() };
            units.keys.units = 1;
            seen.see(1, true, split(0.5), &units);
        }
        assert_eq!(seen.keys_run_out(), None);
        assert!(seen.counts_few_keys());
    }

    fn split(candidate: f64) -> Odds {
        Odds::new(Share::new(candidate).unwrap(), Share::new(1.0 - candidate).unwrap()).unwrap()
    }

    #[test]
    fn a_share_of_the_requests_far_beyond_that_of_the_keys_is_told() {
        let seen = |era: u32, seen: &mut TrafficSeen, share: f64, candidate: u64| {
            seen.see(era, true, split(share), &asked(candidate, &[]));
            seen.see(era, false, split(share), &asked(1_000 - candidate, &[]));
            seen.fault()
        };
        let mut few = TrafficSeen::default();
        assert!(seen(1, &mut few, 0.01, 405).unwrap().contains("answers 40.5 % of the requests"));
        assert_eq!(seen(2, &mut few, 0.01, 12), None, "the exposure has changed");
        assert_eq!(seen(1, &mut TrafficSeen::default(), 0.4, 405), None);
        // Its share was large, and is small.
        let mut alike = TrafficSeen::default();
        assert_eq!(
            [(0.4, 405), (0.05, 51)].map(|(share, asked)| seen(1, &mut alike, share, asked)),
            [None, None]
        );
    }

    /// Nobody drew rows: of ten batches of a hundred one is a tenth by chance.
    #[test]
    fn a_batch_is_one_draw_and_a_stream_that_brings_most_is_told_as_one() {
        let together =
            |calls: u64, rows: u64| Units { asked: calls * rows, draws: calls, ..Units::default() };
        let mut seen = TrafficSeen::default();
        seen.see(1, true, split(0.01), &together(1, 100));
        seen.see(1, false, split(0.01), &together(9, 100));
        assert_eq!(seen.fault(), None);
        seen.see(1, false, split(0.01), &together(190, 100));
        assert_eq!(seen.fault(), None);
        seen.see(1, true, split(0.01), &together(1, 20_000));
        let told = seen.fault().unwrap();
        assert!(told.contains("a few batches or pinned streams") && !told.contains("key"), "{told}");
    }

    #[test]
    fn one_key_with_an_outsized_part_is_told_and_many_are_not() {
        let mut seen = TrafficSeen::default();
        let many: Vec<u64> = (0..4_000).collect();
        seen.see(1, true, split(0.5), &asked(4_000, &many));
        assert_eq!(seen.fault(), None);
        let some: Vec<u64> = (0..2_000).map(|n| if n % 3 == 0 { 7 } else { n }).collect();
        seen.see(1, true, split(0.5), &asked(2_000, &some));
        assert!(seen.fault().unwrap().starts_with("one key brings 3"));
    }
}
