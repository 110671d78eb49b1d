//! Inputs made up from a model's own signature.

use half::{bf16, f16};

use super::tensor::Tensor;
use super::tensors::{Tensors, Value};
use crate::model::onnx::file::signature::{Dimension, Kind, Signature};

/// The most elements that are made up.
const ELEMENTS_MAX: usize = 1 << 26;

/// Zeros and empty texts, dimensions without a size being 1; nothing where it would be too large.
pub(crate) fn zeros_for(signature: &Signature) -> Option<Tensors> {
    inputs_for(signature, |zeros| zeros)
}

/// The same, with fractions instead of zeros where the elements are fractions: whole numbers may be places in something.
pub(crate) fn fractions_for(signature: &Signature) -> Option<Tensors> {
    inputs_for(signature, |zeros| {
        // A golden ratio's multiples: spread evenly, and the same each time.
        let fractions = || (1..).map(|place| (f64::from(place) * 0.618_033_988_749_895).fract());
        match zeros {
            Tensor::F16(mut array) => {
                array.iter_mut().zip(fractions()).for_each(|(to, from)| *to = f16::from_f64(from));
                Tensor::F16(array)
            }
            Tensor::Bf16(mut array) => {
                array.iter_mut().zip(fractions()).for_each(|(to, from)| *to = bf16::from_f64(from));
                Tensor::Bf16(array)
            }
            Tensor::F32(mut array) => {
                array.iter_mut().zip(fractions()).for_each(|(to, from)| *to = from as f32);
                Tensor::F32(array)
            }
            Tensor::F64(mut array) => {
                array.iter_mut().zip(fractions()).for_each(|(to, from)| *to = from);
                Tensor::F64(array)
            }
            other => other,
        }
    })
}

fn inputs_for(signature: &Signature, fill: impl Fn(Tensor) -> Tensor) -> Option<Tensors> {
    let mut left = ELEMENTS_MAX;
    let mut inputs = Tensors::new();
    for port in &signature.inputs {
        let (element, shape) = match &port.kind {
            Kind::Tensor { element, shape } => (element, &shape[..]),
            // One in a row, since a scalar is taken for that in most places and not the other way round.
            Kind::AnyShape { element } => (element, &[Dimension::Fixed(1)][..]),
            _ => return None,
        };
        let size_of = |dimension: &Dimension| if let Dimension::Fixed(size) = dimension { *size } else { 1 };
        let shape: Vec<usize> = shape.iter().map(size_of).collect();
        let elements = shape.iter().try_fold(1_usize, |product, &size| product.checked_mul(size))?;
        left = left.checked_sub(elements)?;
        inputs = inputs.with(port.name.clone(), Value::Tensor(fill(Tensor::zeros(*element, &shape)))).ok()?;
    }
    Some(inputs)
}

/// Whether two answers to the same input are the same but for rounding: fractions within a thousandth of the larger one or
/// 1e-5, or both none; all else exactly.
pub(crate) fn are_close(one: &Tensors, other: &Tensors) -> bool {
    one.len() == other.len()
        && one.iter().zip(other.iter()).all(|((name, a), (other, b))| name == other && close(a, b))
}

fn close(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Tensor(a), Value::Tensor(b)) => close_tensors(a, b),
        (Value::Sequence(a), Value::Sequence(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| close(a, b))
        }
        (Value::Map(a), Value::Map(b)) => {
            a.len() == b.len()
                && a.iter()
                    .zip(b)
                    .all(|((a, x), (b, y))| a == b && close_numbers(f64::from(*x), f64::from(*y)))
        }
        _ => false,
    }
}

fn close_tensors(one: &Tensor, other: &Tensor) -> bool {
    if one.shape() != other.shape() {
        return false;
    }
    match (one, other) {
        // Three digits are all they have.
        (Tensor::F16(a), Tensor::F16(b)) => {
            a.iter().zip(b).all(|(a, b)| close_within(a.to_f64(), b.to_f64(), 0.01))
        }
        (Tensor::Bf16(a), Tensor::Bf16(b)) => {
            a.iter().zip(b).all(|(a, b)| close_within(a.to_f64(), b.to_f64(), 0.02))
        }
        (Tensor::F32(a), Tensor::F32(b)) => {
            a.iter().zip(b).all(|(a, b)| close_numbers(f64::from(*a), f64::from(*b)))
        }
        (Tensor::F64(a), Tensor::F64(b)) => a.iter().zip(b).all(|(a, b)| close_numbers(*a, *b)),
        (a, b) => a == b,
    }
}

fn close_numbers(a: f64, b: f64) -> bool {
    close_within(a, b, 1e-3)
}

fn close_within(a: f64, b: f64, relative: f64) -> bool {
    // What is infinite is near to everything by that measure.
    let near =
        a.is_finite() && b.is_finite() && (a - b).abs() <= 1e-5_f64.max(relative * a.abs().max(b.abs()));
    a == b || (a.is_nan() && b.is_nan()) || near
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn answers_are_close_where_they_differ_by_rounding_alone() {
        let answer =
            |x: f32, y: i64| Tensors::new().with("x", array![x]).unwrap().with("y", array![y]).unwrap();
        assert!(are_close(&answer(1.0, 3), &answer(1.000_1, 3)));
        assert!(are_close(&answer(f32::NAN, 3), &answer(f32::NAN, 3)));
        for other in [answer(1.01, 3), answer(1.0, 4), answer(f32::NAN, 3), answer(f32::INFINITY, 3)] {
            assert!(!are_close(&answer(1.0, 3), &other));
        }
        assert!(!are_close(&answer(1.0, 3), &Tensors::new()));
    }
}
