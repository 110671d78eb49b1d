//! Numbers, as evidence keeps them and shows them.

/// So many significant digits, without zeros at the end.
pub(crate) fn significant(value: f64, digits: i32) -> String {
    if value == 0.0 || !value.is_finite() {
        return value.to_string();
    }
    let places = f64::from(digits - 1) - value.abs().log10().floor();
    let text = format!("{value:.*}", places.clamp(0.0, 9.0) as usize);
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// A number to twelve significant digits: what every reader of a text format reads as the same bits again. (Some read the
/// last of seventeen digits wrongly.)
pub(crate) fn written(value: f64) -> f64 {
    if value.is_finite() { format!("{value:.11e}").parse().unwrap_or(value) } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let cases = [
            (2.1234, "2.12"),
            (0.051_234, "0.0512"),
            (1.25, "1.25"),
            (812.4, "812"),
            (0.0, "0"),
            (100.0, "100"),
            (f64::INFINITY, "inf"),
        ];
        for (value, text) in cases {
            assert_eq!(significant(value, 3), text);
        }
    }
}
