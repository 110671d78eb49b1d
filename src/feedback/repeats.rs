//! Which outcomes have come already: a bit for each prediction and figure.

use std::sync::Arc;

use crate::base::clock::Timestamp;
use crate::stats::counting::exposure::ROWS_TOGETHER;

/// The bits of 4,096 consecutive rows of one exposure and figure.
#[derive(PartialEq, Eq, Hash, Clone, Copy)]
pub(crate) struct PageKey {
    pub(crate) exposure: u32,
    pub(crate) figure: u8,
    pub(crate) page: u64,
}

pub(crate) struct Page {
    /// Shared with whoever writes it down, until it changes.
    pub(crate) bits: Arc<[u64; PAGE_ROWS / 64]>,
    pub(crate) newest: Timestamp,
    /// It has changed since it was saved.
    pub(crate) unsaved: bool,
}

pub(crate) const PAGE_ROWS: usize = ROWS_TOGETHER as usize;

impl Page {
    pub(crate) fn new() -> Self {
        Self { bits: Arc::new([0; PAGE_ROWS / 64]), newest: Timestamp::default(), unsaved: false }
    }
}

impl PageKey {
    pub(crate) fn of(exposure: u32, figure: u8, row: u64) -> Self {
        Self { exposure, figure, page: row / PAGE_ROWS as u64 }
    }
}

pub(crate) fn place_of(row: u64) -> (usize, u64) {
    let within = (row % PAGE_ROWS as u64) as usize;
    (within / 64, 1 << (within % 64))
}
