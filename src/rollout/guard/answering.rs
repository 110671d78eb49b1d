//! Whether both versions answer, and whether truths come, alike: what decides whether a figure of quality may speak.
//!
//! Quality is of answers. A version that fails on what is hard looks the better for it, so where no other guard judges
//! failures, a guard of quality does: the candidate may fail more often than live by no more than the margin. And where
//! truths come for another share of one arm's answers than of the other's, labels say nothing in either direction. That one arm
//! answers more than the other is none of that: see [`Chances`](crate::stats::sequential::in_arms::Chances).

use serde::{Deserialize, Serialize};

use super::design::{Design, Uses};
use super::history::{History, Series, Stretch};
use super::tested::Tested;
use crate::stats::evidence::arm::{ArmCounts, KpiCounts};
use crate::stats::evidence::ledger::{Counts, Ledger};
use crate::stats::sequential::in_arms::InArms;
use crate::stats::sequential::{EValue, Events, PairedEvents, coverage_mismatch};

/// The evidence that stands beside the history of a figure of quality.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Answering {
    /// Which answers have their truth, where arms are compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) coverage: Option<Stretch<InArms>>,
    /// Who failed, where no other guard judges that, with the test of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) failures: Option<(Design, Stretch<Series<PairedEvents, Events>>)>,
}

/// The error at which the labels of two arms are taken to come in different shares. It costs no candidate anything but time:
/// while it is crossed, labels are not listened to.
const MISMATCH: f64 = 0.01;

/// Whether truths come for another share of one arm's answers than of the other's.
pub(crate) fn labels_differ(known: &InArms) -> bool {
    let differs = coverage_mismatch(&known.requests).max(coverage_mismatch(&known.keys));
    differs >= EValue::against(MISMATCH)
}

/// Whether truths come for other shares since the exposure changed, of a figure for which that matters.
pub(crate) fn labels_differ_lately(design: &Design, ledger: &Ledger) -> bool {
    labels_matter(design) && labels_differ(&known_of_answered(kpi_of(design), ledger.fresh()))
}

/// Whether it matters to a figure for which answers truths come: where arms are compared by labels.
fn labels_matter(design: &Design) -> bool {
    let arms = design.uses != Uses::Pairs || design.compares_arms();
    arms && design.needs_labels() && design.tested != Tested::WrongWithHidden
}

/// The business figure that a test is of, where it is of one.
pub(crate) fn kpi_of(design: &Design) -> Option<usize> {
    match design.tested {
        Tested::Kpi(place) | Tested::KpiValues(place) | Tested::KpiSuccesses(place) => Some(place),
        _ => None,
    }
}

/// Units that were answered, and as events those of them whose truth is known, or whose value of a business figure.
pub(crate) fn known_of_answered(kpi: Option<usize>, counts: &Counts) -> InArms {
    let known = |arm: &ArmCounts| {
        let units = arm.units.answered();
        let known = match kpi {
            Some(place) => arm.labels.kpis.get(place).map_or(0, KpiCounts::known),
            None => arm.labels.known,
        };
        // Of an answer that came too late there may be a truth, though it counts as none.
        Events { events: known.min(units), units }
    };
    InArms { requests: counts.requests.map(known), keys: counts.keys.map(known) }
}

impl Answering {
    /// Returns what stands beside a figure. `judged` says that another guard of the rollout judges failures.
    pub(crate) fn of(design: &Design, ledger: &Ledger, judged: bool) -> Self {
        let failures = || Some(Stretch::of(ledger, |counts| History::events(Tested::Failures, counts)));
        let coverage = || Some(Stretch::of(ledger, |counts| known_of_answered(kpi_of(design), counts)));
        Self::recorded(design, judged, failures, coverage)
    }

    /// The same of a history of failures and of which answers have their truth, as far as there are any.
    pub(crate) fn recorded(
        design: &Design,
        judged: bool,
        failures: impl FnOnce() -> Option<Stretch<Series<PairedEvents, Events>>>,
        coverage: impl FnOnce() -> Option<Stretch<InArms>>,
    ) -> Self {
        let compares = matches!(design.tested, Tested::Differences | Tested::Comparisons);
        if !(design.needs_labels() || compares) {
            return Self::default();
        }
        let coverage = labels_matter(design).then(coverage).flatten();
        let failures = (!judged).then(failures).flatten().map(|failures| (design.of_failures(), failures));
        Self { coverage, failures }
    }

    /// The same as it stood when each block of time was the newest.
    pub(crate) fn prefixes(&self) -> Vec<Self> {
        let coverages = self.coverage.iter().flat_map(Stretch::prefixes);
        let failures = self
            .failures
            .iter()
            .flat_map(|(design, failures)| failures.prefixes().map(|failures| (design.clone(), failures)));
        let (mut coverages, mut failures) = (coverages.map(Some), failures.map(Some));
        let next = || {
            let (coverage, failures) = (coverages.next().flatten(), failures.next().flatten());
            (coverage.is_some() || failures.is_some()).then_some(Self { coverage, failures })
        };
        std::iter::from_fn(next).collect()
    }

    /// Whether truths come alike since the exposure changed.
    pub(crate) fn covered_alike(&self) -> bool {
        !self.coverage.as_ref().is_some_and(|coverage| labels_differ(&coverage.fresh))
    }
}
