//! The key that seals the printed ids of predictions.

use std::io;
use std::path::Path;

use xxhash_rust::xxh3::xxh3_64;

use super::error::StateError;
use super::folder;
use super::names::{KEY, KEY_ASIDE};
use crate::base::disk::Files;

const LENGTH: usize = 16;

/// The key, and its XXH3-64: a bit that fell over would call every id a forgery.
const FILE: usize = LENGTH + 8;

/// The folder's key: made once, and the same ever after. For whoever has the folder.
///
/// # Errors
///
/// The file cannot be read or made, or is not what was written.
pub(crate) fn secret(files: &Files, folder: &Path) -> Result<[u8; LENGTH], StateError> {
    let (path, aside) = (folder.join(KEY), folder.join(KEY_ASIDE));
    if folder::is_plain(&path)? {
        let bytes = match files.read(&path, FILE as u64) {
            Err(error) if error.kind() == io::ErrorKind::FileTooLarge => Vec::new(),
            read => read.map_err(StateError::disk("reading", &path))?,
        };
        // Whoever renamed it may have ended before its name was synced.
        files.sync_folder(folder).map_err(StateError::disk("syncing", folder))?;
        return decoded(&bytes).ok_or(StateError::DamagedKey { path });
    }
    let mut key = [0; LENGTH];
    getrandom::fill(&mut key)
        .map_err(|error| StateError::disk("drawing", &path)(io::Error::other(error.to_string())))?;
    folder::remove(files, &aside)?;
    let mut file = files.create(&aside).map_err(StateError::disk("making", &aside))?;
    let mut bytes = key.to_vec();
    bytes.extend(xxh3_64(&key).to_le_bytes());
    file.write(&bytes).map_err(StateError::disk("writing", &aside))?;
    file.sync().map_err(StateError::disk("syncing", &aside))?;
    files.rename(&aside, &path).map_err(StateError::disk("renaming", &aside))?;
    files.sync_folder(folder).map_err(StateError::disk("syncing", folder))?;
    Ok(key)
}

/// Whether the folder has a key already.
pub(crate) fn has_secret(folder: &Path) -> Result<bool, StateError> {
    folder::is_plain(&folder.join(KEY))
}

fn decoded(bytes: &[u8]) -> Option<[u8; LENGTH]> {
    let bytes: &[u8; FILE] = bytes.try_into().ok()?;
    let (key, check) = bytes.split_first_chunk::<LENGTH>()?;
    (check == xxh3_64(key).to_le_bytes()).then_some(*key)
}
