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

/// So many of the cells in which two circumstances meet, drawn, with an equal candidate and one at its margin.
pub(crate) fn pairs(count: usize) -> Vec<Life> {
    let mut drawn: Vec<(u64, Life)> = Vec::new();
    for figure in Figure::ALL {
        for routing in Routing::ALL {
            for (place, first) in Circumstance::ALL.into_iter().enumerate().skip(1) {
                for second in Circumstance::ALL.into_iter().skip(place + 1) {
                    let both = [first, second];
                    if both.iter().all(|circumstance| circumstance.concerns(figure, routing)) {
                        let life = Life::new(figure, routing, first).besides(second);
                        drawn.push((hashed(&life.name()), life));
                    }
                }
            }
        }
    }
    drawn.sort_by_key(|(draw, _)| *draw);
    let both =
        |(_, life): (u64, Life)| [Candidate::Equal, Candidate::AtTheMargin].map(|how| life.candidate(how));
    drawn.into_iter().take(count).flat_map(both).collect()
}

/// With limits that hold whatever live does.
pub(crate) fn absolute() -> Vec<Life> {
    let mut lives = Vec::new();
    for figure in Figure::ALL {
        for routing in Routing::ALL {
            for circumstance in Circumstance::ALL {
                let life = Life::new(figure, routing, circumstance);
                if circumstance.concerns(figure, routing) && is_looked_at(figure, routing, circumstance) {
                    let both = [Candidate::Equal, Candidate::AtTheMargin];
                    let wanted =
                        both.into_iter().filter(|how| *how == Candidate::Equal || life.has_a_margin());
                    lives.extend(wanted.filter_map(|how| life.candidate(how).absolute()));
                }
            }
        }
    }
    lives
}

/// With guards that look at each segment of the requests too.
pub(crate) fn by_segment() -> Vec<Life> {
    let relative = matrix().into_iter().filter_map(|life| life.by_segment());
    let limits = absolute().into_iter().filter_map(|life| life.by_segment());
    relative
        .chain(limits)
        .filter(|life| !life.absolute || !life.meets(Circumstance::ChanceFailures))
        .collect()
}

/// Equal ones that are watched after their promotion.
pub(crate) fn watched() -> Vec<Life> {
    use Circumstance as C;
    let mut lives = Vec::new();
    for figure in Figure::ALL {
        for routing in [Routing::Canary, Routing::Ramp, Routing::Keyed(Sessions::Ten), Routing::Batch] {
            let all = matches!(routing, Routing::Canary | Routing::Ramp);
            for circumstance in C::ALL {
                // A new live that stalls is worse, and of several one alone becomes live.
                let is_alike = !matches!(circumstance, C::CandidateStalls | C::SeveralCandidates);
                let of_interest = all || matches!(circumstance, C::Quiet | C::SharedOutage | C::Diurnal);
                if is_alike && of_interest && circumstance.concerns(figure, routing) {
                    let life = Life::new(figure, routing, circumstance).watched();
                    lives.push(life);
                    // Without a shadow nobody can tell what an outage is, and a limit that holds whatever live does decides.
                    if routing.shadows() {
                        lives.extend(life.absolute());
                    }
                }
            }
        }
    }
    lives
}

/// The same draw for the same name, wherever it is made (FNV-1a).
fn hashed(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
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
