//! What a header `Accept` asks for (RFC 9110, 12.5.1).

/// The media types that it names, in its order, each with how welcome it is, from 0 to 1. Their other parameters are left out.
pub(crate) fn welcome(accept: &str) -> impl Iterator<Item = (&str, f64)> {
    accept.split(',').map(|range| {
        let mut parts = range.split(';').map(str::trim);
        let kind = parts.next().unwrap_or_default();
        let weight = parts.find_map(|part| {
            let (name, value) = part.split_once('=')?;
            name.trim().eq_ignore_ascii_case("q").then(|| value.trim().parse().unwrap_or(0.0))
        });
        (kind, weight.unwrap_or(1.0))
    })
}
