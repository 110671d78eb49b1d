//! The figure.
use crate::support::Outcome;
use crate::table::Row;
use std::path::Path;
pub(crate) fn draw(_rows: &[Row], _path: &Path) -> Outcome {
    Ok(())
}
