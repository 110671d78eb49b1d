//! Where outcomes and pairs collect until the next tick.

use parking_lot::Mutex;

use super::divergence::Divergence;
use super::tally::Tally;
use crate::task::TaskKind;

/// Where the outcomes of one exposure collect until the next tick. Outlives the exposure's place in the table.
pub(crate) struct Intake {
    collected: Mutex<Collected>,
}

/// Outcomes and pairs since the last tick.
struct Collected {
    tally: Tally,
    divergence: Divergence,
}

impl Intake {
    pub(crate) fn new(kind: TaskKind, kpis: usize) -> Self {
        Self {
            collected: Mutex::new(Collected {
                tally: Tally::new(kind, kpis),
                divergence: Divergence::default(),
            }),
        }
    }

    /// An empty intake of the same kind.
    pub(crate) fn like(&self) -> Self {
        let mut tally = self.collected.lock().tally.clone();
        tally.reset();
        Self { collected: Mutex::new(Collected { tally, divergence: Divergence::default() }) }
    }

    /// Adds what has collected to `tally` and `divergence`, and begins anew.
    pub(crate) fn drain(&self, tally: &mut Tally, divergence: &mut Divergence) {
        let mut collected = self.collected.lock();
        tally.merge(&collected.tally);
        collected.tally.reset();
        divergence.merge(&std::mem::take(&mut collected.divergence));
    }

    /// Counts outcomes, or takes them back.
    pub(crate) fn count(&self, count: impl FnOnce(&mut Tally)) {
        count(&mut self.collected.lock().tally);
    }

    /// Counts a pair of answers to the same input.
    pub(crate) fn diverged(&self, count: impl FnOnce(&mut Divergence)) {
        count(&mut self.collected.lock().divergence);
    }
}
