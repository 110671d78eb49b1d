//! Names in a store.

use std::fmt;
use std::sync::Arc;

use crate::base::invalid::ArgumentError;

/// The longest key, in bytes. Object stores take 1,024, and a prefix of the host's comes before it.
const KEY_MAX: usize = 512;

/// The longest part between two slashes: file systems take 255, and a mark is added to it.
const PART_MAX: usize = 200;

/// The name of a value in a store: parts with slashes between them, as `h/late/head`.
///
/// A part has the letters `a` to `z`, digits, and `.`, `_`, `-` and `~`; it is not empty and does not begin with a dot. So a key
/// is the same in a bucket, in a table and on a disk that does not tell large letters from small ones, and leads nowhere.
/// [`escaped`](Self::escaped) makes a part of any text.
///
/// ```
/// use switchback::fleet::Key;
///
/// let handle = Key::new("h")?.escaped("Late arrivals")?;
/// assert_eq!(handle.join("head")?.as_str(), "h/~4cate~20arrivals/head");
/// assert!(Key::new("../etc").is_err());
/// # Ok::<(), switchback::ArgumentError>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Arc<str>);

impl Key {
    /// The key of this text.
    ///
    /// # Errors
    ///
    /// It is none: another letter, an empty part, one that begins with a dot, or more than 512 bytes, 200 in a part.
    pub fn new(text: &str) -> Result<Self, ArgumentError> {
        let is_part = |part: &str| {
            !part.is_empty() && part.len() <= PART_MAX && !part.starts_with('.') && part.bytes().all(is_plain)
        };
        ArgumentError::unless(
            text.len() <= KEY_MAX && text.split('/').all(is_part),
            "the key",
            text.escape_debug(),
            "parts of `a` to `z`, digits, `.`, `_`, `-` and `~` that do not begin with a dot, of at most 200 bytes each and 512 in all",
        )?;
        Ok(Self(text.into()))
    }

    /// The key that lies under this one.
    ///
    /// # Errors
    ///
    /// It would be none: see [`new`](Self::new).
    pub fn join(&self, below: &str) -> Result<Self, ArgumentError> {
        Self::new(&format!("{self}/{below}"))
    }

    /// The key of a part of any text under this one: what a key does not allow is written as `~` and two digits for each byte.
    ///
    /// # Errors
    ///
    /// The text is empty, or too long.
    pub fn escaped(&self, text: &str) -> Result<Self, ArgumentError> {
        let mut part = String::with_capacity(text.len());
        for (place, byte) in text.bytes().enumerate() {
            if is_plain(byte) && byte != b'~' && !(place == 0 && byte == b'.') {
                part.push(char::from(byte));
            } else {
                part.push_str(&format!("~{byte:02x}"));
            }
        }
        self.join(&part)
    }

    /// The text of it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What comes after `above` and a slash, where it lies under that.
    pub fn below(&self, above: &Key) -> Option<&str> {
        self.0.strip_prefix(above.as_str())?.strip_prefix('/')
    }
}

fn is_plain(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-' | b'~')
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{self}`")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_leads_nowhere_and_is_the_same_everywhere() {
        for good in ["a", "h/late/head", "log/0001.0000000002", "a-b_c~20"] {
            assert_eq!(Key::new(good).unwrap().as_str(), good);
        }
        let long = "a".repeat(201);
        for bad in [
            "", "/a", "a/", "a//b", "..", "a/../b", ".a", "a/.b", "A", "a b", "a\\b", "a\0", "ä", "a=", &long,
        ] {
            assert!(Key::new(bad).is_err(), "{bad}");
        }
        assert!(Key::new(&["abcdefgh"; 58].join("/")).is_err());
    }

    #[test]
    fn two_texts_never_have_one_part() {
        let root = Key::new("h").unwrap();
        let texts = ["a", "A", "~41", ".", "..", "a/b", "a~2fb", "ä", " "];
        let mut keys: Vec<Key> = texts.iter().map(|text| root.escaped(text).unwrap()).collect();
        assert!(keys.iter().all(|key| key.as_str().matches('/').count() == 1), "{keys:?}");
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), texts.len());
        assert!(root.escaped("").is_err());
        assert_eq!(root.join("a/b").unwrap().below(&root), Some("a/b"));
        assert_eq!(root.below(&root), None);
        assert_eq!(Key::new("hh/a").unwrap().below(&root), None);
    }
}
