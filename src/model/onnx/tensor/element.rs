//! The types that elements of tensors have, by their names in ONNX and in ONNX Runtime.

use std::fmt;

use ort::value::TensorElementType;
use serde::{Deserialize, Serialize};

macro_rules! element_types {
    ($($variant:ident $name:literal, $ort:ident, $code:literal, $text:literal;)*) => {
        /// The type of a tensor's elements.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[non_exhaustive]
        pub enum ElementType {
            $(#[doc = $text] #[serde(rename = $name)] $variant,)*
        }

        impl ElementType {
            /// The type's name: `f32`, `i64`, `string`.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// By its number in ONNX's own `TensorProto.DataType`.
            pub(crate) const fn of_code(code: u64) -> Option<Self> {
                match code {
                    $($code => Some(Self::$variant),)*
                    _ => None,
                }
            }

            pub(crate) fn of_ort(found: TensorElementType) -> Option<Self> {
                match found {
                    $(TensorElementType::$ort => Some(Self::$variant),)*
                    _ => None,
                }
            }

            pub(crate) fn to_ort(self) -> TensorElementType {
                match self {
                    $(Self::$variant => TensorElementType::$ort,)*
                }
            }
        }
    };
}

element_types! {
    F16 "f16", Float16, 10, "IEEE half precision, [`half::f16`].";
    Bf16 "bf16", Bfloat16, 16, "The upper half of an `f32`, [`half::bf16`].";
    F32 "f32", Float32, 1, "`f32`.";
    F64 "f64", Float64, 11, "`f64`.";
    I8 "i8", Int8, 3, "`i8`.";
    I16 "i16", Int16, 5, "`i16`.";
    I32 "i32", Int32, 6, "`i32`.";
    I64 "i64", Int64, 7, "`i64`.";
    U8 "u8", Uint8, 2, "`u8`.";
    U16 "u16", Uint16, 4, "`u16`.";
    U32 "u32", Uint32, 12, "`u32`.";
    U64 "u64", Uint64, 13, "`u64`.";
    Bool "bool", Bool, 9, "`bool`.";
    String "string", String, 8, "Text in UTF-8.";
    F8E4M3Fn "f8e4m3fn", Float8E4M3FN, 17, "8 bits, 4 of them an exponent, without infinities: in a [`Packed`](crate::model::onnx::Packed).";
    F8E4M3FnUz "f8e4m3fnuz", Float8E4M3FNUZ, 18, "The same without a negative zero.";
    F8E5M2 "f8e5m2", Float8E5M2, 19, "8 bits, 5 of them an exponent.";
    F8E5M2FnUz "f8e5m2fnuz", Float8E5M2FNUZ, 20, "The same without infinities and without a negative zero.";
    F8E8M0 "f8e8m0", Float8E8M0, 24, "8 bits, all of them an exponent.";
    F4E2M1 "f4e2m1", Float4E2M1, 23, "4 bits, 2 of them an exponent.";
    I4 "i4", Int4, 22, "A whole number of 4 bits.";
    U4 "u4", Uint4, 21, "The same without a sign.";
    I2 "i2", Int2, 26, "A whole number of 2 bits.";
    U2 "u2", Uint2, 25, "The same without a sign.";
}

impl fmt::Display for ElementType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl ElementType {
    /// How many bits an element has where Rust has no type for it.
    pub(crate) const fn packed_bits(self) -> Option<usize> {
        match self {
            Self::F8E4M3Fn | Self::F8E4M3FnUz | Self::F8E5M2 | Self::F8E5M2FnUz | Self::F8E8M0 => Some(8),
            Self::F4E2M1 | Self::I4 | Self::U4 => Some(4),
            Self::I2 | Self::U2 => Some(2),
            _ => None,
        }
    }
}

/// Returns ONNX's name for an element type that is no [`ElementType`], by its number in `TensorProto.DataType`.
pub(crate) fn name_of_refused(code: u64) -> String {
    let name = match code {
        0 => "undefined",
        14 => "complex64",
        15 => "complex128",
        _ => return format!("number {code}, which is not known here"),
    };
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_either_known_or_refused_by_name() {
        for code in 0..=26 {
            let known = ElementType::of_code(code);
            assert_ne!(known.is_some(), !name_of_refused(code).starts_with("number"), "{code}");
            if let Some(element) = known {
                assert_eq!(ElementType::of_ort(element.to_ort()), Some(element));
            }
        }
        assert!(name_of_refused(99).contains("99"));
    }
}
