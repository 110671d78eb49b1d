//! Where everything of a handle lies.

use super::head::Place;
use super::hex::Hex;
use crate::base::invalid::InvalidArgument;
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
    pub(crate) fn new(root: &Key, handle: &str) -> Result<Self, InvalidArgument> {
        let handle = root.join("h")?.escaped(handle)?;
        // The longest key of all: what is made of it later is none that is refused.
        handle.join("log/0000000000.00000000000000000000")?;
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

    /// Where a head is filed that is about to be replaced.
    pub(crate) fn filed(&self, place: Place) -> Key {
        self.below(&format!("log/{:04}.{:010}", place.term, place.seq))
    }

    fn below(&self, name: &str) -> Key {
        // `new` has tried the longest; the handle alone would be found by the first test.
        self.handle.join(name).unwrap_or_else(|_| self.handle.clone())
    }
}
