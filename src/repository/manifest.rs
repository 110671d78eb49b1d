//! The manifest of a version: written by whoever trained it, in any language.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use super::contract::GoldenSample;
use super::contract::contract::Contract;
use super::name;
use crate::base::clock::Timestamp;
use crate::base::objects::{Objects, from_json};
use crate::base::text::digest;

/// The schema that this release writes, and the latest that it reads.
pub const SCHEMA: u32 = 1;

/// A manifest is no larger: large samples belong in files of their own.
pub(crate) const MANIFEST_MAX: u64 = 4 << 20;

/// The facts that are known of a version. A file `manifest.json` beside the model; its JSON Schema is
/// `schema/manifest.schema.json`.
///
/// Only `schema`, `name`, `version`, `created` and `files` must be there. A field that is unknown is an error: a misspelt
/// one would be a promise that nobody keeps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Manifest {
    /// The version of the schema: [`SCHEMA`].
    pub schema: u32,
    /// The model.
    pub name: String,
    /// The version.
    pub version: String,
    /// Tags that it was published with. Where they point now is the repository's to say.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub tags: BTreeSet<String>,
    /// When it was made.
    pub created: Moment,
    /// The lineage that it was made of.
    #[serde(default, skip_serializing_if = "Lineage::is_empty")]
    pub lineage: Lineage,
    /// Figures at training time, by name: what [`as_promised`](crate::guard::as_promised) can hold it to.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metrics: BTreeMap<String, f64>,
    /// The contract: what it needs of its host, and what it gives.
    #[serde(default)]
    pub contract: Contract,
    /// Answers that are pinned.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub samples: Vec<GoldenSample>,
    /// The features as they were distributed in training, for drift to be measured against.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<Value>,
    /// The file to load; `model.onnx` by default.
    #[serde(default = "model_file", skip_serializing_if = "is_model_file")]
    pub model: String,
    /// Every file of the version, itself apart.
    pub files: Vec<ListedFile>,
    /// Anything else that people should know.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub notes: BTreeMap<String, String>,
}

/// A file of a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ListedFile {
    /// Its path below the version's folder, with `/` between components.
    pub path: String,
    /// Its size in bytes.
    pub size: u64,
    /// SHA-256 of its bytes, as 64 hexadecimal digits.
    pub sha256: String,
}

/// The lineage of a version: what it was made of.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Lineage {
    /// The data that it was trained on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub data: Vec<DataSet>,
    /// The revision of the code that trained it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The framework that trained it, with its version: `scikit-learn 1.7.2`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub framework: Option<String>,
    /// The version that it began as.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
}

/// A set of data.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct DataSet {
    /// The name that people call it by.
    pub name: String,
    /// Where it is: a path or an address. Nothing is fetched from it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
    /// SHA-256 of its bytes, as 64 hexadecimal digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// How many rows it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// The time that its first row is of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Moment>,
    /// The time that its last row is of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<Moment>,
    /// The repository holds it, by its digest.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub attached: bool,
}

/// A moment, written as RFC 3339 in UTC: `2026-11-24T10:00:00Z`. Read in any form of RFC 3339: with an offset as in
/// `2026-11-24T11:00:00+01:00`, and with a small `t` or `z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Moment(pub Timestamp);

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let since = Duration::from_nanos(self.0.unix_nanos());
        humantime::format_rfc3339(std::time::UNIX_EPOCH + since).fmt(f)
    }
}

impl std::str::FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refused = || format!("`{}` is no moment like 2026-11-24T10:00:00Z", text.escape_debug());
        let (local, offset) = with_offset(text).ok_or_else(refused)?;
        let time = humantime::parse_rfc3339(&local).map_err(|_| refused())?;
        let since = time.duration_since(std::time::UNIX_EPOCH).map_err(|_| refused())?;
        // What local time is ahead of UTC by is taken away.
        let nanos = i128::try_from(since.as_nanos()).map_err(|_| refused())? - offset;
        Ok(Self(Timestamp::from_unix_nanos(u64::try_from(nanos).map_err(|_| refused())?)))
    }
}

/// The time as if it were in UTC, and by how many nanoseconds it is ahead of that.
fn with_offset(text: &str) -> Option<(String, i128)> {
    // No time has other characters, and none of them more than a byte.
    let upper = if text.is_ascii() { text.to_ascii_uppercase() } else { return None };
    if upper.ends_with('Z') {
        return Some((upper, 0));
    }
    let (time, offset) = upper.split_at_checked(upper.len().checked_sub("+01:00".len())?)?;
    let (sign, offset) = match offset.split_at_checked(1)? {
        ("+", offset) => (1, offset),
        ("-", offset) => (-1, offset),
        _ => return None,
    };
    let (hours, minutes) = offset.split_once(':')?;
    let digits = |text: &str, below: i128| {
        let two = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<i128>().ok().filter(|number| two && *number < below)
    };
    if !time.ends_with(|last: char| last.is_ascii_digit()) {
        return None;
    }
    let minutes = digits(hours, 24)? * 60 + digits(minutes, 60)?;
    Some((format!("{time}Z"), sign * minutes * 60_000_000_000))
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Reads JSON. Where it has a whole number with a point, as languages with one kind of number write it and the schema allows,
/// it is read without.
fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, serde_json::Error> {
    from_json(bytes).or_else(|error| {
        if !error.to_string().contains("invalid type: floating point") {
            return Err(error);
        }
        // What is wrong beside it is told with its line.
        let whole = serde_json::from_slice(bytes).map(whole).and_then(|value| T::deserialize(Objects(value)));
        whole.map_err(|_| error)
    })
}

/// The same with whole numbers for those that have nothing behind their point, apart from what is the host's own.
fn whole(value: Value) -> Value {
    /// The limit of what others hold exactly.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    match value {
        Value::Number(number) => match number.as_f64() {
            Some(float) if float.fract() == 0.0 && (0.0..=EXACT).contains(&float) && number.is_f64() => {
                Value::from(float as u64)
            }
            _ => Value::Number(number),
        },
        Value::Array(items) => Value::Array(items.into_iter().map(whole).collect()),
        Value::Object(fields) => {
            let field = |(name, value): (String, Value)| match name.as_str() {
                "request" | "values" => (name, value),
                _ => (name, whole(value)),
            };
            Value::Object(fields.into_iter().map(field).collect())
        }
        value => value,
    }
}

/// Why bytes are no text in UTF-8 without a mark, as JSON is.
fn not_utf8(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [0xef, 0xbb, 0xbf, ..] => Some("it begins with a byte-order mark: write it as UTF-8 without one"),
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => Some("it is UTF-16: write it as UTF-8"),
        _ => None,
    }
}

/// A sentence about what is no number in JSON, where that is what cannot be read.
fn no_number(bytes: &[u8], error: &serde_json::Error) -> Option<String> {
    let line = bytes.split(|byte| *byte == b'\n').nth(error.line().checked_sub(1)?)?;
    // Errors are told at the letter that cannot be read, or the one before or after it.
    let around = line.get(error.column().saturating_sub(3)..)?;
    let around = around.get(..around.len().min(14))?;
    let found = ["NaN", "Infinity"]
        .into_iter()
        .find(|word| around.windows(word.len()).any(|part| part == word.as_bytes()))?;
    let (line, column) = (error.line(), error.column());
    Some(format!(
        "it has {found} at line {line} column {column}, which is no number in JSON: leave the field out, or write a finite number"
    ))
}

fn model_file() -> String {
    "model.onnx".into()
}

fn is_model_file(file: &str) -> bool {
    file == "model.onnx"
}

impl Lineage {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Manifest {
    /// A manifest of a version of which nothing else is known yet.
    pub fn new(name: impl Into<String>, version: impl Into<String>, created: Timestamp) -> Self {
        Self {
            schema: SCHEMA,
            name: name.into(),
            version: version.into(),
            tags: BTreeSet::new(),
            created: Moment(created),
            lineage: Lineage::default(),
            metrics: BTreeMap::new(),
            contract: Contract::default(),
            samples: Vec::new(),
            profile: None,
            model: model_file(),
            files: Vec::new(),
            notes: BTreeMap::new(),
        }
    }

    /// Reads a manifest.
    ///
    /// # Errors
    ///
    /// Returns what is wrong with it, and where.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        // First, so that a later schema is told from a mistake.
        #[derive(Deserialize)]
        struct Schema {
            schema: u32,
        }
        if let Some(cause) = not_utf8(bytes) {
            return Err(cause.into());
        }
        let said = |error: serde_json::Error| no_number(bytes, &error).unwrap_or_else(|| error.to_string());
        let Schema { schema } = read(bytes).map_err(said)?;
        if schema == 0 || schema > SCHEMA {
            return Err(format!(
                "it has schema {schema}, and this release reads {SCHEMA}: a later release wrote it"
            ));
        }
        let manifest: Self = read(bytes).map_err(said)?;
        manifest.check()?;
        Ok(manifest)
    }

    /// Whether it contradicts itself.
    pub(crate) fn check(&self) -> Result<(), String> {
        let named = |result: Result<(), super::RepositoryError>| result.map_err(|error| error.to_string());
        named(name::component("model", &self.name))?;
        named(name::component("version", &self.version))?;
        self.tags.iter().try_for_each(|tag| named(name::component("tag", tag)))?;
        let mut paths = BTreeSet::new();
        for file in &self.files {
            named(name::file(&file.path).map(drop))?;
            if is_own(&file.path) {
                return Err(format!("`{}` cannot list itself or its signature", file.path));
            }
            // What differs in case only is one file on some systems.
            if !paths.insert(file.path.to_lowercase()) {
                return Err(format!("`{}` is listed twice", file.path));
            }
            digest(&file.sha256)
                .ok_or_else(|| format!("the digest of `{}` is not 64 hexadecimal digits", file.path))?;
        }
        if !self.files.iter().any(|file| file.path == self.model) {
            return Err(format!("the model `{}` is not among the files", self.model.escape_debug()));
        }
        for data in &self.lineage.data {
            let whole = data.sha256.as_deref().is_none_or(|text| digest(text).is_some());
            if !whole || (data.attached && data.sha256.is_none()) {
                return Err(format!("the data `{}` needs a digest of 64 hexadecimal digits", data.name));
            }
        }
        for sample in &self.samples {
            if !(sample.tolerance.is_finite() && sample.tolerance >= 0.0) {
                return Err(format!("the tolerance of the sample `{}` is no distance", sample.name));
            }
        }
        if let Some((name, _)) = self.metrics.iter().find(|(_, value)| !value.is_finite()) {
            return Err(format!("the metric `{name}` is not a number"));
        }
        Ok(())
    }

    /// As it is written: indented, since people read it.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec_pretty(self).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }

    /// The listed file of a path.
    pub fn file(&self, path: &str) -> Option<&ListedFile> {
        self.files.iter().find(|file| file.path == path)
    }
}

pub(crate) const FILE: &str = "manifest.json";

pub(crate) const SIGNATURE: &str = "manifest.json.minisig";

/// A signature is some 300 bytes.
pub(crate) const SIGNATURE_MAX: u64 = 4 << 10;

/// Whether a file is the manifest's own, and so is in no list.
pub(crate) fn is_own(path: &str) -> bool {
    path.eq_ignore_ascii_case(FILE) || path.eq_ignore_ascii_case(SIGNATURE)
}
