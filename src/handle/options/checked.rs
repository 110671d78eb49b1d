//! Options that are read are checked as those that are said.

/// Serde for a group whose derived code is `remote = "Self"`: what is read is checked as `build` checks it.
macro_rules! checked_when_read {
    ($group:ident) => {
        impl serde::Serialize for $group {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                Self::serialize(self, serializer)
            }
        }

        impl<'de> serde::Deserialize<'de> for $group {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let group = Self::deserialize(deserializer)?;
                group.check().map_err(serde::de::Error::custom)?;
                Ok(group)
            }
        }
    };
}
pub(crate) use checked_when_read;
