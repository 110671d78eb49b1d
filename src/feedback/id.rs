//! The id of a prediction: self-contained, so that its truth can be joined without a row per prediction.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use siphasher::sip::SipHasher24;
use thiserror::Error;

use crate::base::causes::debug_as_told;
use crate::base::chance::mix;
use crate::base::clock::Timestamp;
use crate::base::share::Share;
use crate::task::kept::{Kept, Ranked};

/// Names one prediction, and travels with whatever it was made for until the truth is known.
///
/// A plain `Copy` value that holds all that a later outcome needs: which process and which arm made the prediction, at
/// which phase and share, when, and what was predicted. It prints as 50 to 110 characters of URL-safe base64 with a
/// 64-bit message authentication code (SipHash-2-4), and parses back, with what CSV and mail put around it too; an id that was
/// altered, or made by a handle with another key, is told apart when its outcome is fed back, and so is one of another process
/// with the same key. It holds neither the request nor a user's key; who can read
/// a printed id can decode what was predicted.
///
/// ```
/// use switchback::{ModelHandle, PredictionId, closure};
///
/// let handle = ModelHandle::builder("double").live("v1", closure("double@1", |x: &f64| Ok(x * 2.0))).build()?;
/// let printed = handle.predict(&1.5)?.id().to_string();
/// let parsed: PredictionId = printed.parse()?;
/// assert_eq!(parsed.to_string(), printed);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy)]
pub struct PredictionId {
    pub(crate) body: Body,
    pub(crate) seal: Seal,
}

/// The content of an id.
#[derive(Clone, Copy, PartialEq)]
#[cfg_attr(test, derive(Debug))]
pub(crate) struct Body {
    /// One life of one handle.
    pub(crate) process: u64,
    /// Where the request was counted.
    pub(crate) exposure: u32,
    /// Unique within the exposure.
    pub(crate) sequence: u64,
    /// The row of the first prediction of the same unit that has one; its own for a unit of one.
    pub(crate) unit: u64,
    /// Which of the predictions whose outcomes count this is; they are numbered without gaps.
    pub(crate) row: Option<u64>,
    pub(crate) at: Timestamp,
    pub(crate) share: Share,
    pub(crate) flags: Flags,
    pub(crate) kept: Kept,
    /// The hash of its segment, where requests have any.
    pub(crate) segment: Option<u32>,
}

impl Body {
    /// Whether a comparison of arms counts it: what was split at random by request, or the one that was drawn of a key, a
    /// batch or a stream.
    pub(crate) fn is_unit(&self) -> bool {
        let one_of_several = self.flags.has(Flags::KEYED) || self.flags.has(Flags::JOINT);
        !one_of_several || self.flags.has(Flags::COUNTS)
    }

    /// 64 bits that look random and are the same whenever they are asked for.
    pub(crate) fn chance(&self) -> u64 {
        mix(self.sequence ^ mix(self.process ^ u64::from(self.exposure)))
    }
}

/// How the prediction was made.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(test, derive(Debug))]
pub(crate) struct Flags(u8);

impl Flags {
    /// A copy is judged too: a pair waits for the outcome.
    pub(crate) const SHADOWED: Flags = Flags(1);
    /// Routed by a key.
    pub(crate) const KEYED: Flags = Flags(1 << 1);
    /// One of several predictions of a unit: a pinned stream, a batch that stays together.
    pub(crate) const JOINT: Flags = Flags(1 << 3);
    /// The arm that was assigned failed; another answered.
    pub(crate) const FELL_BACK: Flags = Flags(1 << 2);
    /// The one of its key, its batch or its stream that was drawn: a unit of the comparison.
    pub(crate) const COUNTS: Flags = Flags(1 << 4);
    /// Its truth would have been hidden, and it was let through by chance so that it is not.
    pub(crate) const EXPLORED: Flags = Flags(1 << 5);
    /// The host said of the answer that it hides its truth: asked once, when the prediction was made. Whoever needs to know
    /// it later holds locks, under which the host is not asked.
    pub(crate) const HIDDEN: Flags = Flags(1 << 6);

    #[must_use]
    pub(crate) const fn with(self, other: Flags, on: bool) -> Flags {
        if on { Flags(self.0 | other.0) } else { self }
    }

    pub(crate) const fn has(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }
}

/// How an id shows where it comes from.
#[derive(Clone, Copy)]
pub(crate) enum Seal {
    /// Made in this process, by the handle with this key. The code is computed when the id is printed: most never are.
    Made(SealKey),
    /// Parsed: the code that was printed.
    Printed(u64),
}

/// The key of a handle's seals.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct SealKey(u64, u64);

impl SealKey {
    pub(crate) fn new(bytes: [u8; 16]) -> Self {
        let word = |part: &[u8]| part.iter().rev().fold(0, |word: u64, byte| word << 8 | u64::from(*byte));
        let (low, high) = bytes.split_at(8);
        Self(word(low), word(high))
    }

    fn code(self, body: &[u8]) -> u64 {
        SipHasher24::new_with_keys(self.0, self.1).hash(body)
    }

    /// Returns a print that tells this key from another, and nothing more of it.
    #[cfg(feature = "state")]
    pub(crate) fn print(self) -> u64 {
        self.code(b"")
    }

    /// Whether `id` was made with this key.
    pub(crate) fn made(self, id: &PredictionId) -> bool {
        match id.seal {
            Seal::Made(key) => key == self,
            Seal::Printed(code) => code == self.code(&id.body.encode()),
        }
    }
}

impl PredictionId {
    /// When the prediction was made.
    pub fn at(&self) -> Timestamp {
        self.body.at
    }
}

impl PartialEq for PredictionId {
    fn eq(&self, other: &Self) -> bool {
        let same = |a: &Body| (a.process, a.exposure, a.sequence);
        same(&self.body) == same(&other.body)
    }
}

impl Eq for PredictionId {}

impl Hash for PredictionId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.body.process, self.body.exposure, self.body.sequence).hash(state);
    }
}

impl fmt::Display for PredictionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = self.body.encode();
        let code = match self.seal {
            Seal::Made(key) => key.code(&bytes),
            Seal::Printed(code) => code,
        };
        bytes.extend(code.to_le_bytes());
        f.pad(&URL_SAFE_NO_PAD.encode(bytes))
    }
}

/// The printed form: what was predicted is in it, in no more readable a form.
impl fmt::Debug for PredictionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PredictionId({self})")
    }
}

impl FromStr for PredictionId {
    type Err = PredictionIdError;

    /// Blanks, line ends and marks around it, and `=` behind it, are left out: CSV, mail and other base64 put them there. What
    /// is between is held to its seal as ever.
    fn from_str(printed: &str) -> Result<Self, PredictionIdError> {
        let around = |c: char| c.is_whitespace() || c == '\u{feff}';
        let printed = printed.trim_matches(around).trim_end_matches('=');
        if printed.len() > PRINTED_MAX {
            return Err(PredictionIdError("it is longer than any id"));
        }
        let bytes = URL_SAFE_NO_PAD
            .decode(printed)
            .map_err(|_| PredictionIdError("it is not URL-safe base64 without padding"))?;
        let (encoded, code) =
            bytes.split_last_chunk::<8>().ok_or(PredictionIdError("it is shorter than any id"))?;
        let mut reader = Reader(encoded);
        let body = reader.body().ok_or(PredictionIdError("it is cut off or of another format"))?;
        if !reader.0.is_empty() {
            return Err(PredictionIdError("something follows its end"));
        }
        // The code is computed from what is read, so what is read must have one form only.
        if body.encode() != encoded {
            return Err(PredictionIdError("no id is written like this"));
        }
        Ok(Self { body, seal: Seal::Printed(u64::from_le_bytes(*code)) })
    }
}

impl Serialize for PredictionId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PredictionId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A string that is not the printed form of an id. Whether an id that parses is genuine shows when its outcome is fed
/// back.
#[derive(Clone, PartialEq, Eq, Error)]
#[error("the text is not a prediction id: {0}")]
pub struct PredictionIdError(&'static str);

debug_as_told!(PredictionIdError);

/// The first byte of every id. A change of the format changes it.
const FORMAT: u8 = 1;

/// No id prints longer.
const PRINTED_MAX: usize = 200;

impl Body {
    /// The same as text, without a code: it is of this handle's own journal, and no id.
    #[cfg(feature = "state")]
    pub(crate) fn to_text(self) -> String {
        URL_SAFE_NO_PAD.encode(self.encode())
    }

    /// Reads it back; nothing of what it cannot have written.
    #[cfg(feature = "state")]
    pub(crate) fn from_text(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let mut reader = Reader(&bytes);
        reader.body().filter(|_| reader.0.is_empty())
    }

    /// The bytes of the printed form, without its code.
    ///
    /// format `u8`, process `u64`, time in nanoseconds `u64`, exposure, sequence, row + 1 (0: none), rows from the unit's
    /// first and share as LEB128, flags `u8`, then what was predicted: a tag and its fields, and where requests have
    /// segments the hash of its own as `u32`. Little-endian.
    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(96);
        bytes.push(FORMAT);
        bytes.extend(self.process.to_le_bytes());
        bytes.extend(self.at.unix_nanos().to_le_bytes());
        for number in [
            u64::from(self.exposure),
            self.sequence,
            self.row.map_or(0, |row| row.saturating_add(1)),
            self.row.unwrap_or_default().wrapping_sub(self.unit),
            u64::from(self.share.buckets()),
        ] {
            push_varint(&mut bytes, number);
        }
        bytes.push(self.flags.0);
        match &self.kept {
            Kept::Nothing => bytes.push(0),
            Kept::Unreadable => bytes.push(1),
            Kept::Probability(probability) => {
                bytes.push(2);
                bytes.extend(probability.to_le_bytes());
            }
            Kept::Class { class, confidence } => {
                bytes.push(3);
                bytes.extend(class.to_le_bytes());
                bytes.extend(confidence.to_le_bytes());
            }
            Kept::Value(value) => {
                bytes.push(4);
                bytes.extend(value.to_le_bytes());
            }
            Kept::List(list) => {
                bytes.push(5);
                bytes.push(list.hashes().len() as u8);
                bytes.extend(list.hashes().iter().flat_map(|hash| hash.to_le_bytes()));
            }
        }
        bytes.extend(self.segment.map(u32::to_le_bytes).into_iter().flatten());
        bytes
    }
}

fn push_varint(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

/// Reads what [`Body::encode`] wrote; `None` at anything it cannot have written.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn body(&mut self) -> Option<Body> {
        let [FORMAT] = self.array()? else { return None };
        let process = u64::from_le_bytes(self.array()?);
        let at = Timestamp::from_unix_nanos(u64::from_le_bytes(self.array()?));
        let exposure = u32::try_from(self.varint()?).ok()?;
        let sequence = self.varint()?;
        let row = self.varint()?.checked_sub(1);
        let unit = row.unwrap_or_default().wrapping_sub(self.varint()?);
        let share = u16::try_from(self.varint()?).ok()?;
        let [flags] = self.array()?;
        let kept = self.kept()?;
        let share = Share::from_buckets(share);
        // The last thing, where it is there.
        let segment = if self.0.is_empty() { None } else { Some(u32::from_le_bytes(self.array()?)) };
        Some(Body { process, exposure, sequence, unit, row, at, share, flags: Flags(flags), kept, segment })
    }

    fn kept(&mut self) -> Option<Kept> {
        let [tag] = self.array()?;
        Some(match tag {
            0 => Kept::Nothing,
            1 => Kept::Unreadable,
            2 => Kept::Probability(self.float()?),
            3 => Kept::Class { class: u16::from_le_bytes(self.array()?), confidence: self.float()? },
            4 => Kept::Value(Some(f64::from_le_bytes(self.array()?)).filter(|value| value.is_finite())?),
            5 => {
                let [len] = self.array()?;
                let hashes: Option<Vec<u32>> =
                    (0..len).map(|_| Some(u32::from_le_bytes(self.array()?))).collect();
                Kept::List(Ranked::from_hashes(hashes?))
            }
            _ => return None,
        })
    }

    fn float(&mut self) -> Option<f32> {
        Some(f32::from_le_bytes(self.array()?)).filter(|value| (0.0..=1.0).contains(value))
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*array)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let [byte] = self.array()?;
            let part = u64::from(byte & 0x7f);
            if part << shift >> shift != part {
                return None;
            }
            number |= part << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn kept() -> impl Strategy<Value = Kept> {
        prop_oneof![
            Just(Kept::Nothing),
            Just(Kept::Unreadable),
            (0f32..=1.0).prop_map(Kept::Probability),
            (any::<u16>(), 0f32..=1.0).prop_map(|(class, confidence)| Kept::Class { class, confidence }),
            (-1e300f64..1e300).prop_map(Kept::Value),
            prop::collection::vec(any::<u32>(), 0..=10)
                .prop_map(|list| Kept::List(Ranked::from_hashes(list))),
        ]
    }

    prop_compose! {
        fn body()(
            process: u64, exposure: u32, sequence: u64, unit: u64, row in prop::option::of(0..u64::MAX - 1), at: u64,
            share in 0u16..=10_000, flags: u8, kept in kept(), segment: Option<u32>
        ) -> Body {
            let (at, share) = (Timestamp::from_unix_nanos(at), Share::from_buckets(share));
            Body { process, exposure, sequence, unit, row, at, share, flags: Flags(flags), kept, segment }
        }
    }

    proptest! {
        #[test]
        fn an_id_parses_back_to_itself(body in body(), key: [u8; 16]) {
            let key = SealKey::new(key);
            let id = PredictionId { body, seal: Seal::Made(key) };
            let printed = id.to_string();
            prop_assert!(printed.len() <= PRINTED_MAX);
            let parsed: PredictionId = printed.parse().unwrap();
            // A list's depth is not part of an id; its items are.
            prop_assert_eq!(parsed.body.encode(), id.body.encode());
            prop_assert_eq!(parsed.to_string(), printed);
            prop_assert!(key.made(&id) && key.made(&parsed));
            prop_assert!(!SealKey::new([7; 16]).made(&parsed) || key == SealKey::new([7; 16]));
        }

        #[test]
        fn an_altered_id_is_never_genuine(body in body(), byte in 0usize..200, bit in 0u32..8) {
            let key = SealKey::new([1; 16]);
            let mut bytes = URL_SAFE_NO_PAD.decode(PredictionId { body, seal: Seal::Made(key) }.to_string()).unwrap();
            let byte = byte % bytes.len();
            bytes[byte] ^= 1 << bit;
            if let Ok(id) = URL_SAFE_NO_PAD.encode(bytes).parse::<PredictionId>() {
                prop_assert!(!key.made(&id));
            }
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in "[A-Za-z0-9_-]{0,220}|.{0,80}") {
            let _ = text.parse::<PredictionId>();
        }
    }
}
