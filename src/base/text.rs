//! Numbers, shares, lists and bytes as text: one form of each, for events, errors, reports and files alike.

use std::borrow::Cow;
use std::fmt;

/// Three significant digits, without zeros at the end; whole, with a comma at each thousand, from 1,000 on; with an
/// exponent only where it would be unreadable without one. What is not a finite number is a dash.
pub(crate) fn number(value: f64) -> String {
    if !value.is_finite() {
        return String::from("–");
    }
    if value == 0.0 {
        return String::from("0");
    }
    let magnitude = value.abs().log10().floor();
    if !(-6.0..9.0).contains(&magnitude) {
        return format!("{value:.1e}");
    }
    if magnitude >= 3.0 {
        let whole = count(value.abs().round() as u64);
        return if value < 0.0 { format!("-{whole}") } else { whole };
    }
    significant(value, 3)
}

/// So many significant digits, without zeros at the end.
pub(crate) fn significant(value: f64, digits: i32) -> String {
    if value == 0.0 || !value.is_finite() {
        return value.to_string();
    }
    let places = f64::from(digits - 1) - value.abs().log10().floor();
    let text = format!("{value:.*}", places.clamp(0.0, 9.0) as usize);
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// `97,408`
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `4.1 %`
#[cfg(any(feature = "report", test))]
pub(crate) fn percent(share: f64) -> String {
    format!("{} %", number(share * 100.0))
}

/// `a, b and 3 more`, of a list of which `more` are not given; `none` of an empty one.
pub(crate) fn list(items: impl IntoIterator<Item = impl fmt::Display>, more: usize) -> String {
    let items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    match (items.is_empty(), more) {
        (true, 0) => String::from("none"),
        (true, more) => format!("{more} more"),
        (false, 0) => items.join(", "),
        (false, more) => format!("{} and {more} more", items.join(", ")),
    }
}

/// Items of a long list that are given: a feature can have thousands of categories.
#[cfg(feature = "repository")]
const LISTED_MAX: usize = 8;

/// A list, the first eight of it.
#[cfg(feature = "repository")]
pub(crate) fn first(items: &[impl fmt::Display]) -> String {
    list(items.iter().take(LISTED_MAX), items.len().saturating_sub(LISTED_MAX))
}

/// A list of names, the first eight of it.
#[cfg(feature = "repository")]
pub(crate) fn quoted(items: &[impl fmt::Display]) -> String {
    let named = items.iter().take(LISTED_MAX).map(|item| format!("`{item}`"));
    list(named, items.len().saturating_sub(LISTED_MAX))
}

/// How much is kept of a text that somebody else has made, in bytes: a reason of an operator's, an error of a model's, the
/// name of a guard. Such texts go into events, `status()` and the journal, and a thousand events of this size are 4 MB.
pub(crate) const TEXT_MAX: usize = 4_096;

/// A text of somebody else's, cut to [`TEXT_MAX`] bytes; it says how much is missing.
pub(crate) fn bounded<'a>(text: impl Into<Cow<'a, str>>) -> Cow<'a, str> {
    let text = text.into();
    if text.len() <= TEXT_MAX {
        return text;
    }
    // Room for what is said of the rest.
    let shown = text.floor_char_boundary(TEXT_MAX - 48);
    let (start, rest) = text.split_at(shown);
    Cow::Owned(format!("{start}… ({} bytes are not shown)", rest.len()))
}

/// The same of a text that is kept.
pub(crate) fn bounded_text(text: impl Into<String>) -> String {
    bounded(text.into()).into_owned()
}

/// Whether a character shows as itself: none that ends a line, writes over other text, or turns its direction round.
pub(crate) fn is_plain(character: char) -> bool {
    !matches!(
        character,
        '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    ) && !character.is_control()
}

/// Bytes as hexadecimal digits, in lower case.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        text.extend(
            [byte >> 4, byte & 15].map(|digit| char::from_digit(digit.into(), 16).unwrap_or_default()),
        );
        text
    })
}

/// The 32 bytes of a digest that [`hex`] has written; nothing for any other text.
pub(crate) fn digest(text: &str) -> Option<[u8; 32]> {
    bytes(text)
}

/// The 16 bytes of a key in hexadecimal digits.
#[cfg(feature = "config")]
pub(crate) fn key(text: &str) -> Option<[u8; 16]> {
    bytes(&text.to_ascii_lowercase())
}

/// As many bytes as [`hex`] has written; nothing for any other text.
pub(crate) fn bytes<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        for digit in pair {
            let value = match digit {
                b'0'..=b'9' => digit - b'0',
                b'a'..=b'f' => digit - b'a' + 10,
                _ => return None,
            };
            *byte = *byte << 4 | value;
        }
    }
    Some(bytes)
}

/// How many letters are to be put in, taken out or changed until one is the other (Levenshtein).
pub(crate) fn distance(found: &str, known: &str) -> usize {
    let known: Vec<char> = known.chars().collect();
    let mut row: Vec<usize> = (0..=known.len()).collect();
    for (place, letter) in found.chars().enumerate() {
        let mut diagonal = place;
        if let Some(first) = row.first_mut() {
            *first = place + 1;
        }
        for (at, other) in known.iter().enumerate() {
            let (Some(left), Some(above)) = (row.get(at).copied(), row.get(at + 1).copied()) else {
                continue;
            };
            let changed = diagonal + usize::from(letter != *other);
            diagonal = above;
            if let Some(cell) = row.get_mut(at + 1) {
                *cell = changed.min(left + 1).min(above + 1);
            }
        }
    }
    row.last().copied().unwrap_or_default()
}

/// The word that was meant, where more of it is there than not.
pub(crate) fn nearest<'a>(found: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let told = known.into_iter().map(|known| (distance(found, known), known));
    let (far, nearest) = told.min_by_key(|(far, _)| *far)?;
    (2 * far <= nearest.chars().count()).then_some(nearest)
}

/// `Display` is the name that the value has in JSON and in metrics.
macro_rules! told_by_name {
    ($type:ty) => {
        impl std::fmt::Display for $type {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.pad(self.name())
            }
        }
    };
}
pub(crate) use told_by_name;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits() {
        let cases = [
            (0.0, "0"),
            (0.051_234, "0.0512"),
            (2.0, "2"),
            (2.1234, "2.12"),
            (1.25, "1.25"),
            (100.0, "100"),
            (812.4, "812"),
            (97_408.2, "97,408"),
            (-1_234.0, "-1,234"),
            (1e-9, "1.0e-9"),
            (f64::NAN, "–"),
            (f64::INFINITY, "–"),
        ];
        for (value, text) in cases {
            assert_eq!(number(value), text);
        }
        assert_eq!(
            [count(0), count(999), count(1_000), count(u64::MAX)],
            ["0", "999", "1,000", "18,446,744,073,709,551,615"]
        );
        assert_eq!(percent(0.0412), "4.12 %");
    }

    #[test]
    fn a_list_says_how_many_it_leaves_out() {
        assert_eq!(list(["a", "b"], 0), "a, b");
        assert_eq!(list(["a", "b"], 3), "a, b and 3 more");
        assert_eq!(list([""; 0], 0), "none");
        assert_eq!(list([""; 0], 2), "2 more");
    }

    #[cfg(feature = "repository")]
    #[test]
    fn a_long_list_is_cut() {
        let many: Vec<usize> = (0..11).collect();
        assert_eq!(first(&many), "0, 1, 2, 3, 4, 5, 6, 7 and 3 more");
        assert_eq!(quoted(&many[..2]), "`0`, `1`");
        assert_eq!(quoted(&many[..0]), "none");
        assert!(quoted(&many).ends_with("`7` and 3 more"));
    }

    #[test]
    fn a_digest_is_read_back_and_nothing_else_is() {
        let bytes: [u8; 32] = std::array::from_fn(|place| (place * 37) as u8);
        let text = hex(&bytes);
        assert_eq!(text.get(..8), Some("00254a6f"));
        assert_eq!(digest(&text), Some(bytes));
        for wrong in [&text[1..], &text.to_uppercase(), &text.replace('0', "g"), &format!("{text}0"), ""] {
            assert_eq!(digest(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn significant_digits_are_all_that_is_shown() {
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
