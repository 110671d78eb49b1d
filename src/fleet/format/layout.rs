//! Where everything of a handle lies.

use super::head::Place;
use super::hex::Hex;
use crate::base::invalid::ArgumentError;
use crate::fleet::key::Key;

/// The keys of one handle of a fleet.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    handle: Key,
    head: Key,
    ledger: Key,
    rows: Key,
}

impl Layout {
    /// # Errors
    ///
    /// The handle's name is too long for a key.
    pub(crate) fn new(root: &Key, handle: &str) -> Result<Self, ArgumentError> {
        let handle = root.join("h")?.escaped(handle)?;
        // The longest key of all: what is made of it later is none that is refused.
        handle.join("lost/0000000000.00000000000000000000.0123456789abcdef")?;
        Ok(Self {
            head: handle.join("head")?,
            ledger: handle.join("ledger")?,
            rows: handle.join("rows")?,
            handle,
        })
    }

    /// What all of it lies under.
    pub(crate) fn handle(&self) -> &Key {
        &self.handle
    }

    pub(crate) fn head(&self) -> &Key {
        &self.head
    }

    pub(crate) fn ledger(&self) -> &Key {
        &self.ledger
    }

    pub(crate) fn rows(&self) -> &Key {
        &self.rows
    }

    pub(crate) fn row(&self, name: Hex) -> Key {
        self.below(&format!("rows/{name}"))
    }

    /// The name of a row; nothing where the key is none's.
    pub(crate) fn name(&self, row: &Key) -> Option<Hex> {
        row.below(&self.rows).and_then(Hex::read)
    }

    /// Where others leave outcomes of predictions that this process made, by its number in their ids.
    pub(crate) fn mailbox(&self, process: Hex) -> Key {
        self.below(&format!("mail/{process}"))
    }

    /// The process whose mailbox it is; nothing where the key is none's.
    pub(crate) fn read_mailbox(&self, key: &Key) -> Option<Hex> {
        Hex::read(key.below(&self.handle)?.strip_prefix("mail/")?)
    }

    /// What says of processes that have ended who has taken over what they left.
    pub(crate) fn handovers(&self) -> Key {
        self.below("over")
    }

    pub(crate) fn handover(&self, process: Hex) -> Key {
        self.below(&format!("over/{process}"))
    }

    /// The process that has ended; nothing where the key is none's.
    pub(crate) fn read_handover(&self, key: &Key) -> Option<Hex> {
        Hex::read(key.below(&self.handle)?.strip_prefix("over/")?)
    }

    /// A part of what a process has left.
    pub(crate) fn handover_part(&self, process: Hex, part: u32) -> Key {
        self.below(&format!("left/{process}.{part:02}"))
    }

    /// The process that has left it, and which part it is; nothing where the key is none's.
    pub(crate) fn read_handover_part(&self, key: &Key) -> Option<(Hex, u32)> {
        let (process, part) = key.below(&self.handle)?.strip_prefix("left/")?.split_once('.')?;
        Some((Hex::read(process)?, part.parse().ok()?))
    }

    /// Where a head is filed that is about to be replaced. By its print too: a file that was under way when the store was put back would lie where the
    /// head of that number is to be filed that comes instead.
    pub(crate) fn filed(&self, place: Place, print: Hex) -> Key {
        self.below(&format!("log/{}", named(place, print)))
    }

    /// The head that is filed under a key; nothing where the key is none's.
    pub(crate) fn read_filed(&self, key: &Key) -> Option<(Place, Hex)> {
        read_named(key.below(&self.handle)?.strip_prefix("log/")?)
    }

    /// Where a member keeps the head that it has, once it finds another history or none.
    pub(crate) fn kept(&self, place: Place, print: Hex) -> Key {
        self.below(&format!("lost/{}", named(place, print)))
    }

    /// What all of those lie under.
    pub(crate) fn all_kept(&self) -> Key {
        self.below("lost")
    }

    /// The head that is kept under a key; nothing where the key is none's.
    pub(crate) fn read_kept(&self, key: &Key) -> Option<(Place, Hex)> {
        read_named(key.below(&self.handle)?.strip_prefix("lost/")?)
    }

    /// What a probe has left that was ended in the middle lies under this.
    pub(crate) fn probes(&self) -> Key {
        self.below("head/probe")
    }

    fn below(&self, name: &str) -> Key {
        // `new` has tried the longest; the handle alone would be found by the first test.
        self.handle.join(name).unwrap_or_else(|_| self.handle.clone())
    }
}

/// In the order of their numbers.
fn named(place: Place, print: Hex) -> String {
    format!("{:04}.{:010}.{print}", place.term, place.seq)
}

fn read_named(text: &str) -> Option<(Place, Hex)> {
    let (place, print) = text.rsplit_once('.')?;
    let (term, seq) = place.split_once('.')?;
    Some((Place { term: term.parse().ok()?, seq: seq.parse().ok()? }, Hex::read(print)?))
}
