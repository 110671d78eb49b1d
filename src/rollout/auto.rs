//! A plan for people who know no statistics: margins and shares that this traffic can decide in the time there is.

use std::time::Duration;

use super::budget::{ErrorBudget, ErrorBudgetStatus};
use super::forecast::forecast::decides;
use super::forecast::reach::Reach;
use super::forecast::simulation::{Asked, HORIZON, Question};
use super::forecast::subject::Subject;
use super::forecast::traffic::Traffic;
use super::guard::design::{Design, Setting, TruthKind};
use super::guard::rule::Rule;
use super::guard::subject::{accuracy, error_rate, latency};
use super::plan::{OnInconclusive, Plan, PlanError, Step};
use crate::base::share::Share;
use crate::stats::Metric;

/// Margins from tight to loose: percentage points, and factors. What cannot be decided at the loosest is no matter for
/// automation: two points, or a quarter more, are what people want to be asked about.
const MARGINS: [(f64, f64); 4] = [(0.005, 1.05), (0.01, 1.1), (0.015, 1.15), (0.02, 1.25)];

/// Shares from few to many: of the shadow, then of the canary's steps.
const EXPOSURES: [(f64, &[f64]); 4] =
    [(0.1, &[0.05, 0.25]), (0.25, &[0.1, 0.5]), (0.5, &[0.1, 0.5]), (1.0, &[0.5])];
/// The part of the time that a shadow may take, where there is one.
const SHADOW: f64 = 0.3;
const DAY: Duration = Duration::from_secs(86_400);

/// What was chosen.
pub(crate) struct Chosen {
    pub(crate) plan: Plan,
    /// Guards that are to be added, where the rollout had none.
    pub(crate) rules: Vec<Rule>,
    /// Whether even the loosest margins and the largest shares will not do.
    pub(crate) decidable: bool,
}

/// Chooses the tightest margins, and for these the smallest shares, that can be decided within the time. A rollout that
/// has guards keeps their margins.
pub(crate) fn choose(
    budget: Duration,
    cycle: Option<Duration>,
    own: &[Subject],
    setting: &Setting<'_>,
    traffic: &Traffic,
    alpha: ErrorBudget,
) -> Result<Chosen, PlanError> {
    if budget.is_zero() {
        return Err(PlanError::NoBudget);
    }
    let margins = if own.is_empty() { MARGINS.as_slice() } else { &MARGINS[MARGINS.len() - 1..] };
    let mut last = None;
    for (points, factor) in margins {
        let added = if own.is_empty() { usual(*points, *factor, setting) } else { Vec::new() };
        let designed = |(place, rule): (usize, &Rule)| {
            Some(Subject::new(rule.clone(), Design::of(rule, Some(place), setting).ok()?))
        };
        let mut subjects: Vec<Subject> = own.to_vec();
        subjects.extend(added.iter().enumerate().filter_map(designed));
        for (sample, weights) in EXPOSURES {
            let plan = plan((budget, cycle), sample, weights, setting)?;
            let decidable = is_decidable(&plan, &subjects, setting.pairs, traffic, alpha);
            last = Some(Chosen { plan, rules: added.clone(), decidable });
            if decidable {
                return last.ok_or(PlanError::Empty);
            }
        }
    }
    last.ok_or(PlanError::Empty)
}

/// The guards that every service wants, at these margins, as far as they can judge here.
fn usual(points: f64, factor: f64, setting: &Setting<'_>) -> Vec<Rule> {
    let mut rules = vec![error_rate().at_most_times_live(factor), latency(0.99).at_most_times_live(factor)];
    let judged = setting.matures && !matches!(setting.truth, TruthKind::Censored(None));
    if judged && Metric::Accuracy.is_of(setting.kind) {
        rules.push(accuracy().at_most_below_live(points));
    }
    // The margins are the constants above, and a test holds that none of them is refused.
    let rules = rules.into_iter().flatten();
    rules.filter(|rule| Design::of(rule, Some(0), setting).is_ok()).collect()
}

fn plan(
    (budget, cycle): (Duration, Option<Duration>),
    sample: f64,
    weights: &[f64],
    setting: &Setting<'_>,
) -> Result<Plan, PlanError> {
    let shadow = setting.pairs && !matches!(setting.truth, TruthKind::CausedByAnswer);
    let left = if shadow { budget.mul_f64(1.0 - SHADOW) } else { budget };
    let each = left / weights.len().max(1) as u32;
    let mut steps = Vec::new();
    if shadow {
        steps.push(Step::shadow(sample)?.max_duration(budget.mul_f64(SHADOW)));
    }
    for weight in weights {
        steps.push(Step::canary(*weight)?.max_duration(each));
    }
    let cycle = cycle.unwrap_or(if each > DAY { DAY } else { each / 2 });
    Ok(Plan::new(steps)?.cycle(cycle).on_inconclusive(OnInconclusive::Pause))
}

/// Whether every guard decides in every step in the time that the step has.
fn is_decidable(
    plan: &Plan,
    subjects: &[Subject],
    pairs: bool,
    traffic: &Traffic,
    alpha: ErrorBudget,
) -> bool {
    let guards = u32::try_from(subjects.len()).unwrap_or(u32::MAX);
    let thresholds = ErrorBudgetStatus::divide(alpha, 0, 1, guards, false).thresholds(false);
    let mut sample = Share::NONE;
    plan.steps().iter().enumerate().all(|(place, step)| {
        let reach = Reach::of(step.exposure(), sample, pairs);
        if let super::plan::Exposure::Shadow { sample: shadowed } = step.exposure() {
            sample = shadowed;
        }
        let within = step.max_duration.unwrap_or(HORIZON);
        let asked = Asked::Equality(plan.weight_after(place));
        subjects.iter().all(|subject| {
            let failures_are_judged = true;
            let question = Question { subject, asked, reach, thresholds, failures_are_judged, traffic };
            !reach.shows(&subject.design) || decides(question, within)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::task::TaskKind;

    #[test]
    fn no_margin_that_is_chosen_is_refused() {
        let setting = Setting {
            kind: TaskKind::Binary { threshold: 0.5 },
            kpis: &[],
            truth: TruthKind::Independent,
            pairs: true,
            canary_pairs: true,
            compares: false,
            matures: true,
            segments: None,
        };
        for (points, factor) in MARGINS {
            let names: Vec<String> = usual(points, factor, &setting).iter().map(Rule::to_string).collect();
            let expected = [
                format!("error rate at most {factor} times live"),
                format!("latency p99 at most {factor} times live"),
                format!("accuracy at most {points} below live"),
            ];
            assert_eq!(names, expected);
        }
    }
}
