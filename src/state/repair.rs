//! What is left of a journal that is damaged.

use std::path::{Path, PathBuf};

use super::error::StateError;
use super::frame::{HEADER, Header, salvage};
use super::journal::{ASIDE, JOURNAL, Record, anew, contents, gathered, lock, no_header, salt};
use crate::files::Files;

/// What a repair has kept, and what it has not.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Repaired {
    /// The damaged journal, as it was.
    pub kept_as: PathBuf,
    /// Bytes in it that were no whole record.
    pub lost_bytes: u64,
    /// Whether what was decided last was found. If not, a start is a first start.
    pub found_state: bool,
    /// Events that were found.
    pub events: usize,
}

/// Makes a journal of what is whole in one that is damaged, and keeps the damaged one beside it. For a person to call, who
/// has looked at the disk first: what was in the damaged part is lost, a decision perhaps, and outcomes that were told twice
/// may count twice.
///
/// # Errors
///
/// Another process has the folder, the disk fails, or the beginning of the journal is damaged: then nothing in it can be
/// told from anything else. Nothing has changed then.
pub fn repair(folder: impl AsRef<Path>) -> Result<Repaired, StateError> {
    let folder = folder.as_ref();
    let files = Files::default();
    let _lock = lock(folder)?;
    let (path, aside) = (folder.join(JOURNAL), folder.join(ASIDE));
    let Some(bytes) = contents(&files, &path)? else {
        return Err(StateError::NotAJournal { path, cause: "there is none" });
    };
    let (bodies, lost_bytes) = salvage(&bytes).map_err(|none| no_header(&path, none))?;
    let mut found = gathered(&bodies);
    let events = found.events.len();
    let header = Header {
        generation: Header::decode(&bytes).map_or(0, |header| header.generation) + 1,
        salt: salt()?,
    };
    let new = match found.state.take() {
        None => None,
        Some(state) => {
            // Differences cannot be joined here: each stays a part of its own.
            let mut evidence = std::mem::take(&mut found.evidence).into_iter();
            let first = Record {
                state: state.clone(),
                evidence: evidence.next().unwrap_or_default(),
                events: Vec::new(),
            };
            let mut new = anew(header, &found, &first)?;
            debug_assert!(new.len() > HEADER);
            for more in evidence {
                let parts = [(super::frame::Kind::MoreEvidence, more.as_slice())];
                new.extend(header.record(new.len(), &parts).into_iter().flatten());
            }
            Some(new)
        }
    };
    let found_state = new.is_some();
    let kept_as = (1_u32..).map(|number| folder.join(format!("journal.damaged-{number}")));
    let kept_as = kept_as.into_iter().find(|path| path.symlink_metadata().is_err()).unwrap_or_default();
    // The damaged one goes last: at no moment is there no journal, which would be a first start.
    let write = |path: &Path, bytes: &[u8]| {
        let mut file = files.create(path).map_err(StateError::disk("making", path))?;
        file.write(bytes).map_err(StateError::disk("writing", path))?;
        file.sync().map_err(StateError::disk("syncing", path))
    };
    write(&kept_as, &bytes)?;
    match new {
        Some(new) => {
            if aside.symlink_metadata().is_ok() {
                files.remove_file(&aside).map_err(StateError::disk("removing", &aside))?;
            }
            write(&aside, &new)?;
            files.rename(&aside, &path).map_err(StateError::disk("renaming", &aside))?;
        }
        None => files.remove_file(&path).map_err(StateError::disk("removing", &path))?,
    }
    files.sync_folder(folder).map_err(StateError::disk("syncing", folder))?;
    Ok(Repaired { kept_as, lost_bytes, found_state, events })
}
