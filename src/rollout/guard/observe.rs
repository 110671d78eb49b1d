//! The observations of a rule's figure, and the interval of the effect.

use super::design::{Design, Margin, Uses};
use super::evaluate::Tests;
use super::evidence::{Effect, EffectKind};
use super::history::{History, Series, Stretch};
use super::tested::Tested;
use crate::stats::sequential::test::Claim;
use crate::stats::sequential::{Additive, Arms, Events, Interval, Parts, Scores, Values, not_excluded};

impl Design {
    /// Returns what was observed, of both versions.
    pub(crate) fn observe(&self, history: &History) -> Observed {
        match history {
            History::Events(stretch) | History::BySegment { all: stretch, .. } => {
                let all = stretch.blocks.total();
                match self.compared(all.pairs.pairs(), all.requests.pooled(), all.keys.pooled()) {
                    Compared::Pairs => {
                        let (candidate, live) = (all.pairs.of_candidate(), all.pairs.of_live());
                        self.observed(candidate.rate(), candidate.units, live.rate(), live.units)
                    }
                    Compared::Arms => {
                        let (candidate, live) = all.alike(|arm| arm.rate(), |arm| arm.units);
                        self.observed(candidate, all.candidate_in_arms().units, live, all.live().units)
                    }
                    Compared::Alone => {
                        let own = all.candidate();
                        self.observed(own.rate(), own.units, None, 0)
                    }
                }
            }
            History::Scores(stretch) => {
                let all = stretch.blocks.total();
                let loss =
                    |mean: Option<f64>| if self.turns_scores() { mean.map(|mean| 1.0 - mean) } else { mean };
                match self.uses {
                    // Only the difference is kept of a pair.
                    Uses::Pairs => {
                        self.observed(all.pairs.mean(), all.pairs.count_all(), None, 0).difference()
                    }
                    Uses::Alone => {
                        let own = all.candidate();
                        self.observed(loss(own.mean()), own.count_all(), None, 0)
                    }
                    Uses::Arms | Uses::Both => {
                        let (own, live) = all.alike(Scores::mean, Scores::count_all);
                        let counts = (all.candidate_in_arms().count_all(), all.live().count_all());
                        self.observed(loss(own), counts.0, loss(live), counts.1)
                    }
                }
            }
            History::Values(stretch) => {
                let all = stretch.blocks.total();
                let loss = |mean: Option<f64>| if self.reads_gain() { mean.map(|mean| -mean) } else { mean };
                match self.uses {
                    Uses::Pairs => {
                        self.observed(loss(all.pairs.mean()), all.pairs.len(), None, 0).difference()
                    }
                    _ => {
                        let (own, live) = all.alike(Values::mean, Values::len);
                        let counts = (all.candidate_in_arms().len(), all.live().len());
                        self.observed(loss(own), counts.0, loss(live), counts.1)
                    }
                }
            }
            History::Ratios(stretch) => {
                let all = stretch.blocks.total();
                match self.uses {
                    Uses::Pairs => {
                        let ratios = all.pairs.ratios();
                        self.observed(ratios.candidate, all.pairs.pairs(), ratios.live, all.pairs.pairs())
                    }
                    Uses::Alone => {
                        let own = all.candidate();
                        self.observed(own.ratio(), own.whole(), None, 0)
                    }
                    Uses::Arms | Uses::Both => {
                        let (own, live) = all.alike(Parts::ratio, Parts::whole);
                        self.observed(own, all.candidate_in_arms().whole(), live, all.live().whole())
                    }
                }
            }
            History::Hidden(stretch) => {
                let seen = stretch.blocks.total().pairs.seen;
                let (own, live) = (seen.of_candidate(), seen.of_live());
                self.observed(own.rate(), own.units, live.rate(), live.units)
            }
        }
    }

    fn compared(&self, pairs: u64, requests: Arms<Events>, keys: Arms<Events>) -> Compared {
        match self.uses {
            Uses::Pairs => Compared::Pairs,
            Uses::Arms => Compared::Arms,
            Uses::Alone => Compared::Alone,
            Uses::Both if pairs > requests.candidate.units.saturating_add(keys.candidate.units) => {
                Compared::Pairs
            }
            Uses::Both => Compared::Arms,
        }
    }

    fn observed(
        &self,
        candidate: Option<f64>,
        samples: u64,
        live: Option<f64>,
        live_samples: u64,
    ) -> Observed {
        Observed { candidate, samples, live, live_samples, is_difference: false }
    }

    /// The interval of the effect, at all times, with an error of 5 %: of the factor where the margin is one, else of the
    /// difference, or of the loss itself. `None` where there is nothing to enclose.
    pub(crate) fn interval(&self, history: &History) -> Option<Effect> {
        // What the test finds at another margin.
        let at = |margin| Design { margin, floor: None, ..self.clone() };
        let tests = Tests::default();
        let evidence = |claim: Claim, margin: Margin| {
            let design = at(margin);
            match history {
                History::Events(stretch) | History::BySegment { all: stretch, .. } => {
                    // Both ends are of everything, as the estimate is.
                    let all = Series { outage: None, ..stretch.blocks.total() };
                    tests.events(&design, (claim, margin))(&all)
                }
                History::Scores(stretch) => tests.scores(&design, (claim, margin))(&stretch.blocks.total()),
                History::Values(stretch) => tests.values(&design, (claim, margin))(&stretch.blocks.total()),
                History::Ratios(stretch) => tests.ratios(&design, (claim, margin))(&stretch.blocks.total()),
                History::Hidden(stretch) => tests.hidden(&design, (claim, margin))(&stretch.blocks.total()),
            }
        };
        let seen = self.observe(history);
        const ERROR: f64 = 0.05;
        match self.margin {
            Margin::Above(_) => {
                let estimate =
                    if seen.is_difference { seen.candidate? } else { seen.candidate? - seen.live? };
                // Values without bounds may differ by anything.
                let far = if matches!(history, History::Values(_)) { 1e9 } else { 1.0 };
                let Interval { low, high } = not_excluded(ERROR, -far..=far, estimate, |claim, margin| {
                    evidence(claim, Margin::Above(margin))
                });
                Some(Effect { kind: EffectKind::Difference, estimate, low, high })
            }
            Margin::Times(_) => {
                let estimate = (seen.candidate? / seen.live.filter(|live| *live > 0.0)?).clamp(1e-3, 1e3);
                let Interval { low, high } = not_excluded(ERROR, 1e-3..=1e3, estimate, |claim, times| {
                    evidence(claim, Margin::Times(times))
                });
                Some(Effect { kind: EffectKind::Factor, estimate, low, high })
            }
            Margin::AtLeastTimes(_) => {
                let estimate = (seen.candidate? / seen.live.filter(|live| *live > 0.0)?).clamp(1e-3, 1e3);
                // Events are good ones: what shows harm bounds the factor from above.
                let turned = |claim| match claim {
                    Claim::Harm => Claim::NonInferiority,
                    Claim::NonInferiority => Claim::Harm,
                };
                let Interval { low, high } = not_excluded(ERROR, 1e-3..=1e3, estimate, |claim, times| {
                    evidence(turned(claim), Margin::AtLeastTimes(times))
                });
                Some(Effect { kind: EffectKind::Factor, estimate, low, high })
            }
            Margin::AtMost(_) => {
                let estimate = seen.candidate?;
                let Interval { low, high } = not_excluded(ERROR, 0.0..=1.0, estimate, |claim, limit| {
                    evidence(claim, Margin::AtMost(limit))
                });
                Some(Effect { kind: EffectKind::Value, estimate, low, high })
            }
        }
    }

    /// The candidate's units with the event that is bad, where the figure is a rate: of the last stretch, or of all.
    pub(crate) fn watched(&self, history: &History, lately: bool) -> Option<Events> {
        fn own<P: Additive, S: Additive>(stretch: &Stretch<Series<P, S>>, lately: bool) -> S {
            if lately && !stretch.fresh.is_empty() {
                stretch.fresh.candidate()
            } else {
                stretch.blocks.total().candidate()
            }
        }
        match (self.tested, history) {
            (Tested::KpiSuccesses(_) | Tested::Differences, _) => None,
            // A candidate that was only ever judged by pairs has labels of its own too.
            (_, History::Events(stretch) | History::BySegment { all: stretch, .. }) => {
                Some(own(stretch, lately))
            }
            (Tested::Kpi(_), History::Scores(stretch)) => {
                let scores = own(stretch, lately);
                let bad = if self.reads_gain() { 0 } else { Scores::STEPS };
                let yes_or_no = scores.places().all(|(place, _)| place == 0 || place == Scores::STEPS);
                let events = scores.places().filter(|(place, _)| *place == bad).map(|(_, count)| count).sum();
                yes_or_no.then(|| Events { events, units: scores.count_all() })
            }
            _ => None,
        }
    }
}

enum Compared {
    Pairs,
    Arms,
    Alone,
}

/// The observations of a rule's figure, as losses.
pub(crate) struct Observed {
    pub(crate) candidate: Option<f64>,
    pub(crate) samples: u64,
    pub(crate) live: Option<f64>,
    pub(crate) live_samples: u64,
    /// The candidate's is the difference from live's already.
    pub(crate) is_difference: bool,
}

impl Observed {
    fn difference(self) -> Self {
        Self { is_difference: true, ..self }
    }
}

impl<P: Additive, S: Additive> Series<P, S> {
    /// A figure of both arms over the same mixture of time: of each share of traffic by itself, weighted by how many units of
    /// two equal arms would tell as much. Pooled over shares while the level moves, two equal versions would differ: one had
    /// most of its units early and the other late. Nothing where no share has both.
    fn alike(
        &self,
        figure: impl Fn(&S) -> Option<f64>,
        units: impl Fn(&S) -> u64,
    ) -> (Option<f64>, Option<f64>) {
        let (mut own, mut lives, mut weights) = (0.0, 0.0, 0.0);
        for (_, arms) in self.requests.iter().chain(self.keys.iter()) {
            let (Some(candidate), Some(live)) = (figure(&arms.candidate), figure(&arms.live)) else {
                continue;
            };
            let (n, m) = (units(&arms.candidate) as f64, units(&arms.live) as f64);
            let weight = n * m / (n + m).max(1.0);
            (own, lives, weights) = (own + weight * candidate, lives + weight * live, weights + weight);
        }
        if weights > 0.0 {
            return (Some(own / weights), Some(lives / weights));
        }
        (figure(&self.candidate_in_arms()), figure(&self.live()))
    }

    fn candidate_in_arms(&self) -> S {
        let mut all = self.requests.pooled().candidate;
        all.merge(&self.keys.pooled().candidate);
        all
    }
}
