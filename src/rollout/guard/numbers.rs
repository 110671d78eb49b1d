//! Numbers, as evidence keeps them.

/// A number to twelve significant digits: what every reader of a text format reads as the same bits again. (Some read the
/// last of seventeen digits wrongly.)
pub(crate) fn written(value: f64) -> f64 {
    if value.is_finite() { format!("{value:.11e}").parse().unwrap_or(value) } else { value }
}
