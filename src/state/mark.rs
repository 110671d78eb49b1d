//! How far the journal was acknowledged, in a file of its own: what tells a journal that has less than it had.
//!
//! A journal that ends where a batch ends is whole, whatever stood behind. So the end of what was acknowledged is noted beside
//! it, each time after it was: the note is behind the journal or level with it, never ahead, unless the journal has lost
//! something. It is not synced, since it need not be the newest to be true: after a power cut it may be half a minute old.

use std::fs::File;
use std::io;
use std::path::Path;

use xxhash_rust::xxh3::xxh3_64;

use super::error::StateError;
use super::folder;
use super::frame::Header;
use super::names::MARK;
use super::read::Scan;
use crate::base::disk::Files;

const MAGIC: [u8; 8] = *b"swbkmark";

/// The magic, three numbers and their XXH3-64.
const LENGTH: usize = 40;

/// How far a journal was acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Marked {
    pub(crate) generation: u64,
    pub(crate) salt: u64,
    pub(crate) length: u64,
}

impl Marked {
    pub(crate) fn of(header: &Header, length: u64) -> Self {
        Self { generation: header.generation, salt: header.salt, length }
    }

    /// Returns what a journal lacks of what was acknowledged, where it lacks any.
    pub(crate) fn beyond(&self, scan: &Scan) -> Option<String> {
        let Header { generation, salt, .. } = scan.header;
        if self.generation > generation {
            return Some(format!(
                "it is number {generation} of this folder's, and number {} was written",
                self.generation
            ));
        }
        let is_same = (self.generation, self.salt) == (generation, salt);
        if is_same && self.length > scan.committed {
            return Some(format!(
                "it ends at byte {}, and was written up to {}",
                scan.committed, self.length
            ));
        }
        let another = self.generation == generation && self.salt != salt;
        another.then(|| format!("it is another number {generation} than the one that was written"))
    }

    fn encode(self) -> [u8; LENGTH] {
        let mut bytes = [0; LENGTH];
        let numbers = [self.generation, self.salt, self.length];
        let words = std::iter::once(MAGIC).chain(numbers.map(u64::to_le_bytes));
        bytes.chunks_exact_mut(8).zip(words).for_each(|(place, word)| place.copy_from_slice(&word));
        let (content, check) = bytes.split_at_mut(LENGTH - 8);
        check.copy_from_slice(&xxh3_64(content).to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (words, []) = bytes.as_chunks::<8>() else { return None };
        let [MAGIC, generation, salt, length, check] = *words else { return None };
        let content = bytes.get(..LENGTH - 8)?;
        let number = u64::from_le_bytes;
        (number(check) == xxh3_64(content)).then_some(Self {
            generation: number(generation),
            salt: number(salt),
            length: number(length),
        })
    }
}

/// Returns what was noted of the journal of a folder; nothing where nothing was, or the note is no such.
pub(crate) fn read(files: &Files, folder: &Path) -> Result<Option<Marked>, StateError> {
    let path = folder.join(MARK);
    if !folder::is_plain(&path)? {
        return Ok(None);
    }
    match files.read(&path, LENGTH as u64) {
        Ok(bytes) => Ok(Marked::decode(&bytes)),
        Err(error) if error.kind() == io::ErrorKind::FileTooLarge => Ok(None),
        Err(error) => Err(StateError::disk("reading", &path)(error)),
    }
}

/// Forgets what was noted, so that what is there is all there was.
pub(crate) fn forget(files: &Files, folder: &Path) -> Result<(), StateError> {
    folder::remove(files, &folder.join(MARK))
}

/// Where it is noted, by the process that has the folder.
#[derive(Debug, Default)]
pub(crate) struct Mark(Option<File>);

impl Mark {
    /// Notes how far the journal was acknowledged. Where it cannot be noted, the note is behind, as it may be.
    pub(crate) fn set(&mut self, folder: &Path, marked: Marked) {
        let mut note = || -> io::Result<()> {
            let mut file = match self.0.take() {
                Some(file) => file,
                None => Files::open_note(&folder.join(MARK))?,
            };
            Files::note(&mut file, &marked.encode())?;
            self.0 = Some(file);
            Ok(())
        };
        let _ = note();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_read_as_it_was_written_and_nothing_else_is() {
        let marked = Marked { generation: 7, salt: u64::MAX, length: 1 << 40 };
        let bytes = marked.encode();
        assert_eq!(Marked::decode(&bytes), Some(marked));
        for place in 0..bytes.len() {
            let mut changed = bytes;
            changed[place] ^= 1;
            assert_eq!(Marked::decode(&changed), None);
            assert_eq!(Marked::decode(&bytes[..place]), None);
        }
    }
}
