//! The line before a body: what it is, whose it is, and a code that only who has the fleet's secret can make.

use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::error::FormatError;
use super::hex::Hex;
use crate::base::text::{digest, hex};
use crate::fleet::key::Key;

/// The newest format that is known here, of every kind.
pub(crate) const FORMAT: u32 = 1;

/// The longest envelope, with the end of its line.
const ENVELOPE_MAX: usize = 256;

/// What a value is, and how long its body may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Head,
    Row,
    Ledger,
    Mailbox,
    Handover,
    HandoverPart,
}

impl Kind {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Head => "head",
            Self::Row => "row",
            Self::Ledger => "ledger",
            Self::Mailbox => "mailbox",
            Self::Handover => "handover",
            Self::HandoverPart => "handover part",
        }
    }

    /// The longest value, in bytes: looked at before anything is read.
    pub(crate) const fn limit(self) -> usize {
        match self {
            Self::Head => 256 << 10,
            Self::Row => 64 << 10,
            Self::Ledger => 4 << 20,
            Self::Mailbox => 256 << 10,
            Self::Handover => 4 << 10,
            Self::HandoverPart => 4 << 20,
        }
    }

    /// The longest body.
    pub(crate) const fn room(self) -> usize {
        self.limit() - ENVELOPE_MAX - 1
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope<'a> {
    #[serde(borrow)]
    switchback: &'a str,
    format: u32,
    fleet: Hex,
    #[serde(borrow)]
    mac: &'a str,
}

/// Seals what is written, and opens what is read. Without a secret the code tells what is damaged, not what is forged.
#[derive(Clone)]
pub(crate) struct Sealer {
    fleet: Hex,
    /// The first one seals; the others open too, while a secret is replaced.
    keys: Vec<[u8; 32]>,
    has_secret: bool,
}

impl Sealer {
    /// With the secrets of the fleet: what is written is sealed with the first.
    pub(crate) fn new(fleet: Hex, secrets: &[&[u8]]) -> Self {
        let derived = |secret: &[u8]| code(secret, &[b"fleet 1"]);
        let keys: Vec<[u8; 32]> = secrets.iter().map(|secret| derived(secret)).collect();
        let has_secret = !keys.is_empty();
        Self { fleet, keys: if has_secret { keys } else { vec![derived(b"")] }, has_secret }
    }

    /// The value of a body, for this key.
    pub(crate) fn seal(&self, kind: Kind, key: &Key, body: &str) -> Result<Vec<u8>, FormatError> {
        let own = self.keys.first().copied().unwrap_or_default();
        let mac = hex(&code(&own, &self.covered(kind, FORMAT, key, body.as_bytes()).each()));
        let envelope = Envelope { switchback: kind.name(), format: FORMAT, fleet: self.fleet, mac: &mac };
        let envelope = serde_json::to_string(&envelope)
            .map_err(|error| FormatError::Envelope { cause: error.to_string() })?;
        let value = format!("{envelope}\n{body}\n").into_bytes();
        within(kind, value.len())?;
        Ok(value)
    }

    /// The body of a value that was read from this key.
    pub(crate) fn open<'a>(&self, kind: Kind, key: &Key, value: &'a [u8]) -> Result<&'a str, FormatError> {
        within(kind, value.len())?;
        let not_one = |cause: &str| FormatError::Envelope { cause: cause.to_owned() };
        let end = value
            .iter()
            .take(ENVELOPE_MAX)
            .position(|byte| *byte == b'\n')
            .ok_or_else(|| not_one("it has no end"))?;
        let (first, rest) = value.split_at(end);
        let envelope: Envelope<'_> =
            serde_json::from_slice(first).map_err(|error| not_one(&error.to_string()))?;
        if envelope.format > FORMAT {
            return Err(FormatError::Newer { format: envelope.format, known: FORMAT });
        }
        if envelope.switchback != kind.name() {
            let found = envelope.switchback.chars().take(32).collect();
            return Err(FormatError::Kind { found, expected: kind.name() });
        }
        if envelope.fleet != self.fleet {
            let (found, expected) = (envelope.fleet.to_string(), self.fleet.to_string());
            return Err(FormatError::OtherFleet { found, expected });
        }
        let body = rest.strip_prefix(b"\n").and_then(|rest| rest.strip_suffix(b"\n"));
        let body = body
            .filter(|body| !body.contains(&b'\n'))
            .ok_or_else(|| not_one("it is not followed by one line"))?;
        let told = digest(envelope.mac).ok_or(FormatError::Forged)?;
        let covered = self.covered(kind, envelope.format, key, body);
        if !self.keys.iter().any(|own| is_code(own, &covered.each(), &told)) {
            return Err(if self.has_secret { FormatError::Forged } else { FormatError::Secretless });
        }
        std::str::from_utf8(body).map_err(|error| FormatError::Body { cause: error.to_string() })
    }

    /// All that a code stands for. The line before the body has no end in it, so none can pass for another.
    fn covered<'a>(&self, kind: Kind, format: u32, key: &Key, body: &'a [u8]) -> Covered<'a> {
        Covered { line: format!("{} {format} {} {key}\n", kind.name(), self.fleet), body }
    }
}

struct Covered<'a> {
    line: String,
    body: &'a [u8],
}

impl Covered<'_> {
    fn each(&self) -> [&[u8]; 2] {
        [self.line.as_bytes(), self.body]
    }
}

fn within(kind: Kind, bytes: usize) -> Result<(), FormatError> {
    let limit = kind.limit();
    if bytes <= limit { Ok(()) } else { Err(FormatError::TooLong { kind: kind.name(), bytes, limit }) }
}

fn keyed(key: &[u8], parts: &[&[u8]]) -> Option<Hmac<Sha256>> {
    // Never nothing: a key may have any length.
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(key).ok()?;
    parts.iter().for_each(|part| mac.update(part));
    Some(mac)
}

/// HMAC-SHA256 (RFC 2104).
pub(crate) fn code(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    keyed(key, parts).map_or([0; 32], |mac| mac.finalize().into_bytes().into())
}

/// Whether that is the code, in a time that tells nothing of it.
fn is_code(key: &[u8], parts: &[&[u8]], told: &[u8; 32]) -> bool {
    keyed(key, parts).is_some_and(|mac| mac.verify_slice(told).is_ok())
}

/// The beginning of the SHA-256 of a body, by which a head names those before it.
pub(crate) fn print(body: &str) -> Hex {
    let digest: [u8; 32] = Sha256::digest(body.as_bytes()).into();
    Hex(digest.first_chunk::<8>().map_or(0, |first| u64::from_be_bytes(*first)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4231, test cases 1, 2 and 6.
    #[test]
    fn the_code_is_hmac_sha_256() {
        let cases: [(&[u8], &[u8], &str); 3] = [
            (&[0x0b; 20], b"Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
            (
                b"Jefe",
                b"what do ya want for nothing?",
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            ),
            (
                &[0xaa; 131],
                b"Test Using Larger Than Block-Size Key - Hash Key First",
                "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
            ),
        ];
        for (key, text, expected) in cases {
            let (one, other) = text.split_at(3);
            assert_eq!(hex(&code(key, &[one, other])), expected);
        }
    }

    #[test]
    fn a_value_opens_only_where_it_was_put_by_whom_and_as_what() {
        let (head, other) = (Key::new("h/late/head").unwrap(), Key::new("h/early/head").unwrap());
        let sealer = Sealer::new(Hex(7), &[b"secret"]);
        let value = sealer.seal(Kind::Head, &head, "{\"a\":1}").unwrap();
        assert_eq!(sealer.open(Kind::Head, &head, &value), Ok("{\"a\":1}"));
        assert_eq!(sealer.open(Kind::Head, &other, &value), Err(FormatError::Forged));
        assert!(matches!(sealer.open(Kind::Row, &head, &value), Err(FormatError::Kind { .. })));
        let stranger = Sealer::new(Hex(7), &[b"other"]);
        assert_eq!(stranger.open(Kind::Head, &head, &value), Err(FormatError::Forged));
        assert_eq!(Sealer::new(Hex(7), &[]).open(Kind::Head, &head, &value), Err(FormatError::Secretless));
        let elsewhere = Sealer::new(Hex(8), &[b"secret"]);
        assert!(matches!(elsewhere.open(Kind::Head, &head, &value), Err(FormatError::OtherFleet { .. })));
        // Who writes another fleet's name into the envelope does not make it that fleet's.
        let renamed =
            String::from_utf8(value.clone()).unwrap().replace(&Hex(7).to_string(), &Hex(8).to_string());
        assert_eq!(elsewhere.open(Kind::Head, &head, renamed.as_bytes()), Err(FormatError::Forged));
        let newer = String::from_utf8(value.clone()).unwrap().replace("\"format\":1", "\"format\":2");
        assert_eq!(
            sealer.open(Kind::Head, &head, newer.as_bytes()),
            Err(FormatError::Newer { format: 2, known: 1 })
        );
        // While a secret is replaced both open.
        let both = Sealer::new(Hex(7), &[b"next", b"secret"]);
        assert!(both.open(Kind::Head, &head, &value).is_ok());
        let value = both.seal(Kind::Head, &head, "{}").unwrap();
        assert_eq!(sealer.open(Kind::Head, &head, &value), Err(FormatError::Forged));
    }
}
