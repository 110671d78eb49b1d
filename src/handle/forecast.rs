//! What a handle knows of the time that a plan takes, and plans that are chosen by it.

use std::sync::Arc;
use std::time::Duration;

use super::core::Core;
use super::handle::ModelHandle;
use super::rollout::{Rollout, RolloutError};
use crate::base::clock::Timestamp;
use crate::base::share::Share;
use crate::control::control::Control;
use crate::control::event::EventKind;
use crate::rollout::auto::choose;
use crate::rollout::budget::{ErrorBudget, ErrorBudgetStatus};
use crate::rollout::forecast::forecast::{Forecast, Span, forecast, time_to, undecidable};
use crate::rollout::forecast::reach::Reach;
use crate::rollout::forecast::simulation::Asked;
use crate::rollout::forecast::traffic::{Traffic, unless_finite};
use crate::rollout::guard::Rule;
use crate::rollout::guard::design::Design;
use crate::rollout::guard::guard::Guard;
use crate::rollout::guard::history::{History, Series};
use crate::rollout::guard::tested::Tested;
use crate::rollout::plan::{Exposure, Plan};

/// From so many discordant pairs on a rollout's own count is a better guess than any: it is a third off at most, twice of
/// three times.
const DISCORDANT_KNOWN: u64 = 8;

impl<I: ?Sized + 'static, O: 'static> ModelHandle<I, O> {
    /// Traffic as live has seen it so far: what a forecast rests on. Nothing before the first request.
    pub fn traffic(&self) -> Option<Traffic> {
        self.inner.traffic()
    }

    /// How long a plan would take to decide by these rules with this traffic, before anything runs: until harm is seen,
    /// and until a candidate as good as live is promoted. Takes tens of milliseconds per rule and step: it simulates.
    ///
    /// # Errors
    ///
    /// A rule that could not judge here, with the reason; traffic with a number that makes no sense.
    pub fn forecast(&self, rules: &[Rule], plan: &Plan, traffic: &Traffic) -> Result<Forecast, RolloutError> {
        self.inner.forecast(rules, plan, traffic)
    }

    /// How long until a harm of this size is seen by one rule at one exposure: `size` times as far off as its margin. Half
    /// of the time it is sooner. `None` where it is not within [`Forecast::HORIZON`].
    ///
    /// # Errors
    ///
    /// The rule could not judge here, with the reason; traffic or a size with a number that makes no sense.
    pub fn forecast_harm(
        &self,
        rule: &Rule,
        exposed: Exposure,
        size: f64,
        traffic: &Traffic,
    ) -> Result<Option<Duration>, RolloutError> {
        self.inner.forecast_harm(rule, exposed, size, traffic)
    }
}

impl<I: ?Sized + 'static, O: 'static> Rollout<I, O> {
    /// How long a plan would take to decide by this rollout's guards, with traffic as live has seen it; `None` before the
    /// first request. Takes tens of milliseconds per guard and step: it simulates. Guards of the host's own are left out.
    pub fn forecast(&self, plan: &Plan) -> Option<Forecast> {
        let inner = &self.handle.inner;
        let traffic = self.traffic()?;
        let rules = self.designs();
        let guards = u32::try_from(rules.len()).unwrap_or(u32::MAX);
        let thresholds =
            ErrorBudgetStatus::divide(inner.error_budget(), 0, 1, guards, false).thresholds(false);
        Some(forecast(
            &rules,
            plan,
            inner.serving.shadow.is_some(),
            thresholds,
            &traffic,
            inner.tick_interval(),
        ))
    }

    /// Traffic as live has seen it, with what this rollout's own pairs say of how often the two versions differ.
    fn traffic(&self) -> Option<Traffic> {
        let mut traffic = self.handle.inner.traffic()?;
        let control = &*self.handle.inner.control.lock();
        let ledger = control.attempt(self.number).map(|attempt| Arc::clone(&attempt.ledger));
        let discordant = |tested| match History::of(tested, ledger.as_deref()?) {
            History::Events(stretch) => {
                let Series { pairs, alone, .. } = stretch.blocks.total();
                let apart = pairs.only_live.saturating_add(pairs.only_candidate);
                let (apart, all) = match tested {
                    Tested::Differences => (alone.events, alone.units),
                    _ => (apart, pairs.pairs()),
                };
                (apart >= DISCORDANT_KNOWN).then(|| apart as f64 / all as f64)
            }
            _ => None,
        };
        if let Some(failures) = discordant(Tested::Failures) {
            traffic.discordant_failures = failures;
        }
        if let Some(wrong) = discordant(Tested::Wrong) {
            traffic.discordant = wrong;
        }
        if let Some(differing) = discordant(Tested::Differences) {
            traffic.differing = differing;
        }
        traffic.discordant_is_known = discordant(Tested::Wrong).or(discordant(Tested::Failures)).is_some();
        Some(traffic)
    }

    fn designs(&self) -> Vec<(Rule, Design)> {
        let control = &*self.handle.inner.control.lock();
        let attempt = control.attempt(self.number);
        let tests = attempt.into_iter().flat_map(|attempt| attempt.tests());
        tests.map(|test| (test.rule.clone(), Design::clone(&test.design))).collect()
    }

    /// The plan with its steps, where they are to be chosen; and guards, where there are none.
    pub(super) fn chosen(&self, plan: Plan) -> Result<Plan, RolloutError> {
        let Some(budget) = plan.budget() else { return Ok(plan) };
        let inner = &self.handle.inner;
        let traffic = self.traffic().ok_or(RolloutError::NoTraffic)?;
        let chosen = choose(budget, &self.designs(), &inner.setting(), &traffic, inner.error_budget())?;
        for rule in &chosen.rules {
            self.add(Arc::new(rule.clone()), false, Some(rule.clone()))
                .map_err(|reason| RolloutError::Guard { name: rule.name(), reason })?;
        }
        let plan = chosen.plan.bake(plan.baking()).on_inconclusive(plan.policy());
        let guards = chosen.rules.iter().map(Guard::name).collect();
        self.handle.change(|control| {
            let (now, epoch, version) = (inner.serving.clock.now(), control.epoch, self.version);
            let planned = EventKind::Planned { version, plan: plan.clone(), guards };
            control.announcer.announce(now, epoch, planned);
            if !chosen.decidable {
                let forecast = format!(
                    "neither harm nor equality can be shown within {} at two points or 1.25 times: a person will be asked",
                    Span(budget)
                );
                control.announcer.announce(now, epoch, EventKind::Undecidable { version, forecast });
            }
        });
        Ok(plan)
    }

    /// Why a plan cannot be decided with traffic as live has seen it, as far as that is known.
    pub(super) fn undecidable(&self, plan: &Plan) -> Option<String> {
        let inner = &self.handle.inner;
        let traffic = self.traffic()?;
        let rules = self.designs();
        let guards = u32::try_from(rules.len()).unwrap_or(u32::MAX);
        let thresholds =
            ErrorBudgetStatus::divide(inner.error_budget(), 0, 1, guards, false).thresholds(false);
        undecidable(&rules, plan, inner.serving.shadow.is_some(), thresholds, &traffic)
    }
}

impl<I: ?Sized + 'static, O: 'static> Core<I, O> {
    /// The errors that all tries of an identity may have together.
    fn error_budget(&self) -> ErrorBudget {
        self.control.lock().settings.error_budget
    }

    fn tick_interval(&self) -> Duration {
        self.control.lock().settings.tick_interval
    }

    /// Traffic as live has seen it so far, its figures brought up to date; nothing before the first request.
    fn traffic(&self) -> Option<Traffic> {
        let now = self.serving.clock.now();
        let control = &mut *self.control.lock();
        control.collect(&self.serving.joins, now);
        control.traffic(control.settings.exposure.maturity.age(), now)
    }

    /// See [`ModelHandle::forecast`].
    fn forecast(&self, rules: &[Rule], plan: &Plan, traffic: &Traffic) -> Result<Forecast, RolloutError> {
        traffic.check()?;
        let setting = self.setting();
        let designed = |(place, rule): (usize, &Rule)| match Design::of(rule, Some(place), &setting) {
            Ok(design) => Ok((rule.clone(), design)),
            Err(reason) => Err(RolloutError::Guard { name: rule.name(), reason }),
        };
        let rules = rules.iter().enumerate().map(designed).collect::<Result<Vec<_>, _>>()?;
        let guards = u32::try_from(rules.len()).unwrap_or(u32::MAX);
        let thresholds =
            ErrorBudgetStatus::divide(self.error_budget(), 0, 1, guards, false).thresholds(false);
        Ok(forecast(&rules, plan, self.serving.shadow.is_some(), thresholds, traffic, self.tick_interval()))
    }

    /// See [`ModelHandle::forecast_harm`].
    fn forecast_harm(
        &self,
        rule: &Rule,
        exposed: Exposure,
        size: f64,
        traffic: &Traffic,
    ) -> Result<Option<Duration>, RolloutError> {
        traffic.check()?;
        unless_finite("size", size)?;
        let refused = |reason| RolloutError::Guard { name: rule.name(), reason };
        let design = Design::of(rule, Some(0), &self.setting()).map_err(refused)?;
        let thresholds = ErrorBudgetStatus::divide(self.error_budget(), 0, 1, 1, false).thresholds(false);
        // A canary that no shadow came before.
        let reach = Reach::of(exposed, Share::NONE, self.serving.shadow.is_some());
        Ok(time_to(&design, Asked::Harm(size), reach, thresholds, traffic))
    }
}

impl Control {
    /// Traffic as live has seen it so far; nothing before the first request.
    pub(super) fn traffic(&self, labels_after: Duration, now: Timestamp) -> Option<Traffic> {
        let elapsed = now.since(self.built).as_secs_f64();
        let live = self.lifetime(self.live.id).and_then(|arm| self.arms.get(&arm))?.total();
        if self.requests == 0 || elapsed <= 0.0 {
            return None;
        }
        // Labels of the youngest predictions are yet to come.
        let matured = ((elapsed - labels_after.as_secs_f64()) / elapsed).max(0.01);
        let known = self.hours.known(now);
        let rate = known.as_ref().map_or(self.requests as f64 / elapsed, |(rate, _)| *rate);
        let mut traffic = live.traffic(rate, matured, labels_after, &self.settings.kpis);
        traffic.by_hour = known.map(|(_, by_hour)| by_hour).unwrap_or_default();
        Some(traffic)
    }
}
