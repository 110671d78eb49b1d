//! The arguments that the tests can have: margins and limits at which there is a test. A host that asks for another is
//! refused; a guard, whose margin follows from what was counted, is given the nearest one.

use crate::base::invalid::ArgumentError;

/// The limits of a rate or a mean: no test tells 0 from what is nearly 0.
pub(crate) const LEAST_LIMIT: f64 = 1e-9;

/// The margins of a ratio.
pub(crate) const TIMES: (f64, f64) = (1e-3, 1e3);

/// The least share of what is hidden that may be let through.
pub(crate) const LEAST_EXPLORED: f64 = 1e-3;

pub(crate) fn error(alpha: f64) -> Result<(), ArgumentError> {
    ArgumentError::unless(alpha > 0.0 && alpha < 1.0, "the error", alpha, "more than 0 and less than 1")
}

pub(crate) fn limit(limit: f64) -> Result<(), ArgumentError> {
    let valid = (LEAST_LIMIT..=1.0 - LEAST_LIMIT).contains(&limit);
    ArgumentError::unless(valid, "the limit", limit, "from 1e-9 to 1 - 1e-9")
}

pub(crate) fn difference(margin: f64) -> Result<(), ArgumentError> {
    ArgumentError::unless((-1.0..=1.0).contains(&margin), "the margin", margin, "from -1 to 1")
}

pub(crate) fn times(times: f64) -> Result<(), ArgumentError> {
    ArgumentError::unless(
        (TIMES.0..=TIMES.1).contains(&times),
        "the margin",
        times,
        "from 0.001 to 1000 times",
    )
}

pub(crate) fn centre(centre: f64) -> Result<(), ArgumentError> {
    ArgumentError::unless((0.0..=1.0).contains(&centre), "the centre", centre, "from 0 to 1")
}

pub(crate) fn largest(largest: u8, most: u8) -> Result<(), ArgumentError> {
    ArgumentError::unless((1..=most).contains(&largest), "the largest whole", largest, format!("1 to {most}"))
}
