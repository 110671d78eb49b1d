//! A switchback experiment by hand: versions that share a cache, a budget or a stock are compared by periods of time.
//!
//! All traffic of a period goes to one version. Periods come in pairs, one of each version, in an order that is drawn, so a
//! pair's difference is on average what the versions differ by, whatever the hour does. The beginning of each period, the
//! *burn-in*, counts for neither: what the other version has left behind still acts there. A pair is one unit.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use switchback::guard::{Comparison, Evidence, Guard, Verdict};
use switchback::stats::sequential::{Claim, EValue, PairedScores, Scores, SequentialTest};
use switchback::{ArgumentError, Rollout, RolloutError, Timestamp};

/// How long periods are, and what is asked of the candidate.
pub(crate) struct Design {
    pub(crate) length: Duration,
    /// At the beginning of each: as long as a version's doings last once another one answers.
    pub(crate) burn_in: Duration,
    /// After so long a silence somebody else has decided who answers: the handle takes candidates off by itself.
    pub(crate) gap: Duration,
    /// How much larger the candidate's loss may be, from 0 to 1.
    pub(crate) margin: f64,
    /// The error of taking a candidate back that is within the margin, and of promoting one that is beyond it.
    pub(crate) error: (f64, f64),
    /// What the order of each pair is drawn from. Whoever knows it knows who answers next.
    pub(crate) secret: u64,
}

/// Periods of time as units, and the guard over them.
pub(crate) struct Periods {
    design: Design,
    harm: PairedScores,
    no_harm: PairedScores,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Periods that were begun.
    begun: u64,
    current: Option<Period>,
    /// The first of a pair, once it is over.
    first: Option<Period>,
    /// The candidate's mean loss less live's, of each pair.
    differences: Scores,
    /// Pairs that are evidence for neither, since somebody did not look in time.
    void: u64,
}

/// One period.
#[derive(Clone, Copy)]
struct Period {
    began: Timestamp,
    candidate: bool,
    looked: Timestamp,
    whole: bool,
    requests: u64,
    loss: f64,
}

impl Periods {
    pub(crate) fn new(design: Design) -> Result<Arc<Self>, ArgumentError> {
        let test = |claim| PairedScores::new(claim, design.margin);
        let (harm, no_harm) = (test(Claim::Harm)?, test(Claim::NonInferiority)?);
        Ok(Arc::new(Self { design, harm, no_harm, state: Mutex::default() }))
    }

    /// The guard, for the rollout.
    pub(crate) fn guard(self: &Arc<Self>) -> ByPeriods {
        ByPeriods(Arc::clone(self))
    }

    /// Begins the next period once it is time. To be called after each tick.
    pub(crate) fn turn<I: ?Sized + 'static, O: 'static>(
        &self,
        rollout: &Rollout<I, O>,
        now: Timestamp,
    ) -> Result<(), RolloutError> {
        let candidate = {
            let mut state = self.state();
            if let Some(period) = &mut state.current {
                period.whole &= now.since(period.looked) <= self.design.gap;
                period.looked = now;
                if now.since(period.began) < self.design.length {
                    return Ok(());
                }
            }
            if let Some(over) = state.current.take() {
                self.end(&mut state, over);
            }
            self.is_candidates(state.begun)
        };
        // Traffic moves first, and the period begins with it. Nothing is held meanwhile.
        rollout.canary(if candidate { 1.0 } else { 0.0 })?;
        let mut state = self.state();
        state.begun += 1;
        state.current =
            Some(Period { began: now, candidate, looked: now, whole: true, requests: 0, loss: 0.0 });
        Ok(())
    }

    /// Counts what a request has cost, from 0 to 1, whoever answered it in the end. Not in a burn-in: there it is nobody's.
    pub(crate) fn count(&self, now: Timestamp, loss: f64) {
        let mut state = self.state();
        if let Some(period) = &mut state.current
            && now.since(period.began) >= self.design.burn_in
        {
            period.requests += 1;
            period.loss += loss.clamp(0.0, 1.0);
        }
    }

    fn end(&self, state: &mut State, over: Period) {
        let Some(first) = state.first.take() else {
            state.first = Some(over);
            return;
        };
        let (own, lives) = if first.candidate { (first, over) } else { (over, first) };
        let whole = |period: Period| period.whole && period.requests > 0;
        if whole(own) && whole(lives) {
            let mean = |period: Period| period.loss / period.requests as f64;
            let chance = mixed(self.design.secret ^ 0x5555, state.begun);
            state.differences.count(mean(own) - mean(lives), chance);
        } else {
            state.void += 1;
        }
    }

    /// Whether a period is the candidate's: of each pair one is, drawn.
    fn is_candidates(&self, number: u64) -> bool {
        let first = mixed(self.design.secret, number / 2) & 1 == 1;
        first == number.is_multiple_of(2)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A guard that rests on periods.
pub(crate) struct ByPeriods(Arc<Periods>);

impl Guard for ByPeriods {
    fn name(&self) -> String {
        format!("loss by periods at most {} above live", self.0.design.margin)
    }

    fn judge(&self, _: &Comparison<'_>) -> Evidence {
        let Periods { design, harm, no_harm, .. } = &*self.0;
        let state = self.0.state();
        let (harmful, harmless) = (harm.e_value(&state.differences), no_harm.e_value(&state.differences));
        let shown = |evidence, error| EValue::threshold(error).is_ok_and(|threshold| evidence >= threshold);
        let verdict = if shown(harmful, design.error.0) {
            Verdict::Fail
        } else if shown(harmless, design.error.1) {
            Verdict::Pass
        } else {
            Verdict::Inconclusive
        };
        let pairs = state.differences.count_all();
        let evidence = Evidence::new(self.name(), verdict).limit(design.margin).note(format!(
            "by {pairs} pairs of periods, and {} that count for neither; evidence of harm {harmful}, of no harm {harmless}",
            state.void
        ));
        match state.differences.mean() {
            Some(difference) => evidence.observed(difference, pairs),
            None => evidence,
        }
    }
}

/// SplitMix64 of one of many.
fn mixed(seed: u64, number: u64) -> u64 {
    let mut z = seed.wrapping_add((number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
