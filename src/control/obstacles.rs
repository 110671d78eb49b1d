//! Why a candidate does not go on, whatever its evidence: what is exposed is not what was decided, what is counted cannot be
//! trusted, or nothing can be shown here. Each is told with its reason, and ends when it is so no more.

use std::sync::Arc;

use super::attempt::{Attempt, GuardTest};
use super::control::Control;
use super::desk::Desk;
use super::doubt::Doubt;
use super::event::EventKind;
use super::traffic::TrafficSeen;
use crate::base::clock::Timestamp;
use crate::base::share::Share;
use crate::request::shadow::ShadowCounts;
use crate::rollout::guard::answering::labels_differ_lately;
use crate::rollout::guard::design::{TruthKind, Uses};
use crate::rollout::guard::tested::Tested;
use crate::rollout::phase::Phase;
use crate::stats::Window;
use crate::stats::evidence::arm::{ArmCounts, UnitCounts};
use crate::stats::evidence::pair::PairCounts;
use crate::stats::figures::tally::Tally;
use crate::stats::sequential::{Additive, Asymptotic, EValue, Events, PairedEvents, SampleRatio, Values};

const UNITS_MISMATCH: &str =
    "units do not come in the shares in which traffic was split: telemetry was lost or counted twice";

const NO_CONTROL: &str = "none of live's users is left to compare its users with, since candidates have them: expose others to fewer, or \
                          shadow, where of each user one request is compared with live's answer to it";

const HARDLY_ANY_CONTROL: &str = "hardly any of live's users is left to compare its users with, since candidates have them: expose others to \
                                  fewer and then this one to more, or shadow, where of each user one request is compared with live's \
                                  answer to it";

const NO_CONTROL_ANY_MORE: &str = "none of live's users is left to compare its users with, since candidates have them: expose others to \
                                   fewer and then this one to more, or shadow, where of each user one request is compared with live's \
                                   answer to it";

const KEYS_UNWATCHED: &str = "requests with a key are not watched while a candidate answers some of them: it is compared with live by \
                              users, each of whom counts once";

fn outside_told(outcomes: u64) -> String {
    format!(
        "{outcomes} outcomes lay outside of the bounds that the business figure was declared with: what is left without them \
         shows nothing, so declare bounds that hold"
    )
}

const LABELS_MISMATCH: &str = "labels arrive in another share for the candidate than for live";

impl Attempt {
    /// Returns what speaks against what was counted since the exposure changed, if anything does.
    pub(crate) fn doubted(&self) -> Option<String> {
        let uncovered = |test: &GuardTest| labels_differ_lately(&test.design, &self.ledger);
        if self.units_mismatch() {
            Some(UNITS_MISMATCH.into())
        } else if self.tests().any(uncovered) {
            Some(LABELS_MISMATCH.into())
        } else if let Some(outside) = self.tests().find_map(|test| self.outside_of_bounds(test)) {
            Some(outside_told(outside))
        } else {
            // What both suffer together makes them alike: a candidate that is too bad in the quiet would be shown not to be.
            self.tests().find_map(|test| self.live_got_worse(test))
        }
    }

    /// What was doubted is evidence no more. How long it stood in the way is kept, for the next time.
    pub(crate) fn end_doubt(&mut self) {
        self.doubt = self.doubt.map(|doubt| Doubt { over: true, ..doubt });
    }

    /// Returns what came of live's units since the exposure changed, beside a canary and in pairs.
    fn lives(&self, of: impl Fn(&UnitCounts) -> Events, of_pairs: impl Fn(&PairCounts) -> Events) -> Events {
        let fresh = self.ledger.fresh();
        let mut sum = of_pairs(&fresh.pairs);
        for (_, arms) in fresh.requests.iter().chain(fresh.keys.iter()) {
            sum.merge(&of(&arms.live.units));
        }
        sum
    }

    /// Whether units come in other shares than traffic was split in, since the exposure last changed: what is shown for a
    /// promotion rests on these.
    pub(crate) fn units_mismatch(&self) -> bool {
        self.ledger.units_mismatch() >= EValue::against(SampleRatio::ALPHA)
    }

    /// Whether live has become worse since the exposure changed than it was before the rollout, by more than chance: then the
    /// candidate may be what slows or breaks it, and a comparison with a live that it harms flatters it.
    fn live_got_worse(&self, test: &GuardTest) -> Option<String> {
        const TIMES: f64 = 2.0;
        const FEWEST: u64 = 50;
        const BY_CHANCE: u64 = 4;
        const MANY: u64 = 500;
        let (seen, usual, what) = match test.design.tested {
            Tested::Slow(place) => {
                // Of a limit in milliseconds it is not known how often live broke it before.
                let probe = self.probes.get(place).filter(|probe| probe.usual > 0.0)?;
                let of_pairs = |pairs: &PairCounts| {
                    pairs.slow.get(place).map_or_else(Events::default, PairedEvents::of_live)
                };
                (self.lives(|arm| arm.slower(place), of_pairs), probe.usual, "slower")
            }
            // What is usual is known once live has answered some; of few it may be some more than was seen.
            Tested::Failures if self.live_before.units >= FEWEST => {
                let seen = self.lives(UnitCounts::failures, |pairs| pairs.failed.of_live());
                let Events { events, units } = self.live_before;
                let by_chance = if units < MANY { BY_CHANCE } else { 0 };
                let usual = (events + by_chance) as f64 / units as f64;
                (seen, usual.max(0.005), "failing more often")
            }
            _ => return None,
        };
        let limit = Some(TIMES * usual).filter(|limit| *limit < 1.0)?;
        let worse = test.tests.above(limit)(&seen);
        (worse >= EValue::against(SampleRatio::ALPHA)).then(|| {
            format!(
                "live itself is {what} than before the rollout, in {:.1} % of its requests where {:.1} % were usual: the \
                 candidate may be the cause",
                seen.rate().unwrap_or(0.0) * 100.0,
                usual * 100.0
            )
        })
    }

    /// Values of a rule's business figure outside of its bounds since the exposure last changed, of either arm, where there are any.
    fn outside_of_bounds(&self, test: &GuardTest) -> Option<u64> {
        let (Tested::Kpi(place) | Tested::KpiSuccesses(place)) = test.design.tested else { return None };
        let fresh = self.ledger.fresh();
        let of = |arm: &ArmCounts| arm.labels.kpis.get(place).map_or(0, |kpi| kpi.outside);
        let arms = [fresh.requests.pooled(), fresh.keys.pooled()];
        let outside = arms.iter().map(|arms| of(&arms.candidate).saturating_add(of(&arms.live))).sum();
        Some(outside).filter(|outside: &u64| *outside > 0)
    }

    /// Returns what keeps the candidate from being promoted by a rule, whatever its evidence. `copies` are those since the exposure changed.
    pub(crate) fn obstacles(
        &self,
        test: &GuardTest,
        copies: &ShadowCounts,
        truth: TruthKind,
        before: Share,
    ) -> Vec<String> {
        let mut obstacles = Vec::new();
        let design = &test.design;
        // These keep it from any step: what was decided about exposure does not hold, or nothing can be seen yet.
        obstacles.extend(self.traffic_fault.clone());
        if let Some(until) = self.circuit.open_until {
            obstacles.push(format!("its circuit is open, and live answers alone until {until}"));
        }
        if let Tested::Slow(place) = design.tested
            && let Some(probe) = self.probes.get(place).filter(|probe| probe.frozen.is_none())
        {
            obstacles
                .push(format!("live's quantile is frozen once it has answered {} requests", probe.wanted()));
        }
        obstacles.extend(self.live_got_worse(test));
        if before != Share::ALL {
            return obstacles;
        }
        let until = self
            .doubt
            .filter(|doubt| !doubt.over)
            .map(|doubt| format!("; its evidence begins again at {}", doubt.until))
            .unwrap_or_default();
        if self.units_mismatch() {
            obstacles.push(format!("{UNITS_MISMATCH}{until}"));
        }
        if labels_differ_lately(design, &self.ledger) {
            obstacles.push(format!("{LABELS_MISMATCH}{until}"));
        }
        if let (Tested::KpiValues(place), Uses::Arms) = (design.tested, design.uses) {
            let fresh = self.ledger.fresh();
            let values =
                |arm: &ArmCounts| arm.labels.kpis.get(place).map_or_else(Values::default, |kpi| kpi.values);
            let fewest = Asymptotic::events(&[&fresh.requests.map(values), &fresh.keys.map(values)]);
            if fewest < Asymptotic::EVENTS {
                obstacles.push(format!(
                    "a figure without bounds is judged from {} events of each version on, and there are {fewest:.0}: declare \
                     bounds to have it judged sooner",
                    Asymptotic::EVENTS
                ));
            }
        }
        if let Some(outside) = self.outside_of_bounds(test) {
            obstacles.push(format!("{}{until}", outside_told(outside)));
        }
        if design.needs_labels() && truth == TruthKind::Censored(None) {
            obstacles.push(String::from(
                "what is answered hides the truth: without `explore` no equality can be shown, only bounds",
            ));
        }
        if let (true, Some(dropped), Some(margin)) =
            (design.rests_on_pairs(), copies.drop_rate(), design.absolute_margin())
            && dropped > margin / 10.0
        {
            obstacles.push(format!(
                "{:.2} % of the copies were dropped since the exposure changed, more than a tenth of the margin: give the shadow \
                 more room",
                dropped * 100.0
            ));
        }
        obstacles
    }
}

impl Control {
    /// Takes live's latencies as they are now for those that what comes is held against.
    pub(crate) fn refreeze(&mut self, number: u32, now: Timestamp) {
        let Some(control) = self.attempt(number).map(|attempt| attempt.control) else { return };
        let arms = [Some(control), self.lifetime(self.live.id)];
        let lately = arms.into_iter().flatten().filter_map(|arm| self.arms.get(&arm));
        let lately: Vec<Tally> = lately.map(|arm| arm.read(Window::Recent, now)).collect();
        if let Some(attempt) = self.attempt_mut(number) {
            attempt.refreeze_probes(&lately.iter().collect::<Vec<_>>());
        }
    }

    /// What live has as the control of a canary, where users are what counts and that is nothing, or hardly anything.
    fn lacks_control(&self, attempt: &Attempt) -> Option<Share> {
        const FEW: f64 = 0.1;
        let weight = attempt.state.weight;
        let is_split = weight != Share::NONE && weight != Share::ALL && attempt.traffic.counts_few_keys();
        let control = is_split.then(|| self.buckets.control(attempt.slot))?;
        // One that has nearly all of the traffic to itself lacks it by its own share.
        let is_other = |other: &Attempt| other.number != attempt.number && other.state.weight != Share::NONE;
        let others = self.attempts.iter().any(is_other);
        let lacks = others && control.fraction() < FEW * weight.fraction();
        lacks.then_some(control)
    }

    /// Gives a candidate a control that had none for want of live's users, once others have left some. Whether any has got one.
    fn match_up(&mut self, lacking: &[u32]) -> bool {
        let mut matched = false;
        for attempt in self.attempts.iter_mut().filter(|attempt| lacking.contains(&attempt.number)) {
            // What was seen so far says that nobody counts.
            if attempt.keys_seen() == 0 && self.buckets.match_up(attempt.slot) {
                (attempt.traffic, attempt.keys_run_out) = (TrafficSeen::default(), None);
                matched = true;
            }
        }
        matched
    }

    /// Looks at whether what candidates count can be trusted, and leaves out what cannot once it has stood in the way for long
    /// enough: a fault that passes must not block a candidate for ever. Whether the table changes with it.
    pub(crate) fn doubt(&mut self, desk: Desk<'_>, events: &mut Vec<EventKind>) -> bool {
        let now = desk.now;
        let mut begin_again = Vec::new();
        let pairs = self.settings.shadowing && self.settings.canary_pairs;
        let split =
            |attempt: &Attempt| (self.split_of_requests(attempt).is_some(), self.lacks_control(attempt));
        let splits: Vec<_> = self.attempts.iter().map(split).collect();
        let mut lacking = Vec::new();
        let canary = self.attempts.iter().any(Attempt::answers_callers);
        let unwatched = (self.keyed && canary).then_some(KEYS_UNWATCHED);
        for (attempt, (split, lacks_control)) in self.attempts.iter_mut().zip(splits) {
            let version = attempt.version;
            if attempt.state.phase == Phase::Baking {
                attempt.keys_run_out = unwatched.map(String::from);
            }
            if !matches!(attempt.state.phase, Phase::Shadow | Phase::Canary) {
                continue;
            }
            let fault = attempt.traffic.fault().filter(|_| split);
            let run_out = if attempt.state.phase == Phase::Shadow || (lacks_control.is_some() && pairs) {
                // Pairs are all that it is compared by.
                attempt.traffic.keys_of_pairs_run_out()
            } else if let Some(control) = lacks_control {
                let none_counted = attempt.keys_seen() == 0;
                Some(String::from(match (control == Share::NONE, none_counted) {
                    (false, _) => HARDLY_ANY_CONTROL,
                    (true, true) => NO_CONTROL,
                    (true, false) => NO_CONTROL_ANY_MORE,
                }))
            } else {
                attempt.traffic.keys_run_out()
            };
            if lacks_control.is_some() {
                lacking.push(attempt.number);
            }
            let told = attempt.traffic.untold(fault.as_ref(), run_out.as_ref());
            events.extend(told.into_iter().map(|reason| EventKind::Held { version, reason }));
            (attempt.traffic_fault, attempt.keys_run_out) = (fault, run_out);
            match attempt.doubt {
                Some(Doubt { over: false, until, .. }) if now >= until => begin_again.push(attempt.number),
                Some(Doubt { over: false, .. }) => {}
                earlier => {
                    if let Some(reason) = attempt.doubted() {
                        let doubt = Doubt::after(earlier, now);
                        attempt.doubt = Some(doubt);
                        let reason = format!("{reason}; its evidence begins again at {}", doubt.until);
                        events.push(EventKind::Held { version, reason });
                    }
                }
            }
        }
        for number in &begin_again {
            let Some(attempt) = self.attempt_mut(*number) else { continue };
            attempt.end_doubt();
            Arc::make_mut(&mut attempt.ledger).begin_era();
            attempt.state.forget(now);
            let (version, last) = (attempt.version, attempt.looked);
            self.refreeze(*number, now);
            let reason = String::from("what was counted in this step could not be trusted");
            events.push(EventKind::EvidenceReset { version, reason });
            if last {
                self.look_again(*number);
            }
        }
        self.match_up(&lacking) | !begin_again.is_empty()
    }
}
