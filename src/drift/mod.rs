//! Drift.

pub mod detect;

mod build;
mod cell;
mod layout;
mod profile;
mod reference;
mod sketch;
mod written;

pub use build::{BuildProfileError, ProfileBuilder};
pub use cell::Cell;
pub use layout::{BINS_MAX, CATEGORIES_MAX, FEATURES_MAX, NAME_MAX};
pub use profile::{Profile, ProfileMismatch, WrongCells};
pub use reference::ReferenceProfile;
pub use written::InvalidProfile;
