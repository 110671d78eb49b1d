//! A scan of an ONNX file's own fields: versions, producer, metadata, types of inputs and outputs, labels, and every
//! reference to a file outside.
//!
//! ONNX Runtime reads the file too, and decides whether a model runs. The scan comes first because it must: some types
//! make ort panic, and the files outside decide what is hashed; neither may be learnt by trying. Numbers of fields are
//! those of `onnx.proto`; what is not needed is skipped, and nesting is bounded as protobuf bounds it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::signature::{Dimension, Kind};
use crate::model::onnx::tensor::element::{ElementType, name_of_refused};
use crate::model::onnx::tensor::tensors::Label;
use crate::model::opset::Opset;

/// The facts that a file states of itself.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Scan {
    pub(crate) ir_version: i64,
    pub(crate) producer: String,
    pub(crate) producer_version: String,
    pub(crate) opsets: Vec<Opset>,
    pub(crate) metadata: BTreeMap<String, String>,
    /// Labels of a classifier, in the order of its scores.
    pub(crate) labels: Vec<Label>,
    /// Locations of external data, wherever in the file they are named.
    pub(crate) external: BTreeSet<String>,
    /// Some node has a graph of its own: a loop, a branch.
    pub(crate) has_subgraph: bool,
    /// Inputs and outputs of types that cannot be carried: a sentence on each.
    pub(crate) refused: Vec<String>,
    /// Inputs, by name, that are tensors without a shape: of any.
    pub(crate) shapeless: BTreeSet<String>,
    /// The inputs that the file declares, initializers among them, and its outputs; no kind where ONNX Runtime is to
    /// infer it.
    pub(crate) inputs: Vec<(Arc<str>, Option<Kind>)>,
    pub(crate) outputs: Vec<(Arc<str>, Option<Kind>)>,
    /// The names of weights. An input of such a name is none.
    pub(crate) initializers: BTreeSet<String>,
    has_graph: bool,
}

/// The fault in the bytes.
pub(crate) type Malformed = String;

/// Scans a whole file. Linear in its size.
pub(crate) fn scan(file: &[u8]) -> Result<Scan, Malformed> {
    if file.is_empty() {
        return Err("it is empty".to_owned());
    }
    if file.get(4..8) == Some(b"ORTM") {
        return Err("it is in ONNX Runtime's own format: export it as ONNX".to_owned());
    }
    if let Some(other) = other_kind(file) {
        return Err(other.to_owned());
    }
    let mut scan = Scan::default();
    scan.message(Message::Model, file, 0)?;
    if scan.ir_version <= 0 || !scan.has_graph {
        return Err(
            "it has no graph, or does not say its format's version: another kind of file, or cut short"
                .to_owned(),
        );
    }
    Ok(scan)
}

/// Returns what lies under the name of a model, where it is a kind of file that people are often given instead.
pub(crate) fn other_kind(start: &[u8]) -> Option<&'static str> {
    if start.starts_with(b"PK\x03\x04") {
        Some("it is a zip archive: unpack it (a checkpoint of PyTorch is one too: export it as ONNX)")
    } else if start.starts_with(b"\x1f\x8b") {
        Some("it is compressed with gzip: unpack it")
    } else {
        other_text(start)
    }
}

/// The same of texts alone. Weights may begin with any bytes, and with these they do not.
pub(crate) fn other_text(start: &[u8]) -> Option<&'static str> {
    let text = start.trim_ascii_start();
    let begins = |with: &[u8]| text.get(..with.len()).is_some_and(|start| start.eq_ignore_ascii_case(with));
    if start.starts_with(b"version https://git-lfs.github.com/spec/") {
        Some("it is a Git LFS pointer, not the file that it stands for: run `git lfs pull`")
    } else if begins(b"<!doctype html") || begins(b"<html") {
        Some("it is an HTML page, as of a log-in or an error: download the file itself")
    } else if begins(b"<?xml") {
        Some("it is an XML document, as a store's error is: download the file itself")
    } else {
        None
    }
}

/// How many bytes of a file these look at.
pub(crate) const KIND_BYTES: usize = 512;

/// How many there may be of what takes more memory here than it does in a file: a packed label is one byte there and some
/// thirty here. A hundred times what any published model has.
const LABELS_MAX: usize = 1 << 20;

/// The same of operator sets, of which there is one for each domain.
const OPSETS_MAX: usize = 1 << 10;

/// The same of entries of metadata.
const METADATA_MAX: usize = 1 << 16;

/// The same of files with external data: one for each tensor at most.
const EXTERNAL_MAX: usize = 1 << 16;

/// The same of inputs, and of outputs.
const PORTS_MAX: usize = 1 << 16;

/// The same of weights.
const INITIALIZERS_MAX: usize = 1 << 20;

/// The same of the dimensions of one tensor.
const RANK_MAX: usize = 1 << 10;

/// How many inputs and outputs that cannot be carried are told of.
const REFUSED_MAX: usize = 32;

/// As deep as protobuf itself allows.
const DEPTH_MAX: usize = 100;

/// The messages that are looked into.
#[derive(Clone, Copy)]
enum Message {
    Model,
    MainGraph,
    Graph,
    Node,
    Attribute,
    Tensor,
    SparseTensor,
    Function,
    Training,
}

impl Scan {
    fn message(&mut self, message: Message, bytes: &[u8], depth: usize) -> Result<(), Malformed> {
        if depth > DEPTH_MAX {
            return Err(format!("it is nested more than {DEPTH_MAX} deep"));
        }
        match message {
            Message::Tensor => return self.tensor(bytes),
            Message::Model => self.model(bytes)?,
            Message::MainGraph => self.main_graph(bytes)?,
            Message::Attribute => self.attribute(bytes)?,
            _ => {}
        }
        for field in Fields(bytes) {
            if let (number, Field::Bytes(inner)) = field?
                && let Some(inside) = message.inside(number)
            {
                self.has_subgraph |= matches!((message, inside), (Message::Attribute, Message::Graph));
                self.message(inside, inner, depth + 1)?;
            }
        }
        Ok(())
    }

    fn model(&mut self, bytes: &[u8]) -> Result<(), Malformed> {
        for field in Fields(bytes) {
            match field? {
                (1, Field::Number(version)) => self.ir_version = version.cast_signed(),
                (2, Field::Bytes(name)) => self.producer = text(name)?,
                (3, Field::Bytes(version)) => self.producer_version = text(version)?,
                (7, Field::Bytes(_)) => self.has_graph = true,
                (8, Field::Bytes(opset)) => {
                    bounded(self.opsets.len(), OPSETS_MAX, "operator sets")?;
                    self.opsets.push(opset_of(opset)?);
                }
                (14, Field::Bytes(entry)) => {
                    bounded(self.metadata.len(), METADATA_MAX, "entries of metadata")?;
                    let (key, value) = entry_of(entry)?;
                    self.metadata.insert(key, value);
                }
                _ => {}
            }
        }
        self.opsets = one_each(std::mem::take(&mut self.opsets));
        Ok(())
    }

    fn main_graph(&mut self, bytes: &[u8]) -> Result<(), Malformed> {
        for field in Fields(bytes) {
            match field? {
                (11, Field::Bytes(port)) => {
                    bounded(self.inputs.len(), PORTS_MAX, "inputs")?;
                    let (name, kind) = declared(port)?;
                    self.refuse(refused("input", &name, kind.as_ref()));
                    if matches!(kind, Some(Kind::AnyShape { .. })) {
                        self.shapeless.insert(name.to_string());
                    }
                    self.inputs.push((name, kind));
                }
                (5, Field::Bytes(tensor)) => {
                    bounded(self.initializers.len(), INITIALIZERS_MAX, "initializers")?;
                    self.initializers.extend(bytes_of(tensor, 8)?.map(text).transpose()?);
                }
                (12, Field::Bytes(port)) => {
                    bounded(self.outputs.len(), PORTS_MAX, "outputs")?;
                    self.outputs.push(declared(port)?);
                }
                _ => {}
            }
        }
        // ONNX Runtime's binding ends in a panic over one, whoever else could be read.
        let is_sparse =
            |kind: &Option<Kind>| matches!(kind, Some(Kind::NotCarried { what }) if what == SPARSE);
        // One that gives nothing else.
        let gives_nothing = self.outputs.iter().all(|(_, kind)| kind.as_ref().is_some_and(Kind::is_refused));
        let causes: Vec<String> = self
            .outputs
            .iter()
            .filter(|(_, kind)| gives_nothing || !self.refused.is_empty() || is_sparse(kind))
            .filter_map(|(name, kind)| refused("output", name, kind.as_ref()))
            .collect();
        causes.into_iter().for_each(|cause| self.refuse(Some(cause)));
        Ok(())
    }

    fn refuse(&mut self, cause: Option<String>) {
        if self.refused.len() < REFUSED_MAX {
            self.refused.extend(cause);
        } else if self.refused.len() == REFUSED_MAX && cause.is_some() {
            self.refused.push("and there are more".to_owned());
        }
    }

    /// The labels of classifiers and of `ZipMap` are attributes whose names begin alike.
    fn attribute(&mut self, bytes: &[u8]) -> Result<(), Malformed> {
        let mut labels = Vec::new();
        let mut push = |label: Label| {
            bounded(labels.len(), LABELS_MAX, "labels")?;
            labels.push(label);
            Ok::<_, Malformed>(())
        };
        let mut is_labels = false;
        for field in Fields(bytes) {
            match field? {
                (1, Field::Bytes(name)) => is_labels = name.starts_with(b"classlabels"),
                (8, Field::Number(number)) if is_labels => push(Label::Int(number.cast_signed()))?,
                (8, Field::Bytes(mut packed)) if is_labels => {
                    while !packed.is_empty() {
                        push(Label::Int(varint(&mut packed)?.cast_signed()))?;
                    }
                }
                (9, Field::Bytes(label)) if is_labels => push(Label::Text(text(label)?.into()))?,
                _ => {}
            }
        }
        if !labels.is_empty() {
            self.labels = labels;
        }
        Ok(())
    }

    fn tensor(&mut self, bytes: &[u8]) -> Result<(), Malformed> {
        let (mut is_external, mut location) = (false, None);
        for field in Fields(bytes) {
            match field? {
                (13, Field::Bytes(entry)) => {
                    let (key, value) = entry_of(entry)?;
                    location = if key == "location" { Some(value) } else { location };
                }
                (14, Field::Number(place)) => is_external = place == 1,
                _ => {}
            }
        }
        if is_external {
            bounded(self.external.len(), EXTERNAL_MAX, "files with external data")?;
            self.external.insert(location.ok_or("a tensor lies outside of the file and does not say where")?);
        }
        Ok(())
    }
}

impl Message {
    /// The message that a field holds, where external data can hide in it.
    fn inside(self, field: u64) -> Option<Message> {
        Some(match (self, field) {
            (Self::Model, 7) => Self::MainGraph,
            (Self::Model, 20) => Self::Training,
            (Self::Model, 25) => Self::Function,
            (Self::MainGraph | Self::Graph, 1) | (Self::Function, 7) => Self::Node,
            (Self::MainGraph | Self::Graph, 5) | (Self::SparseTensor, 1 | 2) | (Self::Attribute, 5 | 10) => {
                Self::Tensor
            }
            (Self::MainGraph | Self::Graph, 15) | (Self::Attribute, 22 | 23) => Self::SparseTensor,
            (Self::Node, 5) | (Self::Function, 11) => Self::Attribute,
            (Self::Attribute, 6 | 11) | (Self::Training, 1 | 2) => Self::Graph,
            _ => return None,
        })
    }
}

/// Whether there may be one more.
fn bounded(there: usize, max: usize, what: &str) -> Result<(), Malformed> {
    if there < max { Ok(()) } else { Err(format!("it has more than {max} {what}, which no model needs")) }
}

fn opset_of(bytes: &[u8]) -> Result<Opset, Malformed> {
    let (mut domain, mut version) = (String::new(), 0);
    for field in Fields(bytes) {
        match field? {
            (1, Field::Bytes(name)) => domain = text(name)?,
            (2, Field::Number(number)) => version = number.cast_signed(),
            _ => {}
        }
    }
    Ok(Opset { domain: if domain.is_empty() { "ai.onnx".to_owned() } else { domain }, version })
}

/// A file may list a domain more than once. The last is what holds, as for ONNX Runtime; it stands where the first stood.
fn one_each(listed: Vec<Opset>) -> Vec<Opset> {
    let mut each: Vec<Opset> = Vec::with_capacity(listed.len());
    for opset in listed {
        match each.iter_mut().find(|known| known.domain == opset.domain) {
            Some(known) => known.version = opset.version,
            None => each.push(opset),
        }
    }
    each
}

fn entry_of(bytes: &[u8]) -> Result<(String, String), Malformed> {
    let mut entry = (String::new(), String::new());
    for field in Fields(bytes) {
        match field? {
            (1, Field::Bytes(key)) => entry.0 = text(key)?,
            (2, Field::Bytes(value)) => entry.1 = text(value)?,
            _ => {}
        }
    }
    Ok(entry)
}

/// Reads what a file declares of an input or output.
fn declared(port: &[u8]) -> Result<(Arc<str>, Option<Kind>), Malformed> {
    let name = bytes_of(port, 1)?.map(text).transpose()?.unwrap_or_default();
    let kind = match bytes_of(port, 2)? {
        Some(type_of) => declared_kind(type_of, 0)?,
        None => None,
    };
    Ok((name.into(), kind))
}

/// A sparse tensor, as it is told.
const SPARSE: &str = "a sparse tensor";

/// `TypeProto`: what it is; nothing where ONNX Runtime is to infer it.
fn declared_kind(type_of: &[u8], depth: usize) -> Result<Option<Kind>, Malformed> {
    let not_carried = |what: &str| Some(Kind::NotCarried { what: what.to_owned() });
    for field in Fields(type_of) {
        match field? {
            (1, Field::Bytes(tensor)) => {
                let code = number_of(tensor, 1)?.unwrap_or(0);
                return Ok(match (ElementType::of_code(code), bytes_of(tensor, 2)?) {
                    _ if code == 0 => None,
                    (None, _) => not_carried(&format!("a tensor of {}", name_of_refused(code))),
                    (Some(element), None) => Some(Kind::AnyShape { element }),
                    (Some(element), Some(shape)) => {
                        Some(Kind::Tensor { element, shape: declared_shape(shape)? })
                    }
                });
            }
            (4, Field::Bytes(sequence)) => {
                let item = bytes_of(sequence, 1)?.filter(|_| depth < DEPTH_MAX);
                return Ok(match item.map_or(Ok(None), |item| declared_kind(item, depth + 1))? {
                    None => None,
                    Some(Kind::NotCarried { what }) => not_carried(&format!("a sequence of {what}")),
                    Some(Kind::Sequence(_)) => not_carried("a sequence of sequences"),
                    Some(item) => Some(Kind::Sequence(Box::new(item))),
                });
            }
            (5, Field::Bytes(map)) => return declared_map(map),
            (7, _) => return Ok(not_carried("opaque")),
            (8, _) => return Ok(not_carried(SPARSE)),
            (9, _) => {
                return Ok(not_carried("optional, which ONNX Runtime's binding cannot tell from nothing"));
            }
            _ => {}
        }
    }
    Ok(None)
}

/// Reads a map as `ZipMap` makes it, which can be carried: from a number or a text to `f32`.
fn declared_map(map: &[u8]) -> Result<Option<Kind>, Malformed> {
    let key = number_of(map, 1)?.and_then(ElementType::of_code);
    let value = match bytes_of(map, 2)? {
        Some(value) => bytes_of(value, 1)?.map_or(Ok(None), |tensor| number_of(tensor, 1))?,
        None => None,
    };
    Ok(Some(match (key, value.and_then(ElementType::of_code)) {
        (Some(label @ (ElementType::I64 | ElementType::String)), Some(ElementType::F32)) => {
            Kind::Map { label }
        }
        _ => Kind::NotCarried { what: "a map that is not from i64 or string to f32".to_owned() },
    }))
}

fn declared_shape(shape: &[u8]) -> Result<Vec<Dimension>, Malformed> {
    let mut dimensions = Vec::new();
    for field in Fields(shape) {
        let (1, Field::Bytes(dimension)) = field? else { continue };
        bounded(dimensions.len(), RANK_MAX, "dimensions of one tensor")?;
        let size = number_of(dimension, 1)?.and_then(|size| usize::try_from(size.cast_signed()).ok());
        let symbol = bytes_of(dimension, 2)?.map(text).transpose()?.filter(|symbol| !symbol.is_empty());
        dimensions.push(match (size, symbol) {
            (Some(size), _) => Dimension::Fixed(size),
            (None, Some(symbol)) => Dimension::Symbolic(symbol),
            (None, None) => Dimension::Unknown,
        });
    }
    Ok(dimensions)
}

/// A sentence on an input or output that cannot be carried.
fn refused(role: &str, name: &str, kind: Option<&Kind>) -> Option<String> {
    match kind {
        Some(Kind::NotCarried { what }) => Some(format!("{role} `{name}` is {what}")),
        _ => None,
    }
}

fn number_of(bytes: &[u8], wanted: u64) -> Result<Option<u64>, Malformed> {
    let mut last = None;
    for field in Fields(bytes) {
        if let (number, Field::Number(value)) = field?
            && number == wanted
        {
            last = Some(value);
        }
    }
    Ok(last)
}

fn bytes_of(bytes: &[u8], wanted: u64) -> Result<Option<&[u8]>, Malformed> {
    let mut last = None;
    for field in Fields(bytes) {
        if let (number, Field::Bytes(value)) = field?
            && number == wanted
        {
            last = Some(value);
        }
    }
    Ok(last)
}

fn text(bytes: &[u8]) -> Result<String, Malformed> {
    std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| "a text in it is not UTF-8".to_owned())
}

/// A field's value, as far as it is looked at.
enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    /// Of fixed size: floats.
    Fixed,
}

/// The fields of one message on the wire, by number. Ends after the first error.
struct Fields<'a>(&'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Field<'a>), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}

impl<'a> Fields<'a> {
    fn field(&mut self) -> Result<(u64, Field<'a>), Malformed> {
        let tag = varint(&mut self.0)?;
        let value = match tag & 7 {
            0 => Field::Number(varint(&mut self.0)?),
            1 => self.take(8).map(|_| Field::Fixed)?,
            2 => {
                let length = varint(&mut self.0)?;
                self.take(length).map(Field::Bytes)?
            }
            5 => self.take(4).map(|_| Field::Fixed)?,
            other => return Err(format!("it has a field of wire type {other}, which no ONNX model has")),
        };
        Ok((tag >> 3, value))
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8], Malformed> {
        let available = self.0.len();
        let split = usize::try_from(length).ok().and_then(|length| self.0.split_at_checked(length));
        let (taken, rest) =
            split.ok_or_else(|| format!("cut short: {length} bytes announced, {available} there"))?;
        self.0 = rest;
        Ok(taken)
    }
}

/// A number of variable length; bits beyond 64 are dropped, as protobuf drops them.
fn varint(bytes: &mut &[u8]) -> Result<u64, Malformed> {
    let mut value = 0;
    for (index, &byte) in bytes.iter().enumerate().take(10) {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte < 0x80 {
            *bytes = &bytes[index + 1..];
            return Ok(value);
        }
    }
    Err("cut short: it ends, or goes astray, within a number".to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const AFFINE: &[u8] = include_bytes!("../../../../tests/models/affine.onnx");
    const ZIPMAP_INT: &[u8] = include_bytes!("../../../../tests/models/zipmap_int.onnx");
    const ZIPMAP_TEXT: &[u8] = include_bytes!("../../../../tests/models/zipmap_text.onnx");
    const EXTERNAL: &[u8] = include_bytes!("../../../../tests/models/external.onnx");
    const LATE: &[u8] = include_bytes!("../../../../tests/repository/late/1/model.onnx");
    const HIDDEN: &[u8] = include_bytes!("../../../../tests/models/external_hidden.onnx");

    #[test]
    fn a_file_says_what_made_it_and_what_it_needs() {
        let scan = scan(AFFINE).unwrap();
        assert_eq!(
            (scan.ir_version, scan.producer.as_str(), scan.producer_version.as_str()),
            (8, "make_models.py", "1")
        );
        assert_eq!(scan.opsets, [Opset::new("ai.onnx", 17)]);
        assert_eq!(scan.metadata["purpose"], "tests");
        assert!(scan.external.is_empty() && scan.refused.is_empty());
    }

    /// Bug: `repo diff` and the description of a model showed an operator set twice. Cause: a file may list a domain again, as
    /// skl2onnx does, and each entry was kept as it stood. Fix: one for each domain, the last.
    #[test]
    fn an_operator_set_that_is_listed_again_is_one() {
        let set = |domain: &str, version: i64| Opset::new(domain, version);
        assert_eq!(scan(LATE).unwrap().opsets, [set("ai.onnx.ml", 1), set("ai.onnx", 17)]);
        let listed = |domain: &[u8], version: u8| {
            let version = [0x10, version];
            message(0x42, &[&message(0x0a, domain)[..], &version].concat())
        };
        let again = [listed(b"", 13), listed(b"ml", 1), listed(b"ai.onnx", 17), listed(b"ml", 3)].concat();
        assert_eq!(scan(&[AFFINE, &again].concat()).unwrap().opsets, [set("ai.onnx", 17), set("ml", 3)]);
    }

    #[test]
    fn labels_of_classifiers_are_found() {
        assert_eq!(scan(ZIPMAP_INT).unwrap().labels, [Label::Int(7), Label::Int(-1), Label::Int(300)]);
        assert_eq!(scan(ZIPMAP_TEXT).unwrap().labels, ["early", "on time", "späť"].map(Label::from));
    }

    #[test]
    fn external_data_is_found_wherever_it_hides() {
        assert_eq!(scan(EXTERNAL).unwrap().external, ["external.data".to_owned()].into());
        assert_eq!(scan(HIDDEN).unwrap().external, ["../outside.data".to_owned()].into());
    }

    #[test]
    fn what_is_no_model_says_why() {
        for (bytes, cause) in [
            (&b""[..], "empty"),
            (b"PK\x03\x04 something zipped", "a zip archive"),
            (b"\x1f\x8b and more", "gzip"),
            (b"version https://git-lfs.github.com/spec/v1\noid sha256:00", "git lfs pull"),
            (b"\n<!DOCTYPE html><html></html>", "an HTML page"),
            (b"<?xml version='1.0'?><Error/>", "an XML document"),
            (b"\x0e\x0f", "which no ONNX model has"),
            (b"\x1c\0\0\0ORTM and more", "ONNX Runtime's own format"),
            (b"\x08\x08", "no graph"),
            (&AFFINE[..AFFINE.len() / 2], "cut short"),
        ] {
            let found = scan(bytes).unwrap_err();
            assert!(found.contains(cause), "{found}");
        }
    }

    #[test]
    fn nesting_has_an_end() {
        let nested = |levels: usize| {
            let mut graph = Vec::new();
            for _ in 0..levels {
                for tag in [0x32, 0x2a, 0x0a] {
                    graph = message(tag, &graph); // a graph in an attribute of a node of a graph
                }
            }
            [b"\x08\x08".to_vec(), message(0x3a, &graph)].concat()
        };
        assert!(scan(&nested(20)).is_ok());
        assert!(scan(&nested(2_000)).unwrap_err().contains("nested"));
    }

    fn message(tag: u8, body: &[u8]) -> Vec<u8> {
        let mut bytes = vec![tag];
        let mut length = body.len();
        while length >= 0x80 {
            bytes.push((length & 0x7f) as u8 | 0x80);
            length >>= 7;
        }
        bytes.push(length as u8);
        bytes.extend_from_slice(body);
        bytes
    }

    proptest! {
        #[test]
        fn no_bytes_at_all_bring_it_down(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = scan(&bytes);
        }

        #[test]
        fn no_mutation_of_a_model_brings_it_down(
            model in proptest::sample::select(vec![AFFINE, ZIPMAP_INT, ZIPMAP_TEXT, EXTERNAL, HIDDEN]),
            changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut bytes = model.to_vec();
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            let _ = scan(&bytes);
            let _ = scan(&bytes[..cut.index(bytes.len())]);
        }
    }
}
