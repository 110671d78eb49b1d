//! Verifies the signature of a manifest.

use std::path::Path;
use std::{fs, io};

use minisign_verify::{PublicKey, Signature};

use super::error::RepositoryError;
use super::manifest::{SIGNATURE, SIGNATURE_MAX};
use crate::base::disk::Files;

/// Keys whose signatures count, and whether there must be one.
///
/// Signatures are those of [minisign](https://jedisct1.github.io/minisign/): `minisign -Sm manifest.json` writes
/// `manifest.json.minisig` beside it. Keys are written as `minisign -G` prints them.
///
/// A signature vouches for the manifest, and through its digests for every file that it lists: whoever can write to the
/// repository, and has no key, can neither change a version nor make one up. It does not vouch for tags, which anybody may
/// move who can write to the folder, nor for which versions are there: a signed version that was bad can be put back, so
/// keep what did harm quarantined. It says nothing about whether a model is any good.
///
/// ```
/// use switchback::repository::{Repository, TrustedKeys};
///
/// let keys = TrustedKeys::required().key("RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3")?;
/// let models = Repository::open("tests/repository")?.trusting(keys);
/// assert!(models.get("late", "1").unwrap_err().to_string().contains("not signed"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct TrustedKeys {
    keys: Vec<PublicKey>,
    required: bool,
}

impl TrustedKeys {
    /// Every version must be signed by one of the keys; one without a manifest cannot be.
    pub fn required() -> Self {
        Self { keys: Vec::new(), required: true }
    }

    /// A version that is signed must be signed by one of the keys; one that is not is taken as it is.
    pub fn where_present() -> Self {
        Self { keys: Vec::new(), required: false }
    }

    /// Trusts a key, written in base64.
    ///
    /// # Errors
    ///
    /// It is no key of minisign's.
    pub fn key(mut self, key: &str) -> Result<Self, RepositoryError> {
        let parsed = PublicKey::from_base64(key.trim());
        self.keys.push(parsed.map_err(|error| RepositoryError::Key { cause: error.to_string() })?);
        Ok(self)
    }
}

impl TrustedKeys {
    /// Whether a version without a manifest may be used.
    pub(crate) fn take_unsigned(&self) -> bool {
        !self.required
    }

    /// Holds a manifest's bytes against the signature beside it.
    pub(crate) fn vouch(&self, files: &Files, folder: &Path, manifest: &[u8]) -> Result<(), String> {
        let path = folder.join(SIGNATURE);
        match fs::symlink_metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return if self.required { Err("it is not signed".into()) } else { Ok(()) };
            }
            _ => {}
        }
        let bytes = files.read(&path, SIGNATURE_MAX).map_err(|error| format!("its signature: {error}"))?;
        let text = String::from_utf8(bytes).map_err(|_| "its signature is no text")?;
        let signature = Signature::decode(&text).map_err(|error| format!("its signature: {error}"))?;
        let vouched = self.keys.iter().any(|key| key.verify(manifest, &signature, false).is_ok());
        if vouched { Ok(()) } else { Err("its signature is by no trusted key, or of other bytes".into()) }
    }
}
