//! The `data` of a tensor in JSON, flat or nested.

use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// One element, whatever it is to become.
pub(crate) enum Scalar {
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Text(String),
    /// A value that no tensor has, by its name.
    Other(&'static str),
}

impl Scalar {
    /// Returns its kind, for whoever sent it.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Bool(_) => "true or false",
            Self::Unsigned(_) | Self::Signed(_) => "a whole number",
            Self::Float(_) => "a number with a fraction",
            Self::Text(_) => "a text",
            Self::Other(name) => name,
        }
    }
}

/// Elements in the order in which they stand, and how lists were nested around them.
#[derive(Default)]
pub(crate) struct Data {
    pub(crate) scalars: Vec<Scalar>,
    /// How long lists are at each depth, the outermost first.
    pub(crate) sizes: Vec<usize>,
    /// At which depth elements stand.
    depth: Option<usize>,
    /// Lists of one depth differ in length, or elements stand beside lists.
    pub(crate) is_ragged: bool,
}

impl<'de> Deserialize<'de> for Data {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut data = Self::default();
        At { data: &mut data, depth: 0 }.deserialize(deserializer)?;
        Ok(data)
    }
}

/// Reads what stands at some depth. How deep that can be, the parser of JSON bounds.
struct At<'a> {
    data: &'a mut Data,
    depth: usize,
}

impl At<'_> {
    fn push(self, scalar: Scalar) {
        if *self.data.depth.get_or_insert(self.depth) != self.depth {
            self.data.is_ragged = true;
        }
        self.data.scalars.push(scalar);
    }
}

impl<'de> DeserializeSeed<'de> for At<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for At<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of elements")
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.push(Scalar::Bool(value));
        Ok(())
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        self.push(Scalar::Unsigned(value));
        Ok(())
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        self.push(Scalar::Signed(value));
        Ok(())
    }

    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        self.push(Scalar::Float(value));
        Ok(())
    }

    fn visit_str<E>(self, value: &str) -> Result<(), E> {
        self.push(Scalar::Text(value.to_owned()));
        Ok(())
    }

    fn visit_string<E>(self, value: String) -> Result<(), E> {
        self.push(Scalar::Text(value));
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.push(Scalar::Other("null"));
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        self.push(Scalar::Other("an object"));
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let Self { data, depth } = self;
        let mut size = 0;
        while list.next_element_seed(At { data: &mut *data, depth: depth + 1 })?.is_some() {
            size += 1;
        }
        // Inner lists end first: what lies between is filled in when the outer ones do.
        while data.sizes.len() <= depth {
            data.sizes.push(usize::MAX);
        }
        if data.sizes[depth] == usize::MAX {
            data.sizes[depth] = size;
        } else if data.sizes[depth] != size {
            data.is_ragged = true;
        }
        Ok(())
    }
}
