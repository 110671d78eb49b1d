//! Who works with the service: publishes versions, tries them, and changes their mind.

use std::error::Error;
use std::time::Duration;

use switchback::events::{Cause, Event, EventKind};
use switchback::plan::{Bake, PlanError};
use switchback::{ModelHandle, Phase, Plan, Rollout, Step, Timestamp, guard};

use crate::flights::{Flight, Late};
use crate::options::Options;
use crate::print::day;
use crate::service::Service;
use crate::{DAY, versions};

pub(crate) struct Operator<'a> {
    options: &'a Options,
    flights: &'a [Flight],
    plan: Plan,
    /// What there is to do, the next thing last.
    to_do: Vec<(Deed, Duration)>,
    since: Timestamp,
    current: Option<Rollout<Flight, Late>>,
    pub(crate) forecasts: Vec<Said>,
}

/// What the planner said of a rollout before it began.
pub(crate) struct Said {
    pub(crate) version: &'static str,
    pub(crate) promoted_after: Option<Duration>,
    pub(crate) harm_after: Option<Duration>,
}

/// Something the operator does, some time after the thing before it is done.
#[derive(Clone, Copy)]
enum Deed {
    Try(&'static str),
    GoBack(&'static str),
    GoForward(&'static str, &'static str),
}

impl Deed {
    /// Whether this is what an event tells of.
    fn is_told_by(self, event: &EventKind) -> bool {
        match (self, event) {
            (Self::Try(name), EventKind::PhaseChanged { version, .. }) => *version == *name,
            (
                Self::GoBack(why) | Self::GoForward(_, why),
                EventKind::RolledBack { cause: Cause::Operator { reason }, .. },
            ) => reason == why,
            _ => false,
        }
    }
}

impl<'a> Operator<'a> {
    /// Goes on with what the history says is not done yet: at a first start, all of it.
    pub(crate) fn new(
        options: &'a Options,
        flights: &'a [Flight],
        service: &Service,
        history: &[Event],
    ) -> Result<Self, Box<dyn Error>> {
        let mut to_do = vec![
            (Deed::Try("v4"), DAY * 7),
            (Deed::GoForward("v2", "the new warnings were right after all"), DAY * 2),
            (Deed::GoBack("dispatch prefers the old warnings"), DAY * 7),
            (Deed::Try("v3"), DAY * 14),
            (Deed::Try("v2"), DAY * 7),
        ];
        let is_done = |deed: Deed| history.iter().any(|event| deed.is_told_by(&event.kind));
        while to_do.last().is_some_and(|(deed, _)| is_done(*deed)) {
            to_do.pop();
        }
        let mut operator = Self {
            options,
            flights,
            plan: plan(options.min_labels)?,
            to_do,
            since: history.last().map_or_else(|| service.clock.now(), |event| event.at),
            current: None,
            forecasts: Vec::new(),
        };
        let status = service.handle.status();
        if let Some(running) = status.rollouts.iter().find(|rollout| !rollout.phase.is_over()) {
            let rollout = operator.hand(service).rollout(running.version.as_str());
            operator.current = rollout.filter(|rollout| match rollout.phase() {
                // Killed before its plan was given to it: it is tried again.
                Phase::Staged if !running.paused => {
                    drop(rollout.rollback("it had not begun when the process ended"));
                    false
                }
                _ => true,
            });
        }
        Ok(operator)
    }

    /// The handle, through which what is done is done by this person.
    fn hand(&self, service: &Service) -> ModelHandle<Flight, Late> {
        service.handle.acting_as("ada")
    }

    pub(crate) fn has_nothing_to_do(&self) -> bool {
        self.to_do.is_empty()
    }

    pub(crate) fn act(&mut self, service: &Service, now: Timestamp) -> Result<(), Box<dyn Error>> {
        if let Some(rollout) = &self.current {
            if !rollout.phase().is_over() {
                self.since = now;
                return Ok(());
            }
            self.current = None;
        }
        let Some((deed, after)) = self.to_do.last().copied() else { return Ok(()) };
        if now.since(self.since) < after {
            return Ok(());
        }
        match deed {
            Deed::Try(version) => self.current = Some(self.try_out(version, service, now)?),
            Deed::GoBack(why) => drop(self.hand(service).rollback(why)),
            Deed::GoForward(version, why) => drop(self.hand(service).rollback_to(version, why)?),
        }
        self.to_do.pop();
        self.since = now;
        Ok(())
    }

    /// Publishes a version and has a plan try it, under guards.
    fn try_out(
        &mut self,
        version: &'static str,
        service: &Service,
        now: Timestamp,
    ) -> Result<Rollout<Flight, Late>, Box<dyn Error>> {
        versions::publish(service.versions.repository(), version, self.options, self.flights)?;
        let (_, model) = service.versions.open(version)?;
        let rollout = self
            .hand(service)
            .stage(version, model)?
            .guard(guard::error_rate().at_most(0.01))
            .guard(guard::accuracy().at_most_below_live(self.options.margin));
        let rollout = self.options.guards.iter().cloned().fold(rollout, Rollout::guard);
        self.forecasts.extend(self.forecast(version, service, &rollout, now)?);
        rollout.run(self.plan.clone())?;
        Ok(rollout)
    }

    /// What the planner says of it: how long until it is promoted, or until harm is seen.
    fn forecast(
        &self,
        version: &'static str,
        service: &Service,
        rollout: &Rollout<Flight, Late>,
        now: Timestamp,
    ) -> Result<Option<Said>, Box<dyn Error>> {
        let handle = &service.handle;
        let (Some(forecast), Some(traffic)) = (rollout.forecast(&self.plan), handle.traffic()) else {
            return Ok(None);
        };
        println!("{}  {version}, says the planner: {forecast}", day(now));
        // A mistake in the pipeline costs a dozen points, not two: how soon would that be seen?
        let margin = self.options.margin;
        let rule = guard::accuracy().at_most_below_live(margin)?;
        let shadow = self.plan.steps().first().ok_or("the plan has no step")?.exposure();
        let harm_after = handle.forecast_harm(&rule, shadow, 0.12 / margin, &traffic)?;
        Ok(Some(Said { version, promoted_after: forecast.promoted_after, harm_after }))
    }
}

/// A shadow of half the flights, then a tenth and a half of them for real, each for days and enough labels: delays come
/// in storms, so a thousand flights of one day say less than they seem to.
fn plan(min_labels: u64) -> Result<Plan, PlanError> {
    let days =
        |step: Step, days: u32| step.min_duration(DAY * days).min_labels(min_labels).max_duration(DAY * 30);
    let bake = Bake::new(DAY * 5).keep_previous_as_shadow(0.2)?;
    let steps = [days(Step::shadow(0.5)?, 4), days(Step::canary(0.1)?, 4), days(Step::canary(0.5)?, 3)];
    Ok(Plan::new(steps)?.bake(bake))
}
