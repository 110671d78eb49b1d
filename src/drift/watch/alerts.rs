//! When a drift is told, and when that it is over.

use crate::base::ordered::OrderedMap;
use crate::drift::told::{Baseline, DriftScope, DriftedFeature, What};
use crate::drift::{DriftRow, DriftVerdict};
use crate::version::id::VersionId;

impl DriftedFeature {
    fn of(row: &DriftRow) -> Self {
        Self { feature: row.feature.clone(), what: row.what, effect: row.effect }
    }
}

/// Something to be told.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Told {
    pub(crate) whose: DriftScope,
    pub(crate) against: Baseline,
    /// The version whose answers have drifted.
    pub(crate) version: Option<VersionId>,
    /// At most [`FEATURES_TOLD`], the largest first.
    pub(crate) features: Vec<DriftedFeature>,
    /// Features that are not among them.
    pub(crate) more: usize,
    /// Whether it is over.
    pub(crate) ended: bool,
}

/// Features that an event names: more nobody reads in one line.
pub(crate) const FEATURES_TOLD: usize = 16;

/// One thing that is looked at in every window: alerts of each of its features.
pub(crate) struct Subject {
    pub(crate) whose: DriftScope,
    pub(crate) against: Baseline,
    pub(crate) version: Option<VersionId>,
    streaks: OrderedMap<(String, What), Streak>,
}

/// How a feature was in the last windows.
struct Streak {
    /// Windows in a row that were unlike what has been told.
    windows: u32,
    /// It was told that it has drifted, and not yet that this is over.
    told: bool,
    last: DriftedFeature,
}

impl Subject {
    pub(crate) fn new(whose: DriftScope, against: Baseline, version: Option<VersionId>) -> Self {
        Self { whose, against, version, streaks: OrderedMap::new() }
    }

    /// A window was compared. Returns what begins with it, and what ends. A feature of which it has too few rows to say is as it was.
    pub(crate) fn look(&mut self, rows: &[DriftRow], begins_after: u32, ends_after: u32) -> Vec<Told> {
        let (mut begun, mut ended) = (Vec::new(), Vec::new());
        for row in rows.iter().filter(|row| row.verdict == DriftVerdict::Drifted) {
            let key = (row.feature.clone(), row.what);
            let streak = self.streaks.entry(key).or_insert_with(|| Streak {
                windows: 0,
                told: false,
                last: DriftedFeature::of(row),
            });
            streak.last = DriftedFeature::of(row);
            streak.windows = if streak.told { 0 } else { streak.windows + 1 };
            if !streak.told && streak.windows >= begins_after {
                (streak.told, streak.windows) = (true, 0);
                begun.push(streak.last.clone());
            }
        }
        self.streaks.retain(|(feature, what), streak| {
            let of = |what: What| rows.iter().find(|row| row.feature == *feature && row.what == what);
            // A share that is 0 on both sides has no row: it is of no more rows than the feature's values are.
            match of(*what).or_else(|| of(What::Distribution)).map(|row| (row.what, row.verdict)) {
                None | Some((_, DriftVerdict::TooFew)) => return true,
                Some((found, DriftVerdict::Drifted)) if found == *what => return true,
                Some(_) => streak.windows += 1,
            }
            let over = !streak.told || streak.windows >= ends_after;
            if streak.told && over {
                ended.push(streak.last.clone());
            }
            !over
        });
        [(begun, false), (ended, true)]
            .into_iter()
            .filter(|(features, _)| !features.is_empty())
            .map(|(features, ended)| self.told(features, ended))
            .collect()
    }

    fn told(&self, mut features: Vec<DriftedFeature>, ended: bool) -> Told {
        features.sort_by(|a, b| b.effect.total_cmp(&a.effect));
        let more = features.len().saturating_sub(FEATURES_TOLD);
        features.truncate(FEATURES_TOLD);
        Told { whose: self.whose, against: self.against, version: self.version, features, more, ended }
    }

    /// Returns what was told and is not over.
    pub(crate) fn active(&self) -> impl Iterator<Item = &DriftedFeature> {
        self.streaks.values().filter(|streak| streak.told).map(|streak| &streak.last)
    }
}

/// Says what to do about a drift.
pub(crate) fn advice(whose: DriftScope, against: Baseline) -> &'static str {
    match (whose, against) {
        (DriftScope::Candidate, _) => {
            "look at the candidate's pipeline and at what it says of a few requests; `guard::drift()` would take it back"
        }
        (DriftScope::World, Baseline::LivesBeginning) => {
            "live answers otherwise than it did: see whether its inputs have drifted, and compare labels as they come"
        }
        (DriftScope::World, _) => {
            "see whether the feature is still made as in training, whether quality holds as labels come, and retrain if not"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drift::Cell;
    use crate::drift::Options;
    use crate::drift::ReferenceProfile;
    use crate::drift::compare_windows;

    /// What is said of a window of these values.
    fn of(values: impl IntoIterator<Item = Option<f64>>) -> Vec<DriftRow> {
        let rows = (0..500).map(|n| [Cell::from(f64::from(n % 100))]);
        let reference = ReferenceProfile::builder().numeric("x").build_from(rows).unwrap();
        let mut window = reference.profile();
        values.into_iter().for_each(|value| window.record(&[value.into()]).unwrap());
        let table = compare_windows(reference.counted(), &window, &Options::default()).unwrap();
        table.rows().to_vec()
    }

    fn steady() -> Vec<DriftRow> {
        of((0..500).map(|n| Some(f64::from(n % 100))))
    }

    fn drifted() -> Vec<DriftRow> {
        of((0..500).map(|n| Some(f64::from(n % 100) + 50.0)))
    }

    #[test]
    fn a_drift_is_told_after_some_windows_in_a_row_and_its_end_after_some_others() {
        let mut subject = Subject::new(DriftScope::World, Baseline::Training, None);
        let (drifted, none) = (drifted(), steady());
        let windows = "D.DDD..D...DD".chars().map(|window| if window == 'D' { &drifted } else { &none });
        let told: Vec<Vec<bool>> =
            windows.map(|rows| subject.look(rows, 2, 3).iter().map(|told| told.ended).collect()).collect();
        let (begins, ends, quiet) = (vec![false], vec![true], vec![]);
        let expected = [
            &quiet, &quiet, &quiet, &begins, &quiet, &quiet, &quiet, &quiet, &quiet, &quiet, &ends, &quiet,
            &begins,
        ];
        assert_eq!(told.iter().collect::<Vec<_>>(), expected);
    }

    /// A share that is 0 on both sides has no row in a table, which is no want of rows.
    #[test]
    fn values_that_are_missing_no_more_are_told_to_be_over_and_too_few_to_say_are_not() {
        let mut subject = Subject::new(DriftScope::World, Baseline::Training, None);
        let half = of((0..500).map(|n| (n % 2 == 0).then(|| f64::from(n % 100))));
        let nothing = of([]);
        let mut told = |rows: &[DriftRow]| -> Vec<(What, bool)> {
            let told = subject.look(rows, 2, 2);
            told.iter().flat_map(|told| told.features.iter().map(|of| (of.what, told.ended))).collect()
        };
        // What is too little to say neither begins nor ends anything, and breaks no row.
        assert_eq!([told(&half), told(&nothing), told(&half)].concat(), [(What::Missing, false)]);
        assert_eq!([told(&steady()), told(&nothing), told(&nothing)].concat(), []);
        assert_eq!(told(&steady()), [(What::Missing, true)]);
    }

    #[test]
    fn an_event_names_a_bounded_number_of_features() {
        let row = drifted().remove(0);
        let rows: Vec<DriftRow> =
            (0..40).map(|n| DriftRow { feature: format!("x{n}"), ..row.clone() }).collect();
        let told = Subject::new(DriftScope::World, Baseline::Training, None).look(&rows, 1, 1);
        assert_eq!((told[0].features.len(), told[0].more), (FEATURES_TOLD, 24));
    }
}
