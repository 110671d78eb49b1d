//! The drift that events tell of. With the feature `drift`, a handle that watches its data is here too.

pub(crate) mod told;

pub use told::{Baseline, DriftScope, DriftedFeature, What};

/// A stand-in for the watch: there is none. Nothing here has a size.
pub(crate) mod watch {
    use std::convert::Infallible;
    use std::marker::PhantomData;

    pub(crate) struct Drift(Infallible);

    pub(crate) struct Features<I: ?Sized>(PhantomData<fn(&I)>, Infallible);

    pub(crate) enum Seen {}

    impl Drift {
        pub(crate) fn check(&self) -> Result<(), crate::base::invalid::ArgumentError> {
            match self.0 {}
        }

        pub(crate) fn is_calibrated(&self) -> bool {
            match self.0 {}
        }
    }

    pub(crate) mod watch {
        use std::convert::Infallible;
        use std::marker::PhantomData;

        use super::{Drift, Features};
        use crate::base::clock::Timestamp;
        use crate::task::kept::Kept;
        use crate::task::task::TaskKind;
        use crate::version::id::VersionId;

        pub(crate) struct DriftWatch<I: ?Sized>(Infallible, PhantomData<fn(&I)>);

        /// A prediction, as the watch would see it.
        #[expect(dead_code, reason = "nobody watches")]
        pub(crate) struct Answered<'a> {
            pub(crate) exposure: u32,
            pub(crate) version: VersionId,
            pub(crate) kept: Option<&'a Kept>,
            pub(crate) unit: bool,
        }

        impl<I: ?Sized> DriftWatch<I> {
            pub(crate) fn new(
                _: Option<Drift>,
                _: Option<Features<I>>,
                _: TaskKind,
                _: Option<VersionId>,
                _: usize,
                _: Timestamp,
            ) -> Option<Self> {
                None
            }

            pub(crate) fn see(&self, _: &I, _: &Answered<'_>, _: u64) {
                match self.0 {}
            }

            pub(crate) fn see_pair(&self, _: &Answered<'_>, _: (VersionId, Option<&Kept>)) {
                match self.0 {}
            }

            pub(crate) fn calibration(&self, _: VersionId) -> Option<()> {
                match self.0 {}
            }
        }
    }
}
