//! Compares tensors with those that were pinned.

use serde_json::{Value as Json, json};

use crate::model::onnx::half::{bf16, f16};
use crate::model::onnx::{Tensor, Tensors, Trace, Value};
use crate::repository::contract::{GoldenSample, PinnedTensor};

/// How a tensor is not the one that was pinned.
#[derive(Debug, PartialEq)]
pub(crate) enum Difference {
    /// The pinned one is none itself.
    Malformed(String),
    /// Another type or shape.
    Kind { expected: String, found: String },
    /// Other elements, `differing` of them.
    Elements { index: usize, differing: usize, expected: Json, found: Json },
}

/// How `found` is not `pinned`; nothing where it is, within `tolerance + tolerance * |pinned|` for floating point and to
/// the letter for everything else.
pub(crate) fn difference(pinned: &PinnedTensor, found: &Value, tolerance: f64) -> Option<Difference> {
    let expected = format!("{}{:?}", pinned.element, pinned.shape);
    let Value::Tensor(tensor) = found else {
        return Some(Difference::Kind { expected, found: format!("{found:?}, which cannot be pinned") });
    };
    let elements = pinned.shape.iter().try_fold(1_usize, |product, &size| product.checked_mul(size));
    if elements != Some(pinned.values.len()) {
        let cause = format!("{} values do not fill {expected}", pinned.values.len());
        return Some(Difference::Malformed(cause));
    }
    if pinned.element != tensor.element().name() || pinned.shape != tensor.shape() {
        return Some(Difference::Kind { expected, found: format!("{found:?}") });
    }
    let mut first = None;
    let mut differing = 0;
    for (index, (element, pin)) in elements_of(tensor).zip(&pinned.values).enumerate() {
        match element.is(pin, tolerance) {
            None => {
                return Some(Difference::Malformed(format!(
                    "its value {index}, {pin}, is no {}",
                    pinned.element
                )));
            }
            Some(true) => {}
            Some(false) => {
                differing += 1;
                first.get_or_insert_with(|| (index, pin.clone(), element.to_json()));
            }
        }
    }
    let (index, expected, found) = first?;
    Some(Difference::Elements { index, differing, expected, found })
}

/// Where a value is not finite, by its place among the value's numbers, and what stands there.
pub(crate) fn not_finite(value: &Value) -> Option<(usize, f64)> {
    fn first(numbers: impl Iterator<Item = f64>) -> Option<(usize, f64)> {
        numbers.enumerate().find(|(_, number)| !number.is_finite())
    }
    match value {
        Value::Tensor(tensor) => {
            let floats = elements_of(tensor).map(|element| match element {
                Element::Float { value, .. } => value,
                _ => 0.0,
            });
            first(floats)
        }
        Value::Map(entries) => first(entries.values().copied().map(f64::from)),
        // By the place in the sequence; maps within it are rows.
        Value::Sequence(values) => {
            values.iter().enumerate().find_map(|(row, value)| Some((row, not_finite(value)?.1)))
        }
    }
}

impl PinnedTensor {
    /// A tensor as it is, to be pinned.
    pub fn of(tensor: &Tensor) -> Self {
        let values = elements_of(tensor).map(|element| element.to_json());
        Self::new(tensor.element().name(), tensor.shape().iter().copied(), values)
    }
}

impl GoldenSample {
    /// Pins what a request became on its way and what came of it: every input, and every output that is a tensor.
    /// `request` is the request as JSON, from which it was read or to which it was written.
    pub fn recorded<O>(name: impl Into<String>, request: Json, trace: &Trace<O>) -> Self {
        let pins = |tensors: &Tensors| {
            let tensors = tensors.iter().filter_map(|(name, value)| match value {
                Value::Tensor(tensor) => Some((name.to_owned(), PinnedTensor::of(tensor))),
                _ => None,
            });
            tensors.collect()
        };
        Self { inputs: pins(&trace.inputs), outputs: pins(&trace.outputs), ..Self::new(name, request) }
    }
}

/// One element, whatever its type.
enum Element<'t> {
    /// With what a number becomes as an element of the tensor's type.
    Float {
        value: f64,
        rounded: fn(f64) -> f64,
    },
    Whole(i128),
    Truth(bool),
    Text(&'t str),
}

fn elements_of(tensor: &Tensor) -> Box<dyn Iterator<Item = Element<'_>> + '_> {
    macro_rules! whole {
        ($array:ident) => {
            Box::new($array.iter().map(|&element| Element::Whole(i128::from(element))))
        };
    }
    macro_rules! float {
        ($array:ident, $rounded:expr) => {
            Box::new(
                $array.iter().map(|&element| Element::Float { value: f64::from(element), rounded: $rounded }),
            )
        };
    }
    match tensor {
        Tensor::F16(array) => float!(array, |value| f16::from_f64(value).to_f64()),
        Tensor::Bf16(array) => float!(array, |value| bf16::from_f64(value).to_f64()),
        Tensor::F32(array) => float!(array, |value| f64::from(value as f32)),
        Tensor::F64(array) => float!(array, |value| value),
        Tensor::I8(array) => whole!(array),
        Tensor::I16(array) => whole!(array),
        Tensor::I32(array) => whole!(array),
        Tensor::I64(array) => whole!(array),
        Tensor::U8(array) => whole!(array),
        Tensor::U16(array) => whole!(array),
        Tensor::U32(array) => whole!(array),
        Tensor::U64(array) => whole!(array),
        Tensor::Bool(array) => Box::new(array.iter().map(|&element| Element::Truth(element))),
        Tensor::String(array) => Box::new(array.iter().map(|element| Element::Text(element))),
        // As they are: what was pinned came from the same bits.
        Tensor::Packed(packed) => Box::new(
            packed
                .numbers()
                .map(|number| Element::Float { value: f64::from(number), rounded: |value| value }),
        ),
    }
}

impl Element<'_> {
    /// Whether it is what was pinned; nothing where that is no element of this type.
    fn is(&self, pin: &Json, tolerance: f64) -> Option<bool> {
        match self {
            Self::Float { value, rounded } => {
                let pin = rounded(float(pin)?);
                let is_near = (value - pin).abs() <= tolerance + tolerance * pin.abs();
                // An infinity less itself is a NaN, and a tolerance of an infinite number an infinite one.
                Some(if pin.is_finite() {
                    is_near
                } else {
                    *value == pin || (value.is_nan() && pin.is_nan())
                })
            }
            Self::Whole(value) => Some(*value == whole(pin)?),
            Self::Truth(value) => Some(*value == pin.as_bool()?),
            Self::Text(value) => Some(*value == pin.as_str()?),
        }
    }

    fn to_json(&self) -> Json {
        match self {
            Self::Float { value, .. } if value.is_finite() => json!(value),
            Self::Float { value, .. } => json!(name_of(*value)),
            Self::Whole(value) => match (i64::try_from(*value), u64::try_from(*value)) {
                (Ok(value), _) => json!(value),
                (_, Ok(value)) => json!(value),
                _ => Json::Null, // no element type is wider
            },
            Self::Truth(value) => json!(value),
            Self::Text(value) => json!(value),
        }
    }
}

/// Returns a manifest's name for a number that JSON has not.
pub(crate) fn name_of(not_finite: f64) -> &'static str {
    if not_finite.is_nan() {
        "nan"
    } else if not_finite > 0.0 {
        "inf"
    } else {
        "-inf"
    }
}

fn float(pin: &Json) -> Option<f64> {
    match pin.as_str() {
        Some("nan") => Some(f64::NAN),
        Some("inf") => Some(f64::INFINITY),
        Some("-inf") => Some(f64::NEG_INFINITY),
        Some(_) => None,
        None => pin.as_f64(),
    }
}

/// A whole number; one written as `3.0` is one too, as long as a float can tell it from its neighbours.
fn whole(pin: &Json) -> Option<i128> {
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    match (pin.as_i64(), pin.as_u64(), pin.as_f64()) {
        (Some(number), ..) => Some(number.into()),
        (_, Some(number), _) => Some(number.into()),
        (_, _, Some(number)) if number.fract() == 0.0 && number.abs() < EXACT_MAX => Some(number as i128),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::onnx::ndarray::Array1;
    use crate::model::onnx::ndarray::array;

    fn of(found: impl Into<Value>, element: &str, values: Json, tolerance: f64) -> Option<Difference> {
        let values = values.as_array().unwrap().clone();
        difference(&PinnedTensor::new(element, [values.len()], values), &found.into(), tolerance)
    }

    #[test]
    fn floats_are_compared_within_the_tolerance() {
        assert_eq!(of(array![0.1_f32, 100.0], "f32", json!([0.1, 100.009]), 1e-4), None);
        assert_eq!(of(array![0.1_f32], "f32", json!([0.1]), 0.0), None);
        assert_eq!(
            of(array![0.5_f32, 100.0, 7.0], "f32", json!([0.5, 100.2, 8]), 1e-4),
            Some(Difference::Elements {
                index: 1,
                differing: 2,
                expected: json!(100.2),
                found: json!(100.0)
            })
        );
    }

    #[test]
    fn what_is_not_finite_is_only_what_it_was_pinned_as() {
        let odd = || array![f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
        assert_eq!(of(odd(), "f32", json!(["nan", "inf", "-inf"]), 1e-4), None);
        assert!(
            matches!(of(odd(), "f32", json!([0, "-inf", "inf"]), 1.0), Some(Difference::Elements { differing: 3, found, .. }) if found == json!("nan"))
        );
        assert!(of(array![1.0_f64], "f64", json!(["inf"]), 1.0).is_some());
    }

    #[test]
    fn everything_else_is_compared_to_the_letter() {
        assert_eq!(of(array![i64::MAX, i64::MIN], "i64", json!([i64::MAX, i64::MIN]), 1.0), None);
        assert!(of(array![i64::MAX], "i64", json!([i64::MAX - 1]), 1.0).is_some());
        assert_eq!(of(array![u64::MAX], "u64", json!([u64::MAX]), 0.0), None);
        assert_eq!(of(array![3_i32], "i32", json!([3.0]), 0.0), None);
        assert_eq!(of(array![true, false], "bool", json!([true, false]), 0.0), None);
        assert!(of(array!["a".to_owned()], "string", json!(["b"]), 1.0).is_some());
    }

    #[test]
    fn another_type_or_shape_is_told_before_any_element() {
        let difference = of(array![[1.0_f32], [2.0]], "f32", json!([1, 2]), 1.0);
        let expected = Difference::Kind { expected: "f32[2]".to_owned(), found: "f32[2, 1]".to_owned() };
        assert_eq!(difference, Some(expected));
        assert!(matches!(of(array![1_i64], "f32", json!([1]), 1.0), Some(Difference::Kind { .. })));
        assert!(matches!(
            of(Value::Sequence(Vec::new()), "f32", json!([1]), 1.0),
            Some(Difference::Kind { .. })
        ));
    }

    #[test]
    fn a_pin_that_is_none_is_told_so() {
        assert!(matches!(of(array![1_i64], "i64", json!([1.5]), 1.0), Some(Difference::Malformed(_))));
        assert!(matches!(of(array![1.0_f32], "f32", json!(["many"]), 1.0), Some(Difference::Malformed(_))));
        for shape in [vec![2], vec![usize::MAX, usize::MAX], vec![]] {
            let pinned = PinnedTensor::new("f32", shape, [json!(1), json!(2), json!(3)]);
            let found = array![1.0_f32].into();
            assert!(matches!(difference(&pinned, &found, 1.0), Some(Difference::Malformed(_))));
        }
    }

    #[test]
    fn the_first_number_that_is_none_is_found_wherever_it_is() {
        assert_eq!(not_finite(&array![1.0_f32, f32::INFINITY].into()), Some((1, f64::INFINITY)));
        assert_eq!(not_finite(&array![1_i64, 2].into()), None);
        let map = |number: f32| Value::Map([("late".into(), number)].into());
        assert!(not_finite(&Value::Sequence(vec![map(0.5), map(f32::NAN)])).is_some_and(|(row, _)| row == 1));
    }

    /// Generates what a manifest may have in place of a value.
    fn any_json() -> impl Strategy<Value = Json> {
        prop_oneof![
            Just(Json::Null),
            any::<bool>().prop_map(Json::from),
            any::<i64>().prop_map(Json::from),
            any::<u64>().prop_map(Json::from),
            any::<f64>().prop_map(Json::from),
            "nan|inf|-inf|a".prop_map(Json::from),
            Just(json!([1])),
        ]
    }

    proptest! {
        #[test]
        fn no_manifest_at_all_brings_it_down(
            element in "f32|f64|f16|i8|u64|bool|string|none",
            shape in prop::collection::vec(prop_oneof![0_usize..4, any::<usize>()], 0..4),
            values in prop::collection::vec(any_json(), 0..4),
            tolerance: f64,
        ) {
            let pinned = PinnedTensor::new(element, shape, values);
            for found in [
                array![1.0_f32, 2.0].into(),
                array![f64::NAN].into(),
                array![[i8::MIN]].into(),
                array![u64::MAX, 0].into(),
                array![true].into(),
                array!["a".to_owned()].into(),
                Value::Map([(1.into(), 0.5)].into()),
            ] {
                let _ = difference(&pinned, &found, tolerance);
            }
        }

        #[test]
        fn whatever_was_recorded_is_what_was_pinned(values: Vec<f32>, whole: Vec<u64>, texts: Vec<String>) {
            fn holds(tensor: Tensor, tolerance: f64) -> bool {
                let json = serde_json::to_string(&PinnedTensor::of(&tensor)).unwrap();
                let pinned: PinnedTensor = serde_json::from_str(&json).unwrap();
                difference(&pinned, &tensor.into(), tolerance).is_none()
            }
            let thirds = values.iter().map(|value| f64::from(*value) / 3.0);
            // serde_json may miss the last bit of an `f64`.
            prop_assert!(holds(Array1::from_iter(thirds).into(), 1e-15));
            let halves = values.iter().map(|value| f16::from_f32(*value));
            prop_assert!(holds(Array1::from_iter(halves).into(), 0.0));
            prop_assert!(holds(Array1::from(values).into(), 0.0));
            prop_assert!(holds(Array1::from(whole).into(), 0.0));
            prop_assert!(holds(Array1::from(texts).into(), 0.0));
        }
    }
}
