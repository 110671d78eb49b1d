//! Connections to PostgreSQL that are encrypted, to a server that has shown who it is.

use std::error::Error as _;
use std::fmt::Display;
use std::io;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, ConfigBuilder, RootCertStore, WantsVerifier};
use rustls_platform_verifier::BuilderVerifierExt as _;
use tokio::task::AbortHandle;
use tokio_postgres::{CancelToken, Client, Config, Error};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::store::StoreError;

/// Whom a server has to be certified by.
pub(super) struct Tls(OnceLock<MakeRustlsConnect>);

impl Tls {
    /// By somebody whom the operating system trusts. Who that is is read when it is first needed: where there is nobody, as in an image
    /// without a package of certificates, a file may yet be named.
    #[expect(clippy::unnecessary_wraps, reason = "without the feature there is none")]
    pub(super) fn of_system() -> Result<Self, StoreError> {
        Ok(Self(OnceLock::new()))
    }

    /// By one of those in a file, and nobody else.
    pub(super) fn of_file(file: &Path) -> Result<Self, StoreError> {
        let refused = |why: &dyn Display| {
            StoreError::refused(format!("{} is no file of certificates in PEM: {why}", file.display()))
        };
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(file).map_err(|error| refused(&error))? {
            roots.add(certificate.map_err(|error| refused(&error))?).map_err(|error| refused(&error))?;
        }
        if roots.is_empty() {
            return Err(refused(&"it has none"));
        }
        let config = builder()?.with_root_certificates(roots).with_no_client_auth();
        Ok(Self(MakeRustlsConnect::new(config).into()))
    }

    /// A connection, and what reads and writes it.
    pub(super) async fn connect(
        &self,
        config: &Config,
    ) -> Result<Result<(Client, AbortHandle), Error>, StoreError> {
        let tls = match self.0.get() {
            Some(tls) => tls.clone(),
            None => {
                let system = system()?;
                self.0.get_or_init(|| system).clone()
            }
        };
        Ok(config.connect(tls).await.map(|(client, connection)| {
            // It ends with the client, or with an error that the client tells of.
            (client, tokio::spawn(connection).abort_handle())
        }))
    }

    /// Asks the server to end what it has not answered. Whether it does is for nobody to wait for.
    pub(super) async fn cancel(&self, token: &CancelToken) {
        if let Some(tls) = self.0.get() {
            let _ = token.cancel_query(tls.clone()).await;
        }
    }
}

fn system() -> Result<MakeRustlsConnect, StoreError> {
    let verified = builder()?.with_platform_verifier().map_err(|error| {
        StoreError::refused(format!(
            "whom this machine trusts cannot be read, so name a file with `root_certificates`: {error}"
        ))
    })?;
    Ok(MakeRustlsConnect::new(verified.with_no_client_auth()))
}

/// With cryptography of our own choice: the host may have made another that of its process, or none.
fn builder() -> Result<ConfigBuilder<ClientConfig, WantsVerifier>, StoreError> {
    ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| StoreError::refused(error.to_string()))
}

/// Whether the server is not who it should be, which somebody has to look into.
pub(super) fn is_impostor(error: &Error) -> bool {
    let cause = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    let cause = cause.and_then(io::Error::get_ref).and_then(|cause| cause.downcast_ref::<rustls::Error>());
    matches!(cause, Some(rustls::Error::InvalidCertificate(_)))
}
