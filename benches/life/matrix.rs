//! Which cells there are.

use crate::world::{Candidate, Circumstance, Figure, Life, Routing, Sessions};

/// Every figure with every routing when all is quiet, and in every circumstance on a canary and on a ramp; what fails and what is
/// right in every circumstance however requests belong together.
pub(crate) fn matrix() -> Vec<Life> {
    let mut cells = Vec::new();
    for figure in Figure::ALL {
        for routing in Routing::ALL {
            for circumstance in Circumstance::ALL {
                if circumstance.concerns(figure, routing) && is_looked_at(figure, routing, circumstance) {
                    let life = Life::new(figure, routing, circumstance);
                    cells.extend([Candidate::Equal, Candidate::AtTheMargin].map(|how| life.candidate(how)));
                }
            }
        }
    }
    cells
}

fn is_looked_at(figure: Figure, routing: Routing, circumstance: Circumstance) -> bool {
    match (routing, circumstance) {
        (_, Circumstance::Quiet) | (Routing::Canary | Routing::Ramp, _) => true,
        (Routing::Shadow, _) => matches!(figure, Figure::Divergence | Figure::Error | Figure::Accuracy),
        _ => matches!(figure, Figure::Error | Figure::Accuracy),
    }
}

/// A few that have each figure, each routing and each circumstance once.
pub(crate) fn quick() -> Vec<Life> {
    use Circumstance as C;
    use Figure as F;
    use Routing as R;
    let few = [
        (F::Error, R::Shadow, C::Quiet),
        (F::Error, R::Shadow, C::ChanceFailures),
        (F::Error, R::Canary, C::SharedOutage),
        (F::Error, R::Batch, C::ChanceFailures),
        (F::Error, R::BatchByKey, C::Quiet),
        (F::Error, R::Pinned, C::Quiet),
        (F::Error, R::Ramp, C::Restart),
        (F::Error, R::Canary, C::PauseAndResume),
        (F::Latency, R::Canary, C::Diurnal),
        (F::Latency, R::Ramp, C::CandidateStalls),
        (F::Accuracy, R::Canary, C::ChanceFailures),
        (F::Accuracy, R::Canary, C::DelayedLabels),
        (F::Accuracy, R::Ramp, C::DroppedCopies),
        (F::Accuracy, R::Canary, C::LabelLossInOneArm),
        (F::Accuracy, R::Keyed(Sessions::Ten), C::Quiet),
        (F::Accuracy, R::KeyedShadow(Sessions::Ten), C::Quiet),
        (F::Accuracy, R::KeyedShadow(Sessions::HeavyTail), C::Quiet),
        (F::Accuracy, R::Canary, C::Corrections),
        (F::Bounded, R::Canary, C::LabelLossInBoth),
        (F::Rate, R::Keyed(Sessions::One), C::Quiet),
        (F::Rate, R::Canary, C::NoTicksForAWhile),
        (F::Unbounded, R::Canary, C::SeveralCandidates),
        (F::Unbounded, R::Shadow, C::Quiet),
        (F::Divergence, R::Shadow, C::Quiet),
        (F::Ranking, R::Keyed(Sessions::HeavyTail), C::Quiet),
    ];
    let both = |(figure, routing, circumstance)| {
        let life = Life::new(figure, routing, circumstance);
        [Candidate::Equal, Candidate::AtTheMargin].map(|how| life.candidate(how))
    };
    few.into_iter()
        .filter(|(figure, routing, circumstance)| circumstance.concerns(*figure, *routing))
        .flat_map(both)
        .collect()
}

/// Harm that is looked for in a short figure too.
pub(crate) fn is_of_interest_at_once(life: &Life) -> bool {
    matches!(life.figure, Figure::Error | Figure::Accuracy) && life.candidate == Candidate::Worse(4.0)
}
