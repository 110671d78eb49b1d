//! Numbers that are written down as text: eight bytes each, little-endian, as base64.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Numbers as they were when they were asked for. They become text where they are written, which is not where they are
/// copied: that is done under locks.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct Packed(pub(crate) Arc<[u64]>);

impl Packed {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<u64> for Packed {
    fn from_iter<T: IntoIterator<Item = u64>>(numbers: T) -> Self {
        Self(numbers.into_iter().collect())
    }
}

impl Serialize for Packed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let bytes: Vec<u8> = self.0.iter().flat_map(|number| number.to_le_bytes()).collect();
        serializer.serialize_str(&STANDARD_NO_PAD.encode(bytes))
    }
}

/// Reads no numbers from a text that is no such: its reader knows how many there must be.
impl<'de> Deserialize<'de> for Packed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = STANDARD_NO_PAD.decode(text).unwrap_or_default();
        let (chunks, rest) = bytes.as_chunks::<8>();
        Ok(if rest.is_empty() {
            chunks.iter().map(|chunk| u64::from_le_bytes(*chunk)).collect()
        } else {
            Self::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_and_what_is_no_text_of_ours_holds_none() {
        let numbers: Packed = [0, 1, u64::MAX].into_iter().collect();
        let text = serde_json::to_string(&numbers).unwrap();
        assert_eq!(text, "\"AAAAAAAAAAABAAAAAAAAAP//////////\"");
        assert_eq!(serde_json::from_str::<Packed>(&text).unwrap(), numbers);
        for other in ["\"\"", "\"AAAA\"", "\"not base64!\""] {
            assert_eq!(serde_json::from_str::<Packed>(other).unwrap(), Packed::default());
        }
    }
}
