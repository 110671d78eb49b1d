//! Drift.

pub mod detect;

mod build;
mod cell;
mod compare;
mod distance;
mod layout;
mod profile;
mod reference;
mod season;
mod significance;
mod sketch;
mod table;
mod tail;
mod windows;
mod written;

pub use build::{BuildProfileError, ProfileBuilder};
pub use cell::Cell;
pub use compare::{Control, Options, compare, compare_windows};
pub use distance::Distances;
pub use layout::{BINS_MAX, CATEGORIES_MAX, FEATURES_MAX, NAME_MAX};
pub use profile::{Profile, ProfileMismatch, WrongCells};
pub use reference::ReferenceProfile;
pub use season::Season;
pub use significance::Test;
pub use table::{DriftRow, DriftTable, Verdict, What};
pub use windows::{WindowSize, WindowedProfile};
pub use written::InvalidProfile;

#[cfg(test)]
mod tests;
