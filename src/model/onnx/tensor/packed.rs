//! Tensors of elements that Rust has no type for: of 8 bits with a fraction, and of less than a byte.

use std::fmt;

use super::element::ElementType;
use crate::model::error::InputError;

/// A tensor whose elements have no type of Rust's: `f8e4m3fn` and its kin, `i4`, `u4`, `i2`, `u2`, `f4e2m1`. Its bytes are
/// those of ONNX Runtime: elements of less than a byte lie in one from its lowest bit on, row by row and without gaps.
///
/// `Debug` shows type and shape, never an element.
///
/// ```
/// use switchback::model::onnx::{ElementType, Packed};
///
/// let weights = Packed::new(ElementType::I4, [3], [0x2f, 0x08])?;
/// assert_eq!(weights.numbers().collect::<Vec<_>>(), [-1.0, 2.0, -8.0]);
/// # Ok::<(), switchback::model::InputError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Packed {
    element: ElementType,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl Packed {
    /// A tensor of these bytes.
    ///
    /// # Errors
    ///
    /// [`InputError::Refused`] where the elements have a type of Rust's, or where the bytes are not as many as the shape has.
    pub fn new(
        element: ElementType,
        shape: impl Into<Vec<usize>>,
        bytes: impl Into<Vec<u8>>,
    ) -> Result<Self, InputError> {
        let (shape, bytes) = (shape.into(), bytes.into());
        let refused = |reason: String| InputError::Refused { reason: reason.into() };
        let Some(bits) = element.packed_bits() else {
            return Err(refused(format!("{element} has a type of Rust's: give an array of it")));
        };
        let needed = bytes_of(&shape, bits);
        if needed != Some(bytes.len()) {
            let needed =
                needed.map_or_else(|| "more than memory has".to_owned(), |needed| needed.to_string());
            return Err(refused(format!("{element}{shape:?} has {} bytes: it needs {needed}", bytes.len())));
        }
        Ok(Self { element, shape, bytes })
    }

    /// Zeros in this shape; empty where the elements have a type of Rust's.
    pub(crate) fn zeros(element: ElementType, shape: &[usize]) -> Self {
        let bytes = bytes_of(shape, element.packed_bits().unwrap_or_default()).unwrap_or_default();
        Self { element, shape: shape.to_vec(), bytes: vec![0; bytes] }
    }

    /// The type of its elements.
    pub fn element(&self) -> ElementType {
        self.element
    }

    /// Its shape.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Its bytes, as ONNX Runtime lays them out.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Its elements as numbers, row by row: each is exactly an `f32`.
    pub fn numbers(&self) -> impl ExactSizeIterator<Item = f32> + '_ {
        let bits = self.element.packed_bits().unwrap_or(8);
        let elements = self.shape.iter().product();
        (0..elements).map(move |place: usize| {
            let at = place * bits;
            let byte = self.bytes.get(at / 8).copied().unwrap_or_default();
            let mask = if bits == 8 { u8::MAX } else { (1 << bits) - 1 };
            number(self.element, (byte >> (at % 8)) & mask)
        })
    }
}

/// How many bytes a shape has of elements of so many bits.
fn bytes_of(shape: &[usize], bits: usize) -> Option<usize> {
    let elements = shape.iter().try_fold(1_usize, |product, &size| product.checked_mul(size))?;
    Some(elements.checked_mul(bits)?.div_ceil(8))
}

/// Returns what the bits of one element stand for.
fn number(element: ElementType, bits: u8) -> f32 {
    /// Of whole numbers in two's complement.
    fn signed(bits: u8, width: u32) -> f32 {
        f32::from((bits << (8 - width)).cast_signed() >> (8 - width))
    }
    match element {
        ElementType::I4 => signed(bits, 4),
        ElementType::I2 => signed(bits, 2),
        ElementType::U4 | ElementType::U2 => f32::from(bits),
        ElementType::F4E2M1 => fraction(bits, 4, 1, 1),
        ElementType::F8E4M3Fn if bits & 0x7f == 0x7f => f32::NAN,
        ElementType::F8E4M3Fn => fraction(bits, 8, 3, 7),
        ElementType::F8E4M3FnUz | ElementType::F8E5M2FnUz if bits == 0x80 => f32::NAN,
        ElementType::F8E4M3FnUz => fraction(bits, 8, 3, 8),
        ElementType::F8E5M2FnUz => fraction(bits, 8, 2, 16),
        ElementType::F8E5M2 if bits & 0x7f == 0x7c => {
            if bits & 0x80 == 0 {
                f32::INFINITY
            } else {
                f32::NEG_INFINITY
            }
        }
        ElementType::F8E5M2 if bits & 0x7f > 0x7c => f32::NAN,
        ElementType::F8E5M2 => fraction(bits, 8, 2, 15),
        ElementType::F8E8M0 if bits == 0xff => f32::NAN,
        ElementType::F8E8M0 => power(i32::from(bits) - 127),
        // No other is packed.
        _ => f32::NAN,
    }
}

/// Of a sign, an exponent with this bias, and a mantissa of so many bits.
fn fraction(bits: u8, width: u32, mantissa_bits: u32, bias: i32) -> f32 {
    let sign = if bits >> (width - 1) == 0 { 1.0 } else { -1.0 };
    let mantissa = f32::from(bits & ((1 << mantissa_bits) - 1)) / f32::from(1_u8 << mantissa_bits);
    let exponent = i32::from((bits & ((1 << (width - 1)) - 1)) >> mantissa_bits);
    if exponent == 0 {
        sign * mantissa * power(1 - bias)
    } else {
        sign * (1.0 + mantissa) * power(exponent - bias)
    }
}

/// Two to this power, exactly.
fn power(exponent: i32) -> f32 {
    let bits =
        if exponent < -126 { 1_u32 << (exponent + 149).max(0) } else { ((exponent + 127) as u32) << 23 };
    f32::from_bits(bits)
}

impl fmt::Debug for Packed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{:?}", self.element, self.shape)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_the_numbers_of_their_format() {
        for (element, bits, expected) in [
            (ElementType::F8E4M3Fn, 0x7e, 448.0),
            (ElementType::F8E4M3Fn, 0x01, 0.001_953_125),
            (ElementType::F8E4M3Fn, 0xb8, -1.0),
            (ElementType::F8E4M3FnUz, 0x7f, 240.0),
            (ElementType::F8E5M2, 0x7b, 57_344.0),
            (ElementType::F8E5M2, 0xfc, f32::NEG_INFINITY),
            (ElementType::F8E5M2FnUz, 0x7f, 57_344.0),
            (ElementType::F8E8M0, 0x00, 2.0_f32.powi(-127)),
            (ElementType::F8E8M0, 0xfe, 2.0_f32.powi(127)),
            (ElementType::F4E2M1, 0x07, 6.0),
            (ElementType::F4E2M1, 0x09, -0.5),
            (ElementType::I2, 0x02, -2.0),
            (ElementType::U2, 0x03, 3.0),
        ] {
            assert_eq!(number(element, bits), expected, "{element} {bits:#x}");
        }
        for (element, bits) in [
            (ElementType::F8E4M3Fn, 0xff),
            (ElementType::F8E4M3FnUz, 0x80),
            (ElementType::F8E5M2, 0x7d),
            (ElementType::F8E5M2FnUz, 0x80),
            (ElementType::F8E8M0, 0xff),
        ] {
            assert!(number(element, bits).is_nan(), "{element} {bits:#x}");
        }
    }

    #[test]
    fn bytes_are_as_many_as_the_shape_has() {
        let packed = |element, shape: &[usize], bytes: &[u8]| Packed::new(element, shape, bytes);
        assert!(
            packed(ElementType::U4, &[3], &[0, 0]).is_ok() && packed(ElementType::U2, &[5], &[0, 0]).is_ok()
        );
        assert!(
            packed(ElementType::F8E5M2, &[], &[0]).is_ok() && packed(ElementType::I4, &[0, 3], &[]).is_ok()
        );
        for (element, shape, bytes) in [
            (ElementType::U4, &[3_usize][..], &[0_u8][..]),
            (ElementType::F8E5M2, &[usize::MAX, 2], &[0]),
            (ElementType::U8, &[1], &[0]),
        ] {
            assert!(
                matches!(packed(element, shape, bytes), Err(InputError::Refused { .. })),
                "{element}{shape:?}"
            );
        }
    }
}
