//! Numbers, as evidence keeps them and shows them.

/// Four significant digits, without zeros at the end.
pub(crate) fn number(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return value.to_string();
    }
    let digits = value.abs().log10().floor();
    let text = format!("{value:.*}", (3.0 - digits).clamp(0.0, 9.0) as usize);
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// A number to twelve significant digits: what every reader of a text format reads as the same bits again. (Some read the
/// last of seventeen digits wrongly.)
pub(crate) fn written(value: f64) -> f64 {
    if value.is_finite() { format!("{value:.11e}").parse().unwrap_or(value) } else { value }
}
