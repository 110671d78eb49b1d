//! A service in small, as ordinary life treats it: what the bench `life` and the tests of `tests/suite/life` share.
//!
//! Everything goes through the public API: two versions that answer, fail, refuse and take their time as they are told, on
//! a clock that is turned by hand and that their calls turn; truth that comes late, twice, corrected or not at all.

#![allow(dead_code, reason = "tests and the bench use a part each")]

mod build;
mod cells;
mod chance;
mod requests;
mod run;
mod service;
mod side;

#[allow(unused_imports, reason = "tests and the bench use a part each")]
pub(crate) use {
    cells::{Candidate, Circumstance, Figure, Life, Routing, Sessions},
    chance::Chance,
    requests::{Ask, Reply, Said, Version, version},
    run::{End, Foretold},
    service::{Fate, Handle, Verdict, World, anybody, clock, service, untold},
};
