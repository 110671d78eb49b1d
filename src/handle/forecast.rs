//! What a handle knows of the time that a plan takes, and plans that are chosen by it.

use std::sync::Arc;
use std::time::Duration;

use super::core::Core;
use super::handle::ModelHandle;
use super::rollout::{Followed, Rollout, RolloutError};
use crate::base::clock::Timestamp;
use crate::base::share::Share;
use crate::control::attempt::GuardTest;
use crate::control::control::Control;
use crate::control::event::EventKind;
use crate::feedback::join::Joins;
use crate::rollout::auto::{Chosen, choose};
use crate::rollout::budget::{ErrorBudget, ErrorBudgetStatus, Thresholds};
use crate::rollout::forecast::forecast::{Forecast, Span, forecast, time_to, undecidable};
use crate::rollout::forecast::reach::Reach;
use crate::rollout::forecast::simulation::{Asked, Question};
use crate::rollout::forecast::subject::Subject;
use crate::rollout::forecast::traffic::{Traffic, unless_finite};
use crate::rollout::guard::Rule;
use crate::rollout::guard::design::Design;
use crate::rollout::guard::guard::Guard;
use crate::rollout::guard::history::History;
use crate::rollout::guard::tested::Tested;
use crate::rollout::plan::{Exposure, Plan, PlanError};

impl<I: ?Sized + 'static, O: 'static> ModelHandle<I, O> {
    /// Traffic as live has seen it so far: what a forecast rests on. Nothing before the first request. In a fleet as many requests come as to all processes
    /// together, by what each says is usual, since what all see decides; the rest is what this process has seen. [`Traffic::processes`] says of how many
    /// it is.
    pub fn traffic(&self) -> Option<Traffic> {
        self.inner.traffic()
    }

    /// How long a plan would take to decide by these rules with this traffic, before anything runs: until harm is seen,
    /// and until a candidate as good as live is promoted. It simulates, which takes 0.3 to 0.8 s per rule and step (measured at 1 to 100
    /// requests a second): ask it on no thread that answers requests.
    ///
    /// Of an automatic plan the steps are chosen first, as running it with this traffic would choose them, and guards where there are no
    /// rules: [`Forecast::steps`] has them, and [`Forecast::added`] those guards.
    ///
    /// # Errors
    ///
    /// A rule that could not judge here, with the reason; traffic with a number that makes no sense; an automatic plan that has no time.
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
    /// first request. It takes as long per guard and step as [`ModelHandle::forecast`]. Guards of the host's own are left out.
    ///
    /// Each request is taken for a unit, since nobody has counted keys yet. Where they have keys, ask
    /// [`forecast_with`](Self::forecast_with). An automatic plan that has no time cannot be decided, with that for a reason.
    pub fn forecast(&self, plan: &Plan) -> Option<Forecast> {
        let traffic = self.handle.inner.traffic()?;
        Some(self.forecast_of(plan, &traffic).unwrap_or_else(|error| Forecast::refused(&error)))
    }

    /// The same with traffic of which the host knows better:
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use switchback::{Clock, ModelHandle, Plan, Rollout, Step, closure, guard};
    /// # use switchback::forecast::{KeysWithin, Traffic};
    /// # use switchback::options::Threads;
    /// # let service = ModelHandle::builder("late").live("v1", closure("one@1", |x: &f64| Ok(*x)))
    /// #     .threads(Threads::manual()).build()?;
    /// # let rollout = service.stage("v2", closure("two@1", |x: &f64| Ok(*x)))?.guard(guard::error_rate().at_most(0.01));
    /// let day = Duration::from_secs(86_400);
    /// let mut traffic = service.traffic().unwrap_or(Traffic::new(20.0));
    /// traffic.keys = vec![KeysWithin::new(day, 50_000.0), KeysWithin::new(7 * day, 120_000.0)];
    /// let plan = Plan::new([Step::canary(0.1)?, Step::canary(0.5)?])?;
    /// println!("{}", rollout.forecast_with(&plan, &traffic)?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`RolloutError::Argument`]: traffic with a number that makes no sense. [`RolloutError::Plan`]: an automatic plan that has no time.
    pub fn forecast_with(&self, plan: &Plan, traffic: &Traffic) -> Result<Forecast, RolloutError> {
        traffic.check()?;
        Ok(self.forecast_of(plan, traffic)?)
    }

    fn forecast_of(&self, plan: &Plan, traffic: &Traffic) -> Result<Forecast, PlanError> {
        let inner = &self.handle.inner;
        let mut subjects = self.subjects();
        let chosen = inner.choose(plan, &subjects, traffic)?;
        let added = inner.add_chosen(&mut subjects, chosen.as_ref());
        let plan = chosen.as_ref().map_or(plan, |chosen| &chosen.plan);
        let thresholds = self.thresholds(plan, added.len());
        let pairs = inner.serving.shadow.is_some();
        let forecast = forecast(&subjects, plan, pairs, thresholds, traffic, inner.tick_interval());
        Ok(Forecast { added, chosen: chosen.is_some(), ..forecast })
    }

    /// Its guards, with what it has seen of what each judges.
    fn subjects(&self) -> Vec<Subject> {
        let known = self.handle.inner.control.lock().attempt(self.number).map(|attempt| {
            let of_test = |test: &GuardTest| (test.rule.clone(), Design::clone(&test.design));
            (attempt.tests().map(of_test).collect::<Vec<_>>(), Arc::clone(&attempt.ledger))
        });
        let Some((tests, ledger)) = known else { return Vec::new() };
        let subject = |(rule, design): (Rule, Design)| {
            let (seen, failures) =
                (History::of(design.tested, &ledger), History::of(Tested::Failures, &ledger));
            Subject { rule, design, seen: Some(seen), failures: Some(failures) }
        };
        tests.into_iter().map(subject).collect()
    }

    /// What its evidence must reach: as its errors were divided, or as they would be if it began now with so many guards more.
    fn thresholds(&self, plan: &Plan, added: usize) -> Thresholds {
        let control = &*self.handle.inner.control.lock();
        let divided = control.attempt(self.number).map(|attempt| {
            let begun = attempt.error_budget.filter(|_| added == 0);
            begun.unwrap_or_else(|| control.error_budget_if_begun(attempt, plan.baking(), added))
        });
        let of_none = || ErrorBudgetStatus::divide(control.settings.error_budget, 0, 1, 1, false);
        divided.unwrap_or_else(of_none).thresholds(false)
    }

    /// The plan with its steps, where they are to be chosen; and guards, where there are none. Nothing has changed yet.
    pub(super) fn chosen(&self, plan: Plan) -> Result<Followed, RolloutError> {
        let Some(budget) = plan.budget() else { return Ok(Followed::as_said(plan)) };
        let inner = &self.handle.inner;
        let traffic = inner.traffic().ok_or(RolloutError::NoTraffic)?;
        let Some(chosen) = inner.choose(&plan, &self.subjects(), &traffic)? else {
            return Ok(Followed::as_said(plan));
        };
        let Chosen { plan, rules, decidable } = chosen;
        let (version, guards) = (self.version, rules.iter().map(Guard::name).collect());
        let mut told = vec![EventKind::Planned { version, plan: plan.clone(), guards }];
        if !decidable {
            let forecast = format!(
                "neither harm nor equality can be shown within {} at two points or 1.25 times: a person will be asked",
                Span(budget)
            );
            let forecast = inner.of_whose_traffic(forecast, &traffic);
            told.push(EventKind::Undecidable { version, forecast });
        }
        Ok(Followed { plan, rules, told })
    }

    /// Why a plan cannot be decided with traffic as live has seen it, as far as that is known.
    pub(super) fn undecidable(&self, plan: &Plan) -> Option<String> {
        let inner = &self.handle.inner;
        let traffic = inner.traffic()?;
        let thresholds = self.thresholds(plan, 0);
        let told = undecidable(&self.subjects(), plan, inner.serving.shadow.is_some(), thresholds, &traffic)?;
        Some(inner.of_whose_traffic(told, &traffic))
    }
}

impl<I: ?Sized + 'static, O: 'static> Core<I, O> {
    /// The errors that all tries of an identity may have together.
    fn error_budget(&self) -> ErrorBudget {
        self.control.lock().settings.error_budget
    }

    /// What a forecast says, with a word on what it does not know: what comes to the other processes of a fleet before whoever judges has said so.
    fn of_whose_traffic(&self, forecast: String, traffic: &Traffic) -> String {
        if !self.is_in_fleet() || traffic.processes.is_some() {
            return forecast;
        }
        format!("{forecast} (by the traffic of this process alone: all of the fleet's decides)")
    }

    fn tick_interval(&self) -> Duration {
        self.control.lock().settings.tick_interval
    }

    /// Traffic as live has seen it so far, its figures brought up to date; nothing before the first request.
    fn traffic(&self) -> Option<Traffic> {
        let now = self.serving.clock.now();
        let control = &mut *self.control.lock();
        control.collect(&self.serving.joins, now);
        control.traffic(control.labels_after(&self.serving.joins), now)
    }

    /// The steps of an automatic plan, and guards where there are none, as running it with this traffic chooses them; nothing where it
    /// has steps.
    fn choose(&self, plan: &Plan, own: &[Subject], traffic: &Traffic) -> Result<Option<Chosen>, PlanError> {
        let Some(budget) = plan.budget() else { return Ok(None) };
        let errors = self.error_budget();
        let chosen = choose(budget, plan.cycle_said(), own, &self.setting(), traffic, errors)?;
        let followed = chosen.plan.bake(plan.baking()).on_inconclusive(plan.policy());
        Ok(Some(Chosen { plan: followed, ..chosen }))
    }

    /// Adds the guards that were chosen to those that there are, and names them.
    fn add_chosen(&self, subjects: &mut Vec<Subject>, chosen: Option<&Chosen>) -> Vec<String> {
        let (setting, mut added) = (self.setting(), Vec::new());
        for rule in chosen.into_iter().flat_map(|chosen| &chosen.rules) {
            if let Ok(design) = Design::of(rule, Some(subjects.len()), &setting) {
                added.push(rule.to_string());
                subjects.push(Subject::new(rule.clone(), design));
            }
        }
        added
    }

    /// See [`ModelHandle::forecast`].
    fn forecast(&self, rules: &[Rule], plan: &Plan, traffic: &Traffic) -> Result<Forecast, RolloutError> {
        traffic.check()?;
        let setting = self.setting();
        // As a rollout has them: each once.
        let mut distinct: Vec<&Rule> = Vec::with_capacity(rules.len());
        for rule in rules {
            if !distinct.contains(&rule) {
                distinct.push(rule);
            }
        }
        let rules = distinct;
        let subject = |(place, rule): (usize, &Rule)| match Design::of(rule, Some(place), &setting) {
            Ok(design) => Ok(Subject::new(rule.clone(), design)),
            Err(reason) => Err(RolloutError::Guard { name: rule.name(), reason }),
        };
        let mut subjects = rules.iter().copied().enumerate().map(subject).collect::<Result<Vec<_>, _>>()?;
        let chosen = self.choose(plan, &subjects, traffic)?;
        let added = self.add_chosen(&mut subjects, chosen.as_ref());
        let plan = chosen.as_ref().map_or(plan, |chosen| &chosen.plan);
        let guards = u32::try_from(subjects.len()).unwrap_or(u32::MAX);
        // A plan that is watched keeps a part of its error for that.
        let watched = !plan.baking().duration.is_zero();
        let thresholds =
            ErrorBudgetStatus::divide(self.error_budget(), 0, 1, guards, watched).thresholds(false);
        let pairs = self.serving.shadow.is_some();
        let forecast = forecast(&subjects, plan, pairs, thresholds, traffic, self.tick_interval());
        Ok(Forecast { added, chosen: chosen.is_some(), ..forecast })
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
        let subject = &Subject::new(rule.clone(), design);
        let failures_are_judged = subject.design.tested == Tested::Failures;
        let asked = Asked::Harm(size);
        let question = Question { subject, asked, reach, thresholds, failures_are_judged, traffic };
        Ok(time_to(question, self.tick_interval().as_secs_f64().max(1e-3)).0)
    }
}

impl Control {
    /// How old a prediction is when its label is evidence. Where it is not said when labels are complete, that is when they come.
    pub(super) fn labels_after(&self, joins: &Joins) -> Duration {
        let maturity = self.settings.exposure.maturity;
        maturity.told().map_or_else(|| joins.usual_age().unwrap_or_default(), |_| maturity.age())
    }

    /// Traffic as live has seen it so far; nothing before the first request.
    pub(super) fn traffic(&self, labels_after: Duration, now: Timestamp) -> Option<Traffic> {
        let elapsed = now.since(self.built).as_secs_f64();
        let live = self.lifetime(self.live.id).and_then(|arm| self.arms.get(&arm))?.total();
        // Labels of the youngest predictions are yet to come.
        let matured = ((elapsed - labels_after.as_secs_f64()) / elapsed).max(0.01);
        let (rate, by_hour) = self.usual_rate(now)?;
        let mut traffic = live.traffic(rate, matured, labels_after, &self.settings.kpis);
        traffic.by_hour = by_hour;
        #[cfg(feature = "fleet")]
        if let Some(all) = self.seat.as_ref().and_then(|seat| seat.rate).filter(|all| all.per_second > 0.0) {
            (traffic.requests_per_second, traffic.processes) = (all.per_second, Some(all.processes));
        }
        Some(traffic)
    }

    /// How many requests usually come to this process in a second, and how its hours compare with that, where they are known; nothing before the first.
    fn usual_rate(&self, now: Timestamp) -> Option<(f64, Vec<f64>)> {
        let elapsed = now.since(self.built).as_secs_f64();
        let is_known = self.requests > 0 && elapsed > 0.0;
        is_known
            .then(|| self.hours.known(now).unwrap_or_else(|| (self.requests as f64 / elapsed, Vec::new())))
    }

    /// How many requests usually come to this process in a second: none where none has come yet.
    #[cfg(feature = "fleet")]
    pub(super) fn rate(&self, now: Timestamp) -> Option<f64> {
        Some(self.usual_rate(now).map_or(0.0, |(rate, _)| rate))
    }
}
