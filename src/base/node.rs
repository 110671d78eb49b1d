//! A document as it was read, whatever format it was written in, and what people write in one: times, shares, sizes.
//!
//! Serde says of a wrong value where it stands only as far as its format does: TOML by its line, a tree of YAML or JSON not at
//! all. So a document is read into [`Node`]s first, and out of these by [`Value`], which knows its path. That is one visitor
//! and a few readers, no crate (`serde_path_to_error` keeps the path, but not what was written there, nor which words would
//! have been understood), and the same sentence for the same mistake in every format.

use std::fmt;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use thiserror::Error;

#[cfg(any(feature = "config", test))]
use super::share::decimal;
use super::share::{Share, of_percent};
use super::text::nearest;

/// A value of a document.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Node {
    Nothing,
    Bool(bool),
    Whole(i128),
    Number(f64),
    Text(String),
    List(Vec<Node>),
    Table(Vec<(String, Node)>),
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Whole(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Whole(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        Ok(Node::Number(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Node, E> {
        Ok(Node::Text(value))
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Nothing)
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Nothing)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        Node::deserialize(deserializer)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        Node::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Node::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Node, A::Error> {
        let mut table: Vec<(String, Node)> = Vec::new();
        while let Some((key, value)) = fields.next_entry::<String, Node>()? {
            if table.iter().any(|(earlier, _)| *earlier == key) {
                return Err(A::Error::custom(format_args!("the field `{}` is given twice", shown(&key))));
            }
            table.push((key, value));
        }
        Ok(Node::Table(table))
    }
}

/// As it would be written, on one line, and not all of what is long.
impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("nothing"),
            Self::Bool(value) => value.fmt(f),
            Self::Whole(value) => value.fmt(f),
            Self::Number(value) => value.fmt(f),
            Self::Text(text) => write!(f, "\"{}\"", shown(text)),
            Self::List(_) => f.write_str("a list"),
            Self::Table(_) => f.write_str("a table"),
        }
    }
}

/// At most 60 characters of what was read.
fn shown(text: &str) -> String {
    const MOST: usize = 60;
    let mut shown: String = text.chars().take(MOST).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(MOST).is_some() {
        shown.push_str("..");
    }
    shown
}

/// A value that cannot be what it stands for: where it stands, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{}{}{reason}", .path, if .path.is_empty() { "" } else { ": " })]
pub(crate) struct Misread {
    path: String,
    reason: String,
}

/// A value of a document, with its path.
#[derive(Debug, Clone)]
pub(crate) struct Value<'a> {
    path: String,
    node: &'a Node,
}

impl<'a> Value<'a> {
    pub(crate) fn root(node: &'a Node) -> Self {
        Self { path: String::new(), node }
    }

    #[cfg(feature = "config")]
    pub(crate) fn node(&self) -> &'a Node {
        self.node
    }

    pub(crate) fn refused(&self, reason: impl fmt::Display) -> Misread {
        Misread { path: self.path.clone(), reason: reason.to_string() }
    }

    /// It is not what was expected.
    fn is_no(&self, what: &str, instead: impl fmt::Display) -> Misread {
        self.refused(format_args!("{} is no {what}: write {instead}", self.node))
    }

    /// A table of these fields and no other.
    pub(crate) fn table(&self, known: &[&str]) -> Result<Table<'a>, Misread> {
        let Node::Table(fields) = self.node else {
            return Err(self.is_no("table", format_args!("one of {}", ticked(known))));
        };
        let table = Table { path: self.path.clone(), fields };
        match fields.iter().find(|(key, _)| !known.contains(&key.as_str())) {
            None => Ok(table),
            Some((unknown, _)) => {
                let unknown = shown(unknown);
                let instead = match nearest(&unknown, known.iter().copied()) {
                    Some(known) => format!("did you mean `{known}`?"),
                    None => format!("there are {}", ticked(known)),
                };
                Err(Misread {
                    path: table.path_of(&unknown),
                    reason: format!("`{unknown}` is no field here, {instead}"),
                })
            }
        }
    }

    pub(crate) fn list(&self) -> Result<Vec<Value<'a>>, Misread> {
        let Node::List(items) = self.node else { return Err(self.is_no("list", "it in brackets, [..]")) };
        let item = |(place, node)| Value { path: format!("{}[{place}]", self.path), node };
        Ok(items.iter().enumerate().map(item).collect())
    }

    #[cfg(any(feature = "admin", feature = "config"))]
    pub(crate) fn text(&self) -> Result<&'a str, Misread> {
        match self.node {
            Node::Text(text) => Ok(text),
            _ => Err(self.is_no("text", "it in quotes")),
        }
    }

    pub(crate) fn bool(&self) -> Result<bool, Misread> {
        match self.node {
            Node::Bool(value) => Ok(*value),
            _ => Err(self.is_no("yes or no", "true or false")),
        }
    }

    /// A whole number that the type can have.
    pub(crate) fn whole<T: TryFrom<i128>>(&self) -> Result<T, Misread> {
        let whole = match self.node {
            Node::Whole(value) => T::try_from(*value).ok(),
            _ => None,
        };
        whole.ok_or_else(|| self.is_no("count", "a whole number from 0 on"))
    }

    pub(crate) fn number(&self) -> Result<f64, Misread> {
        match self.node {
            Node::Number(value) if value.is_finite() => Ok(*value),
            // Exact, or as near as the digits that were written.
            Node::Whole(value) => Ok(*value as f64),
            _ => Err(self.is_no("number", "one without quotes")),
        }
    }

    /// One of some words.
    pub(crate) fn word<T: Copy>(&self, known: &[(&str, T)]) -> Result<T, Misread> {
        let words: Vec<&str> = known.iter().map(|(word, _)| *word).collect();
        let told = |text: &str| known.iter().find(|(word, _)| *word == text).map(|(_, meant)| *meant);
        match self.node {
            Node::Text(text) => told(text).ok_or_else(|| match nearest(text, words.iter().copied()) {
                Some(word) => {
                    self.refused(format_args!("{} means nothing here, did you mean \"{word}\"?", self.node))
                }
                None => self.is_no("word that is known here", quoted(&words)),
            }),
            _ => Err(self.is_no("word", quoted(&words))),
        }
    }

    /// `10m`, `1h 30m`, `7d`
    pub(crate) fn time(&self) -> Result<Duration, Misread> {
        let read = match self.node {
            Node::Text(text) => humantime::parse_duration(text).ok(),
            Node::Whole(number @ 0..=i128::MAX) => {
                return Err(self.is_no("time", format_args!("its unit too, such as \"{number}s\"")));
            }
            _ => None,
        };
        read.ok_or_else(|| self.is_no("time", "a number and a unit, such as \"10m\", \"1h 30m\" or \"7d\""))
    }

    /// `"5 %"` or `0.05`, from nothing to all; which of the two a whole 1 would be nobody knows.
    pub(crate) fn fraction(&self) -> Result<f64, Misread> {
        let read = match self.node {
            Node::Text(text) => of_percent(text),
            Node::Number(value) => Some(*value),
            Node::Whole(value) => Some(*value as f64),
            _ => None,
        };
        match (read.filter(|share| (0.0..=1.0).contains(share)), self.node) {
            // 1 of what goes to 100, or all of it? JavaScript writes 1.0 so too.
            (Some(_), Node::Whole(1)) => Err(self.is_no("share", "\"1 %\" or \"100 %\"")),
            (Some(share), _) => Ok(share),
            // Whoever writes 5 means 5 %.
            (None, Node::Whole(percent @ 2..=100)) => {
                let share = *percent as f64 / 100.0;
                Err(self.is_no("share", format_args!("\"{percent} %\" or {share}")))
            }
            (None, _) => Err(self.is_no("share", "\"5 %\" or 0.05, from \"0 %\" to \"100 %\"")),
        }
    }

    pub(crate) fn share(&self) -> Result<Share, Misread> {
        self.fraction().and_then(|share| Share::new(share).map_err(|error| self.refused(error)))
    }

    /// `"64 MiB"`, or how many bytes.
    #[cfg(any(feature = "config", test))]
    pub(crate) fn size(&self) -> Result<u64, Misread> {
        let read = match self.node {
            Node::Text(text) => of_size(text),
            Node::Whole(bytes) => u64::try_from(*bytes).ok(),
            _ => None,
        };
        read.ok_or_else(|| self.is_no("size", "a number and a unit, such as \"64 MiB\" or \"2 GB\""))
    }
}

/// The fields of a table.
#[derive(Debug, Clone)]
pub(crate) struct Table<'a> {
    path: String,
    fields: &'a [(String, Node)],
}

impl<'a> Table<'a> {
    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// The field, if there is anything in it.
    pub(crate) fn get(&self, key: &str) -> Option<Value<'a>> {
        let (_, node) = self.fields.iter().find(|(field, node)| field == key && *node != Node::Nothing)?;
        Some(Value { path: self.path_of(key), node })
    }

    /// Returns what is read of the field, if there is anything in it.
    pub(crate) fn read<T>(
        &self,
        key: &str,
        read: impl Fn(&Value<'a>) -> Result<T, Misread>,
    ) -> Result<Option<T>, Misread> {
        self.get(key).as_ref().map(read).transpose()
    }

    /// The field, which must be there.
    #[cfg(feature = "config")]
    pub(crate) fn need(&self, key: &str) -> Result<Value<'a>, Misread> {
        self.get(key).ok_or_else(|| self.refused(format_args!("`{key}` is missing")))
    }

    pub(crate) fn refused(&self, reason: impl fmt::Display) -> Misread {
        Misread { path: self.path.clone(), reason: reason.to_string() }
    }

    /// Returns the fault of one of its fields.
    #[cfg(feature = "config")]
    pub(crate) fn refused_at(&self, key: &str, reason: impl fmt::Display) -> Misread {
        Misread { path: self.path_of(key), reason: reason.to_string() }
    }
}

fn ticked(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

fn quoted(words: &[&str]) -> String {
    words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(" or ")
}

/// `12.5 %` of 0.125: the same digits, so that the same bits are read again.
#[cfg(any(feature = "config", test))]
pub(crate) fn percent(share: f64) -> String {
    if share == 0.0 {
        return String::from("0 %");
    }
    let text = format!("{share:e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let digits = mantissa.replace('.', "");
    // How many of the digits stand before the point.
    let before = exponent.parse::<i32>().unwrap_or_default() + 3;
    let place = usize::try_from(before).unwrap_or_default();
    match digits.split_at_checked(place) {
        Some((whole, "")) => format!("{whole} %"),
        Some((whole, rest)) if before > 0 => format!("{whole}.{rest} %"),
        Some(_) => format!("0.{}{digits} %", "0".repeat(before.unsigned_abs() as usize)),
        None => format!("{digits:0<place$} %"),
    }
}

/// The units of sizes, with their bytes: what is written is the first that divides a size.
#[cfg(any(feature = "config", test))]
const SIZES: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
];

/// How many bytes `1.5 GiB` are, if they are whole.
#[cfg(any(feature = "config", test))]
fn of_size(text: &str) -> Option<u64> {
    let text = text.trim();
    let end = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.')?;
    let (number, unit) = text.split_at(end);
    let (_, bytes) = SIZES.iter().find(|(name, _)| *name == unit.trim_start())?;
    if !decimal(number) {
        return None;
    }
    let (whole, rest) = number.split_once('.').unwrap_or((number, ""));
    let whole = whole.parse::<u64>().ok()?.checked_mul(*bytes)?;
    let rest = rest.trim_end_matches('0');
    let rest = match u32::try_from(rest.len()).ok()? {
        0 => 0,
        places => {
            let (parts, of) = (rest.parse::<u64>().ok()?.checked_mul(*bytes)?, 10_u64.checked_pow(places)?);
            if !parts.is_multiple_of(of) {
                return None;
            }
            parts / of
        }
    };
    whole.checked_add(rest)
}

/// `64 MiB`
#[cfg(any(feature = "config", test))]
pub(crate) fn size(bytes: u64) -> String {
    let divides = |(_, unit): &&(&str, u64)| bytes > 0 && bytes.is_multiple_of(*unit);
    let (name, unit) = SIZES.iter().find(divides).copied().unwrap_or(("B", 1));
    format!("{} {name}", bytes / unit)
}

/// `1d 12h`: to the nanosecond, in units that are always as long.
pub(crate) fn time(duration: Duration) -> String {
    let (seconds, nanos) = (duration.as_secs(), duration.subsec_nanos());
    let parts = [
        (seconds / 86_400, "d"),
        (seconds / 3_600 % 24, "h"),
        (seconds / 60 % 60, "m"),
        (seconds % 60, "s"),
        (u64::from(nanos / 1_000_000), "ms"),
        (u64::from(nanos / 1_000 % 1_000), "us"),
        (u64::from(nanos % 1_000), "ns"),
    ];
    let told: Vec<String> =
        parts.iter().filter(|(count, _)| *count > 0).map(|(count, unit)| format!("{count}{unit}")).collect();
    if told.is_empty() { String::from("0s") } else { told.join(" ") }
}

/// Serde for a time, as [`time`] writes it.
pub(crate) fn write_time<S: serde::Serializer>(
    duration: &Duration,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&time(*duration))
}

/// The same where there may be none.
pub(crate) fn write_time_if<S: serde::Serializer>(
    duration: &Option<Duration>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match duration {
        Some(duration) => write_time(duration, serializer),
        None => serializer.serialize_none(),
    }
}

/// Serde for a share, in percent.
pub(crate) fn write_share<S: serde::Serializer>(share: &Share, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(share)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(text: &str) -> Node {
        Node::Text(text.into())
    }

    #[test]
    fn what_people_write_is_read() {
        for (written, share) in [
            ("5 %", 0.05),
            ("5%", 0.05),
            ("12.5 %", 0.125),
            ("100 %", 1.0),
            ("0 %", 0.0),
            (" 0.01 % ", 0.0001),
        ] {
            assert_eq!(Value::root(&text(written)).fraction().unwrap(), share, "{written}");
        }
        for (written, bytes) in
            [("64 MiB", 64 << 20), ("2GiB", 2 << 30), ("1.5 kB", 1_500), ("0 B", 0), ("1.50 KiB", 1_536)]
        {
            assert_eq!(Value::root(&text(written)).size().unwrap(), bytes, "{written}");
        }
        for (written, seconds) in [("1d", 86_400), ("10m", 600), ("1h 30m", 5_400), ("0s", 0)] {
            assert_eq!(
                Value::root(&text(written)).time().unwrap(),
                Duration::from_secs(seconds),
                "{written}"
            );
        }
        assert_eq!(
            [percent(0.05), percent(0.125), percent(1.0), percent(0.0)],
            ["5 %", "12.5 %", "100 %", "0 %"]
        );
        assert_eq!([size(64 << 20), size(1_500), size(0), size(3_000)], ["64 MiB", "1500 B", "0 B", "3 kB"]);
        assert_eq!(time(Duration::from_millis(129_600_250)), "1d 12h 250ms");
    }

    #[test]
    fn what_is_wrong_is_told_with_what_would_be_right() {
        let whole = Node::Whole;
        type Read = fn(&Value<'_>) -> Result<(), Misread>;
        let (share, size): (Read, Read) = (|value| value.share().map(drop), |value| value.size().map(drop));
        let span: Read = |value| value.time().map(drop);
        for (node, read, why) in [
            (whole(5), share, "5 is no share: write \"5 %\" or 0.05"),
            (whole(1), share, "1 is no share: write \"1 %\" or \"100 %\""),
            (whole(101), share, "101 is no share: write \"5 %\" or 0.05, from \"0 %\" to \"100 %\""),
            (text("101 %"), share, "\"101 %\" is no share"),
            (text("0.05"), share, "\"0.05\" is no share"),
            (text("-5 %"), share, "\"-5 %\" is no share"),
            (Node::Number(f64::NAN), share, "NaN is no share"),
            (Node::Bool(true), share, "true is no share"),
            (text("64"), size, "\"64\" is no size: write a number and a unit"),
            (text("64 MIB"), size, "is no size"),
            (text("0.3 B"), size, "is no size"),
            (whole(-1), size, "-1 is no size"),
            (whole(60), span, "60 is no time: write its unit too, such as \"60s\""),
            (text("a while"), span, "\"a while\" is no time"),
            (Node::Table(vec![("secs".into(), whole(1))]), span, "a table is no time"),
        ] {
            let error = read(&Value::root(&node)).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
        assert!(Value::root(&text(&"x".repeat(10_000))).share().unwrap_err().to_string().len() < 200);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_to_the_same_bits(
            share in prop_oneof![0.0..=1.0_f64, (0u32..=10_000).prop_map(|n| f64::from(n) / 10_000.0), Just(5e-324)],
            bytes in any::<u64>(), unit in 0u32..44, duration in any::<Duration>(),
        ) {
            prop_assert_eq!(Value::root(&text(&percent(share))).fraction().unwrap().to_bits(), share.to_bits());
            let bytes = bytes >> unit << (unit / 2);
            prop_assert_eq!(Value::root(&text(&size(bytes))).size().unwrap(), bytes);
            prop_assert_eq!(Value::root(&text(&time(duration))).time().unwrap(), duration);
        }

        #[test]
        fn no_text_makes_a_reader_panic(written in any::<String>(), number in "[0-9.]{0,40} ?(TiB|kB|%|d|ns)?") {
            for written in [text(&written), text(&number)] {
                let value = Value::root(&written);
                let _ = (value.share().is_ok(), value.size().is_ok(), value.time().is_ok());
            }
        }
    }
}
