//! A start that remembers nothing: what stands in for `keeper` without the feature `state`. Nothing here has a size.

use std::marker::PhantomData;
use std::sync::Arc;

use super::build_error::BuildError;
use super::loader::First;
use crate::base::clock::Timestamp;
use crate::base::invalid::ArgumentError;
use crate::model::model::Model;
use crate::version::id::VersionId;
use crate::version::loaded::AnyVersion;
use crate::version::prepare::StageError;

pub(crate) struct Keeping<I: ?Sized, O>(PhantomData<fn(&I) -> O>);

impl<I: ?Sized, O> Default for Keeping<I, O> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

pub(crate) struct Keeper<I: ?Sized, O>(PhantomData<fn(&I) -> O>);

pub(crate) struct Began;

pub(crate) struct Started;

/// There is none.
pub(crate) enum Remembered {}

impl Began {
    pub(crate) fn lives(&self) -> u64 {
        1
    }
}

impl<I: ?Sized, O> Keeping<I, O> {
    pub(crate) fn check(&self) -> Result<(), ArgumentError> {
        Ok(())
    }

    pub(crate) fn begin(&mut self, _: &str, _: &mut Option<[u8; 16]>) -> Result<Began, BuildError> {
        Ok(Began)
    }

    pub(crate) fn live(
        &self,
        _: Began,
        embedded: Option<First<I, O>>,
        prepare: impl Fn(VersionId, Option<Box<dyn Model<I, O>>>) -> Result<Arc<dyn AnyVersion>, StageError>,
    ) -> Result<(Arc<dyn AnyVersion>, Started), BuildError> {
        let (id, model) = embedded.ok_or(BuildError::NoLive)?.open()?;
        Ok((prepare(id, Some(model))?, Started))
    }

    pub(crate) fn keeper(
        self,
        _: Started,
        _: (u64, u64),
        _: Timestamp,
    ) -> (Keeper<I, O>, Option<Remembered>) {
        (Keeper(self.0), None)
    }
}
