//! Structs that are read from objects alone.
//!
//! Serde takes a list for a struct too, by the order of its fields, which is written down nowhere: a release that adds a field
//! in the middle would read the same list as something else. So what people and clients send goes through [`Objects`], which
//! refuses such a list at any depth. Attributes of serde that buffer (`flatten`, `untagged`, `tag`) see nothing of it: what they
//! buffer is read by serde's own reader.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, EnumAccess, Error, MapAccess, SeqAccess, Visitor};

/// A deserializer that takes no list for a struct.
pub(crate) struct Objects<D>(pub(crate) D);

/// Reads JSON so.
#[cfg(any(feature = "oip", feature = "repository"))]
pub(crate) fn from_json<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> serde_json::Result<T> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let read = serde::Deserialize::deserialize(Objects(&mut json))?;
    json.end()?;
    Ok(read)
}

macro_rules! forwarded {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
            self.0.$method(Within(visitor))
        }
    )*};
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Objects<D> {
    type Error = D::Error;

    /// Whoever takes anything says itself what it makes of a list.
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_any(visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_ignored_any(visitor)
    }

    forwarded! {
        deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128 deserialize_f32 deserialize_f64
        deserialize_char deserialize_str deserialize_string deserialize_bytes deserialize_byte_buf deserialize_option
        deserialize_unit deserialize_seq deserialize_map deserialize_identifier
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_unit_struct(name, Within(visitor))
    }

    /// By its name formats tell what they keep as it was written, such as numbers and raw JSON.
    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_newtype_struct(name, Within(visitor))
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_tuple(length, Within(visitor))
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_tuple_struct(name, length, Within(visitor))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        // A format that is for no reader writes a struct as a list.
        if !self.0.is_human_readable() {
            return self.0.deserialize_struct(name, fields, Within(visitor));
        }
        self.0.deserialize_struct(name, fields, Object { fields, visitor })
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_enum(name, variants, Within(visitor))
    }

    fn is_human_readable(&self) -> bool {
        self.0.is_human_readable()
    }
}

/// Whoever wanted a struct.
struct Object<V> {
    fields: &'static [&'static str],
    visitor: V,
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Object<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.visitor.expecting(f)
    }

    fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<V::Value, A::Error> {
        self.visitor.visit_map(Below(fields))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<V::Value, A::Error> {
        let mut fields = self.fields.iter().map(|field| format!("`{field}`")).collect::<Vec<_>>();
        fields.truncate(8);
        let fields = fields.join(", ");
        Err(A::Error::custom(format_args!(
            "a list stands where an object belongs: write {{..}} with names, such as {fields}"
        )))
    }
}

/// Whoever wanted anything else, and reads what is in it by the same rule.
struct Within<V>(V);

macro_rules! visited {
    ($($method:ident: $type:ty,)*) => {$(
        fn $method<E: Error>(self, value: $type) -> Result<V::Value, E> {
            self.0.$method(value)
        }
    )*};
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Within<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(f)
    }

    visited! {
        visit_bool: bool, visit_i8: i8, visit_i16: i16, visit_i32: i32, visit_i64: i64, visit_i128: i128, visit_u8: u8,
        visit_u16: u16, visit_u32: u32, visit_u64: u64, visit_u128: u128, visit_f32: f32, visit_f64: f64, visit_char: char,
        visit_str: &str, visit_borrowed_str: &'de str, visit_string: String, visit_bytes: &[u8],
        visit_borrowed_bytes: &'de [u8], visit_byte_buf: Vec<u8>,
    }

    fn visit_none<E: Error>(self) -> Result<V::Value, E> {
        self.0.visit_none()
    }

    fn visit_unit<E: Error>(self) -> Result<V::Value, E> {
        self.0.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        self.0.visit_some(Objects(deserializer))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        self.0.visit_newtype_struct(Objects(deserializer))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<V::Value, A::Error> {
        self.0.visit_seq(Below(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<V::Value, A::Error> {
        self.0.visit_map(Below(fields))
    }

    /// Leaves what an enum holds to the format itself: none that is read so holds a struct.
    fn visit_enum<A: EnumAccess<'de>>(self, variant: A) -> Result<V::Value, A::Error> {
        self.0.visit_enum(variant)
    }
}

/// A reader of what comes one after another.
struct Below<A>(A);

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Below<A> {
    type Error = A::Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        self.0.next_element_seed(Seed(seed))
    }

    fn size_hint(&self) -> Option<usize> {
        self.0.size_hint()
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Below<A> {
    type Error = A::Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        self.0.next_key_seed(seed)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        self.0.next_value_seed(Seed(seed))
    }

    fn size_hint(&self) -> Option<usize> {
        self.0.size_hint()
    }
}

struct Seed<S>(S);

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Seed<S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<S::Value, D::Error> {
        self.0.deserialize(Objects(deserializer))
    }
}

#[cfg(all(test, any(feature = "oip", feature = "repository")))]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    struct Outer {
        name: String,
        #[serde(default)]
        inner: Vec<Inner>,
        #[serde(default)]
        pair: Option<(u8, Inner)>,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct Inner {
        count: Option<u8>,
    }

    fn read(text: &str) -> Result<Outer, String> {
        from_json(text.as_bytes()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_list_is_no_struct_at_any_depth_and_stays_a_list_elsewhere() {
        let read_it =
            read(r#"{"name": "x", "inner": [{"count": 1}, {}], "pair": [1, {"count": 2}]}"#).unwrap();
        assert_eq!(read_it.inner, [Inner { count: Some(1) }, Inner { count: None }]);
        assert_eq!(read_it.pair, Some((1, Inner { count: Some(2) })));
        for list in [r#"["x"]"#, r#"{"name": "x", "inner": [[1]]}"#, r#"{"name": "x", "pair": [1, [2]]}"#] {
            // What serde makes of it by itself.
            assert!(serde_json::from_str::<Outer>(list).is_ok(), "{list}");
            let error = read(list).unwrap_err();
            assert!(error.contains("a list stands where an object belongs"), "{list}: {error}");
        }
        assert!(read(r#"[["x"]]"#).unwrap_err().contains("`name`, `inner`, `pair`"));
        assert!(read(r#"{"name": "x"} more"#).unwrap_err().contains("trailing"));
    }

    #[test]
    fn what_is_kept_as_it_was_written_is_kept() {
        let number: serde_json::Number = from_json(b"12345678901234567890").unwrap();
        assert_eq!(number.to_string(), "12345678901234567890");
        let value: serde_json::Value = from_json(br#"{"a": [1, {"b": null}]}"#).unwrap();
        assert_eq!(value, serde_json::json!({ "a": [1, { "b": null }] }));
    }
}
