//! Stand-ins for `course` without the feature `report`: nobody reads one, so none is kept. Nothing here has a size.

use super::guard::comparison::ArmView;
use super::guard::evidence::Evidence;
use super::transition::State;
use crate::base::clock::Timestamp;
use crate::stats::DivergenceFigures;
use crate::stats::evidence::ledger::Cohort;
use crate::stats::figures::tally::Tally;

#[derive(Debug, Clone)]
pub(crate) struct Course;

pub(crate) struct Point;

pub(crate) struct Trial;

impl Course {
    pub(crate) fn new(_: Timestamp, _: u64, _: bool, _: &State) -> Self {
        Self
    }

    pub(crate) fn is_due(&self) -> bool {
        false
    }

    pub(crate) fn pass_over(&mut self) {}

    pub(crate) fn add(&mut self, _: Point) {}

    pub(crate) fn turn(&mut self, _: Timestamp, _: &State) {}

    pub(crate) fn promoted(&mut self, _: Option<Trial>) {}
}

impl Point {
    pub(crate) fn of(_: Timestamp, _: &State, _: &Tally, _: &Tally, _: &[Evidence]) -> Self {
        Self
    }
}

impl Trial {
    pub(crate) fn of(
        _: Timestamp,
        _: &ArmView,
        _: &ArmView,
        _: DivergenceFigures,
        _: Vec<Evidence>,
        _: Vec<Cohort>,
    ) -> Self {
        Self
    }
}
