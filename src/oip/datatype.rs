//! The protocol's names for types of elements.

use crate::model::onnx::ElementType;

/// The name of a type in the protocol; nothing where it has none.
pub(crate) fn name_of(element: ElementType) -> Option<&'static str> {
    NAMES.iter().find(|(_, known)| *known == element).map(|(name, _)| *name)
}

/// The type of a name in the protocol.
pub(crate) fn of_name(name: &str) -> Option<ElementType> {
    NAMES.iter().find(|(known, _)| *known == name).map(|(_, element)| *element)
}

const NAMES: [(&str, ElementType); 14] = [
    ("BOOL", ElementType::Bool),
    ("UINT8", ElementType::U8),
    ("UINT16", ElementType::U16),
    ("UINT32", ElementType::U32),
    ("UINT64", ElementType::U64),
    ("INT8", ElementType::I8),
    ("INT16", ElementType::I16),
    ("INT32", ElementType::I32),
    ("INT64", ElementType::I64),
    ("FP16", ElementType::F16),
    ("FP32", ElementType::F32),
    ("FP64", ElementType::F64),
    ("BYTES", ElementType::String),
    ("BF16", ElementType::Bf16),
];
