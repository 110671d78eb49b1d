//! The features of training data, as a manifest has them.

use super::manifest::Manifest;
use super::publish::Draft;
use crate::drift::{ProfileError, ReferenceProfile};

impl Manifest {
    /// How the features of its training data were distributed; nothing where it is not told. What
    /// [`Inputs::features`](crate::options::Inputs::features) wants.
    ///
    /// # Errors
    ///
    /// What is there is no such profile: another tool's, or of a later release.
    pub fn reference_profile(&self) -> Result<Option<ReferenceProfile>, ProfileError> {
        self.profile.as_ref().map(ReferenceProfile::from_json).transpose()
    }

    /// With how the features of its training data were distributed.
    #[must_use]
    pub fn with_reference_profile(mut self, profile: &ReferenceProfile) -> Self {
        self.profile = serde_json::to_value(profile).ok();
        self
    }

    /// How large its profile is, where it can be read.
    pub(super) fn profile_size(&self) -> Option<String> {
        let profile = self.reference_profile().ok()??;
        Some(format!("{} rows of {} features", profile.rows(), profile.names().len()))
    }
}

impl Draft {
    /// Says how the features of its training data were distributed, for drift to be measured against. It stands in the
    /// manifest, so it counts towards the 4 MiB that one may have.
    pub fn profile(mut self, profile: &ReferenceProfile) -> Self {
        self.manifest = self.manifest.with_reference_profile(profile);
        self
    }
}
