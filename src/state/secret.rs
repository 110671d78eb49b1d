//! The key that seals the printed ids of predictions.

use std::path::Path;

use super::error::StateError;
use crate::files::Files;

const KEY: &str = "key";
const ASIDE: &str = "key.new";

/// The folder's key: made once, and the same ever after. The caller holds the folder's lock.
pub(crate) fn secret(files: &Files, folder: &Path) -> Result<[u8; 16], StateError> {
    let (path, aside) = (folder.join(KEY), folder.join(ASIDE));
    match path.symlink_metadata() {
        Ok(metadata) if metadata.is_file() => {
            let bytes = files.read(&path, 16).map_err(StateError::disk("reading", &path))?;
            let cause = "it is not 16 bytes long: put back the one that was there, or remove it and lose the outcomes of predictions made before";
            return bytes.try_into().map_err(|_| StateError::NotAJournal { path, cause });
        }
        Ok(_) => return Err(StateError::NotAJournal { path, cause: "it is no plain file" }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(StateError::disk("looking at", &path)(error)),
    }
    let mut key = [0; 16];
    getrandom::fill(&mut key).map_err(|error| StateError::Record { cause: error.to_string() })?;
    if aside.symlink_metadata().is_ok() {
        files.remove_file(&aside).map_err(StateError::disk("removing", &aside))?;
    }
    let mut file = files.create(&aside).map_err(StateError::disk("making", &aside))?;
    file.write(&key).map_err(StateError::disk("writing", &aside))?;
    file.sync().map_err(StateError::disk("syncing", &aside))?;
    files.rename(&aside, &path).map_err(StateError::disk("renaming", &aside))?;
    files.sync_folder(folder).map_err(StateError::disk("syncing", folder))?;
    Ok(key)
}
