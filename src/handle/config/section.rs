//! How a table of a configuration is declared: once, for what is read, what is written and the schema.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::base::node::{Misread, Value, percent, size, time};
use crate::rollout::guard::Stated;

/// A value that can stand in a configuration.
pub(super) trait Read: Sized {
    /// Reads a value, or says where it is wrong.
    fn read(value: &Value<'_>) -> Result<Self, Misread>;

    /// Returns what a JSON Schema says of it.
    #[cfg(test)]
    fn schema() -> serde_json::Value;
}

/// Tables whose fields are all told or not.
macro_rules! section {
    (
        $(#[doc = $about:literal])*
        $name:ident {
            $( $(#[doc = $doc:literal])* $field:ident: $type:ty, )*
        }
        $(needs $($needed:literal),*)?
    ) => {
        $(#[doc = $about])*
        #[derive(Debug, Clone, PartialEq, Default, serde::Serialize)]
        pub(crate) struct $name {
            $( #[serde(skip_serializing_if = "Option::is_none")] pub(super) $field: Option<$type>, )*
        }

        impl $name {
            /// Their names.
            pub(super) const FIELDS: &[&str] = &[$( stringify!($field), )*];
        }

        impl crate::handle::config::section::Read for $name {
            fn read(value: &crate::base::node::Value<'_>) -> Result<Self, crate::base::node::Misread> {
                use crate::handle::config::section::Read;
                let table = value.table(Self::FIELDS)?;
                $( $( table.need($needed)?; )* )?
                $(
                    let $field = table.read(stringify!($field), <$type as Read>::read)?;
                )*
                Ok(Self { $( $field, )* })
            }

            #[cfg(test)]
            fn schema() -> serde_json::Value {
                use crate::handle::config::section::{Read, described, table};
                let mut fields = serde_json::Map::new();
                $(
                    let field = described(<$type as Read>::schema(), concat!($( $doc, )*));
                    fields.insert(stringify!($field).into(), field);
                )*
                table(fields, &[$( $( $needed, )* )?])
            }
        }
    };
}
pub(super) use section;

/// Words of which one is said.
macro_rules! words {
    ($(#[doc = $about:literal])* $name:ident { $( $word:ident = $text:literal, )* }) => {
        $(#[doc = $about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
        pub(super) enum $name {
            $( #[serde(rename = $text)] $word, )*
        }

        impl crate::handle::config::section::Read for $name {
            fn read(value: &crate::base::node::Value<'_>) -> Result<Self, crate::base::node::Misread> {
                value.word(&[$( ($text, Self::$word), )*])
            }

            #[cfg(test)]
            fn schema() -> serde_json::Value {
                serde_json::json!({ "enum": [$( $text, )*] })
            }
        }
    };
}
pub(super) use words;

/// A time, as people write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span(pub(super) Duration);

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&time(self.0))
    }
}

/// A size in bytes, as people write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size(pub(super) u64);

impl Size {
    /// For what counts in the machine's words; more than these can hold is more than there is.
    pub(super) fn bytes(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&size(self.0))
    }
}

/// A part of a whole, as people write it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Part(pub(super) f64);

impl Serialize for Part {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&percent(self.0))
    }
}

impl Read for Span {
    fn read(value: &Value<'_>) -> Result<Self, Misread> {
        value.time().map(Self)
    }

    #[cfg(test)]
    fn schema() -> serde_json::Value {
        serde_json::json!({ "$ref": "#/$defs/time" })
    }
}

impl Read for Size {
    fn read(value: &Value<'_>) -> Result<Self, Misread> {
        value.size().map(Self)
    }

    #[cfg(test)]
    fn schema() -> serde_json::Value {
        serde_json::json!({ "$ref": "#/$defs/size" })
    }
}

impl Read for Part {
    fn read(value: &Value<'_>) -> Result<Self, Misread> {
        value.fraction().map(Self)
    }

    #[cfg(test)]
    fn schema() -> serde_json::Value {
        serde_json::json!({ "$ref": "#/$defs/share" })
    }
}

impl Read for bool {
    fn read(value: &Value<'_>) -> Result<Self, Misread> {
        value.bool()
    }

    #[cfg(test)]
    fn schema() -> serde_json::Value {
        serde_json::json!({ "type": "boolean" })
    }
}

impl Read for f64 {
    fn read(value: &Value<'_>) -> Result<Self, Misread> {
        value.number()
    }

    #[cfg(test)]
    fn schema() -> serde_json::Value {
        serde_json::json!({ "type": "number" })
    }
}

macro_rules! whole {
    ($($type:ty),*) => { $(
        impl Read for $type {
            fn read(value: &Value<'_>) -> Result<Self, Misread> {
                value.whole()
            }

            #[cfg(test)]
            fn schema() -> serde_json::Value {
                serde_json::json!({ "type": "integer", "minimum": 0 })
            }
        }
    )* };
}
whole!(u32, u64, usize);

impl Read for String {
    fn read(value: &Value<'_>) -> Result<Self, Misread> {
        value.text().map(str::to_owned)
    }

    #[cfg(test)]
    fn schema() -> serde_json::Value {
        serde_json::json!({ "type": "string" })
    }
}

impl Read for PathBuf {
    fn read(value: &Value<'_>) -> Result<Self, Misread> {
        match value.text()? {
            "" => Err(value.refused("it is empty: write the path of a folder or a file")),
            path => Ok(path.into()),
        }
    }

    #[cfg(test)]
    fn schema() -> serde_json::Value {
        serde_json::json!({ "type": "string", "minLength": 1 })
    }
}

impl Read for Stated {
    fn read(value: &Value<'_>) -> Result<Self, Misread> {
        value.text()?.parse().map_err(|error| value.refused(error))
    }

    #[cfg(test)]
    fn schema() -> serde_json::Value {
        serde_json::json!({ "type": "string", "minLength": 1 })
    }
}

impl<T: Read> Read for Vec<T> {
    fn read(value: &Value<'_>) -> Result<Self, Misread> {
        value.list()?.iter().map(T::read).collect()
    }

    #[cfg(test)]
    fn schema() -> serde_json::Value {
        serde_json::json!({ "type": "array", "items": T::schema() })
    }
}

#[cfg(test)]
pub(super) fn described(mut schema: serde_json::Value, doc: &str) -> serde_json::Value {
    if let (Some(schema), false) = (schema.as_object_mut(), doc.is_empty()) {
        schema.insert("description".into(), doc.trim().into());
    }
    schema
}

#[cfg(test)]
pub(super) fn table(
    fields: serde_json::Map<String, serde_json::Value>,
    needed: &[&str],
) -> serde_json::Value {
    serde_json::json!({
        "type": "object", "additionalProperties": false, "properties": fields, "required": needed,
    })
}
