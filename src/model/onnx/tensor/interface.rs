//! The signature in the form in which inputs are checked against it, request by request.

use std::sync::Arc;

use super::element::ElementType;
use crate::model::error::InputError;
use crate::model::onnx::file::signature::{Bracketed, Dimension, Kind, Port, Signature};

/// How many inputs, outputs and symbols a request handles without an allocation.
pub(crate) const INLINE: usize = 8;

/// The inputs and outputs of a model, ready for checks.
#[derive(Debug)]
pub(crate) struct Interface {
    pub(crate) inputs: Box<[Input]>,
    pub(crate) outputs: Box<[Port]>,
    /// The outputs that a session is run for, by their places in `outputs`.
    pub(crate) asked: Box<[usize]>,
}

/// An input.
#[derive(Debug)]
pub(crate) struct Input {
    pub(crate) name: Arc<str>,
    pub(crate) takes: Takes,
}

/// The kind of value that an input takes.
#[derive(Debug)]
pub(crate) enum Takes {
    Tensor {
        element: ElementType,
        /// Nothing where it is not known: any shape will do.
        shape: Option<Box<[Dimension]>>,
    },
    /// A sequence or a map.
    Other(Kind),
}

impl Interface {
    /// Of a signature, to be run for all outputs that can be carried, or for those that are named.
    pub(crate) fn of(signature: &Signature, asked: Option<&[String]>) -> Self {
        let input = |port: &Port| {
            let takes = match &port.kind {
                Kind::Tensor { element, shape } => {
                    Takes::Tensor { element: *element, shape: Some(shape.clone().into()) }
                }
                Kind::AnyShape { element } => Takes::Tensor { element: *element, shape: None },
                other => Takes::Other(other.clone()),
            };
            Input { name: port.name.clone(), takes }
        };
        let is_asked = |port: &Port| match asked {
            Some(names) => names.iter().any(|name| **name == *port.name),
            None => !port.kind.is_refused(),
        };
        let asked = signature.outputs.iter().enumerate().filter(|(_, port)| is_asked(port));
        Self {
            inputs: signature.inputs.iter().map(input).collect(),
            asked: asked.map(|(place, _)| place).collect(),
            outputs: signature.outputs.clone().into(),
        }
    }

    /// Whether a session is not run for all outputs.
    pub(crate) fn is_selective(&self) -> bool {
        self.asked.len() < self.outputs.len()
    }

    /// The outputs that a session is run for.
    pub(crate) fn asked(&self) -> impl Iterator<Item = &Port> {
        self.asked.iter().filter_map(|place| self.outputs.get(*place))
    }

    /// The index of the input `name`, looked for from `likely` on.
    pub(crate) fn find(&self, name: &str, likely: usize) -> Result<usize, InputError> {
        let count = self.inputs.len();
        (0..count)
            .map(|step| (likely + step) % count)
            .find(|&index| *self.inputs[index].name == *name)
            .ok_or_else(|| self.unknown(name))
    }

    /// Whether elements of this type, in this shape, can be the input's, as ONNX Runtime asks it: it takes one element in a
    /// row for a scalar, and does not hold sizes that have one name against each other. Gives the number of elements.
    #[inline]
    pub(crate) fn check(
        &self,
        index: usize,
        element: ElementType,
        shape: &[usize],
    ) -> Result<usize, InputError> {
        let input = &self.inputs[index];
        let shape_of = match &input.takes {
            Takes::Tensor { element: expected, shape } if *expected == element => shape,
            _ => return Err(input.wrong_type(element.name())),
        };
        let fits = match shape_of {
            None => true,
            Some(expected) if expected.is_empty() => matches!(shape, [] | [1]),
            Some(expected) => {
                let fits = |(expected, size): (&Dimension, &usize)| match expected {
                    Dimension::Fixed(expected) => expected == size,
                    Dimension::Symbolic(_) | Dimension::Unknown => true,
                };
                expected.len() == shape.len() && expected.iter().zip(shape).all(fits)
            }
        };
        let elements = shape.iter().try_fold(1_usize, |elements, &size| elements.checked_mul(size));
        // No element is larger than 8 bytes, but for texts, which are counted one by one.
        match elements.filter(|&elements| fits && elements <= isize::MAX as usize / 8) {
            Some(elements) => Ok(elements),
            None => Err(wrong_shape(input, shape)),
        }
    }

    /// The error of an input that was not given.
    #[cold]
    pub(crate) fn missing(&self, index: usize) -> InputError {
        let input = &self.inputs[index];
        let expected = match &input.takes {
            Takes::Tensor { element, shape: Some(_) } => format!("{element}{}", input.expected()),
            Takes::Tensor { element, shape: None } => format!("{element}, of {}", input.expected()),
            Takes::Other(kind) => kind.to_string(),
        };
        InputError::Missing { name: input.name.clone(), expected }
    }

    /// The error of elements that do not fill their shape.
    #[cold]
    pub(crate) fn wrong_length(&self, index: usize, shape: &[usize], elements: usize) -> InputError {
        InputError::Shape {
            name: self.inputs[index].name.clone(),
            expected: format!("as many elements as {} has", Bracketed(shape)),
            found: format!("{elements} elements"),
        }
    }

    #[cold]
    fn unknown(&self, name: &str) -> InputError {
        let expected = self.inputs.iter().map(|input| input.name.to_string()).collect();
        InputError::Unknown { name: name.into(), expected }
    }
}

#[cold]
fn wrong_shape(input: &Input, shape: &[usize]) -> InputError {
    let (name, found) = (input.name.clone(), Bracketed(shape).to_string());
    InputError::Shape { name, expected: input.expected(), found }
}

impl Input {
    /// The input's shape: `[batch, 8]`.
    fn expected(&self) -> String {
        match &self.takes {
            Takes::Tensor { shape: Some(shape), .. } => Bracketed(shape).to_string(),
            _ => "any shape".to_owned(),
        }
    }

    /// The type's name: that of its elements where it is a tensor.
    pub(crate) fn type_name(&self) -> String {
        match &self.takes {
            Takes::Tensor { element, .. } => element.name().to_owned(),
            Takes::Other(kind) => kind.to_string(),
        }
    }

    #[cold]
    pub(crate) fn wrong_type(&self, found: &str) -> InputError {
        InputError::ElementType {
            name: self.name.clone(),
            expected: self.type_name(),
            found: found.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// a: f32[n, 3], b: f32[n, ?]
    fn interface() -> Interface {
        let port = |name: &str, second| {
            let shape = vec![Dimension::Symbolic("n".into()), second];
            Port { name: name.into(), kind: Kind::Tensor { element: ElementType::F32, shape } }
        };
        Interface::of(
            &Signature {
                inputs: vec![port("a", Dimension::Fixed(3)), port("b", Dimension::Unknown)],
                outputs: Vec::new(),
                labels: Vec::new(),
                ir_version: 8,
                opsets: Vec::new(),
                producer: None,
                metadata: BTreeMap::new(),
            },
            None,
        )
    }

    #[test]
    fn an_input_is_found_from_wherever_one_looks() {
        let interface = interface();
        for likely in 0..3 {
            assert_eq!(interface.find("a", likely), Ok(0));
            assert_eq!(interface.find("b", likely), Ok(1));
        }
        let error = interface.find("c", 0).unwrap_err();
        assert_eq!(error.to_string(), "the model has no input `c`: its inputs are a, b");
    }

    #[test]
    fn a_symbol_stands_for_any_size_wherever_it_stands() {
        let interface = interface();
        assert_eq!(interface.check(0, ElementType::F32, &[2, 3]), Ok(6));
        assert_eq!(interface.check(1, ElementType::F32, &[4, 9]), Ok(36));
        let error = interface.check(1, ElementType::F32, &[4]).unwrap_err();
        assert_eq!(error.to_string(), "input `b` has shape [4]: the model expects [n, ?]");
    }

    #[test]
    fn type_rank_size_and_number_of_elements_are_checked() {
        let interface = interface();
        let check = |index, element, shape: &[usize]| interface.check(index, element, shape);
        assert!(matches!(check(0, ElementType::F64, &[2, 3]), Err(InputError::ElementType { .. })));
        for shape in [&[2, 4][..], &[2], &[2, 3, 1], &[]] {
            assert!(matches!(check(0, ElementType::F32, shape), Err(InputError::Shape { .. })), "{shape:?}");
        }
        for size in [usize::MAX, usize::MAX / 2, 1 << 62] {
            assert!(
                matches!(check(1, ElementType::F32, &[size, 3]), Err(InputError::Shape { .. })),
                "{size}"
            );
        }
        assert_eq!(check(1, ElementType::F32, &[0, 5]), Ok(0));
        assert_eq!(interface.missing(1).to_string(), "input `b` is missing: the model expects f32[n, ?]");
    }
}
