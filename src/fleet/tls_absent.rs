//! What stands in for `tls` without the feature `fleet-postgres-tls`: nothing is connected to by it.

use std::convert::Infallible;
use std::path::Path;

use tokio::task::AbortHandle;
use tokio_postgres::{CancelToken, Client, Config, Error};

use super::store::StoreError;

/// There is none.
pub(super) struct Tls(Infallible);

impl Tls {
    pub(super) fn of_system() -> Result<Self, StoreError> {
        Err(StoreError::refused(
            "the settings ask for TLS: build with the feature `fleet-postgres-tls`, or use a tunnel",
        ))
    }

    pub(super) fn of_file(_: &Path) -> Result<Self, StoreError> {
        Self::of_system()
    }

    #[expect(clippy::unused_async, reason = "with the feature it connects")]
    pub(super) async fn connect(
        &self,
        _: &Config,
    ) -> Result<Result<(Client, AbortHandle), Error>, StoreError> {
        match self.0 {}
    }

    #[expect(clippy::unused_async, reason = "with the feature it connects")]
    pub(super) async fn cancel(&self, _: &CancelToken) {
        match self.0 {}
    }
}

pub(super) fn is_impostor(_: &Error) -> bool {
    false
}
