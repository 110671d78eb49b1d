//! References of which the bins are known before there are any rows.

use super::layout::{Bins, Edges, Layout};
use super::profile::Profile;
use super::reference::ReferenceProfile;
use super::sketch::Seldom;

impl ReferenceProfile {
    /// One without rows, of numbers between edges that go from low to high: for windows that are compared with each
    /// other, never with it.
    pub(crate) fn without_rows(features: impl IntoIterator<Item = (&'static str, Vec<f64>)>) -> Self {
        let bins =
            features.into_iter().map(|(name, edges)| (name.into(), Bins::Numeric(Edges(edges.into()))));
        let layout = Layout::new(bins);
        let seldom = vec![Seldom::default(); layout.features.len()].into();
        Self::new(Profile::empty(layout), seldom)
    }
}
