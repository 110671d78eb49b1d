//! Plots over time, as data: what is drawn, on which scale. How is in `svg` and, in place of it, in `bars`.

pub(crate) mod bars;
pub(crate) mod plot;
pub(crate) mod scale;
pub(crate) mod svg;

pub(crate) use bars::{bar, rows};
pub(crate) use scale::{Scale, Unit};
pub(crate) use svg::draw;
