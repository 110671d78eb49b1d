//! The signature in the form in which inputs are checked against it, request by request.

use std::sync::Arc;

use smallvec::SmallVec;

use super::element::ElementType;
use crate::model::error::InputError;
use crate::model::onnx::file::signature::{Bracketed, Dimension, Kind, Port, Signature};

/// How many inputs, outputs and symbols a request handles without an allocation.
pub(crate) const INLINE: usize = 8;

/// The sizes that names of dimensions stand for, in one request.
pub(crate) type Symbols = SmallVec<[Option<usize>; INLINE]>;

/// What a model takes and gives, ready for checks.
#[derive(Debug)]
pub(crate) struct Interface {
    pub(crate) inputs: Box<[Input]>,
    pub(crate) outputs: Box<[Port]>,
    symbols: Box<[String]>,
}

/// An input: a tensor.
#[derive(Debug)]
pub(crate) struct Input {
    pub(crate) name: Arc<str>,
    pub(crate) element: ElementType,
    shape: Box<[Size]>,
}

#[derive(Debug, Clone, Copy)]
enum Size {
    Fixed(usize),
    /// By the index of its name.
    Symbol(usize),
    Any,
}

impl Interface {
    /// Of a signature whose inputs are tensors; others are left out, and refused when the model is loaded.
    pub(crate) fn of(signature: &Signature) -> Self {
        let mut symbols: Vec<String> = Vec::new();
        let mut size_of = |dimension: &Dimension| match dimension {
            Dimension::Fixed(size) => Size::Fixed(*size),
            Dimension::Unknown => Size::Any,
            Dimension::Symbolic(name) => {
                Size::Symbol(match symbols.iter().position(|symbol| symbol == name) {
                    Some(index) => index,
                    None => {
                        symbols.push(name.clone());
                        symbols.len() - 1
                    }
                })
            }
        };
        let mut inputs = Vec::new();
        for port in &signature.inputs {
            if let Kind::Tensor { element, shape } = &port.kind {
                let shape = shape.iter().map(&mut size_of).collect();
                inputs.push(Input { name: port.name.clone(), element: *element, shape });
            }
        }
        Self { inputs: inputs.into(), outputs: signature.outputs.clone().into(), symbols: symbols.into() }
    }

    /// No name stands for a size yet.
    pub(crate) fn symbols(&self) -> Symbols {
        SmallVec::from_elem(None, self.symbols.len())
    }

    /// The index of the input `name`, looked for from `likely` on.
    pub(crate) fn find(&self, name: &str, likely: usize) -> Result<usize, InputError> {
        let count = self.inputs.len();
        (0..count)
            .map(|step| (likely + step) % count)
            .find(|&index| *self.inputs[index].name == *name)
            .ok_or_else(|| self.unknown(name))
    }

    /// Whether elements of this type, in this shape, can be the input's, given what symbols already stand for. Gives
    /// the number of elements.
    #[inline]
    pub(crate) fn check(
        &self,
        index: usize,
        element: ElementType,
        shape: &[usize],
        symbols: &mut Symbols,
    ) -> Result<usize, InputError> {
        let input = &self.inputs[index];
        if input.element != element {
            return Err(input.wrong_type(element));
        }
        let mut fits = input.shape.len() == shape.len();
        let mut elements = Some(1_usize);
        for (expected, &size) in input.shape.iter().zip(shape) {
            fits &= match *expected {
                Size::Fixed(expected) => expected == size,
                Size::Symbol(symbol) => *symbols[symbol].get_or_insert(size) == size,
                Size::Any => true,
            };
            elements = elements.and_then(|elements| elements.checked_mul(size));
        }
        // No element is larger than 8 bytes, but for texts, which are counted one by one.
        match elements.filter(|&elements| fits && elements <= isize::MAX as usize / 8) {
            Some(elements) => Ok(elements),
            None => Err(self.wrong_shape(input, shape, symbols)),
        }
    }

    /// The error of an input that was not given.
    #[cold]
    pub(crate) fn missing(&self, index: usize) -> InputError {
        let input = &self.inputs[index];
        let expected = format!("{}{}", input.element, self.expected(input, &[], &self.symbols()));
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

    #[cold]
    fn wrong_shape(&self, input: &Input, shape: &[usize], symbols: &Symbols) -> InputError {
        let expected = self.expected(input, shape, symbols);
        InputError::Shape { name: input.name.clone(), expected, found: Bracketed(shape).to_string() }
    }

    /// The input's shape, with what a symbol stands for where `found` contradicts it: `[batch=3, 8]`.
    fn expected(&self, input: &Input, found: &[usize], symbols: &Symbols) -> String {
        let found = found.iter().map(Some).chain(std::iter::repeat(None));
        let sizes = input.shape.iter().zip(found).map(|(size, found)| match *size {
            Size::Fixed(size) => size.to_string(),
            Size::Any => "?".to_owned(),
            Size::Symbol(symbol) => match (symbols[symbol], found) {
                (Some(size), Some(found)) if size != *found => format!("{}={size}", self.symbols[symbol]),
                _ => self.symbols[symbol].clone(),
            },
        });
        Bracketed(&sizes.collect::<Vec<_>>()).to_string()
    }
}

impl Input {
    #[cold]
    fn wrong_type(&self, found: ElementType) -> InputError {
        InputError::ElementType {
            name: self.name.clone(),
            expected: self.element.to_string(),
            found: found.to_string(),
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
        Interface::of(&Signature {
            inputs: vec![port("a", Dimension::Fixed(3)), port("b", Dimension::Unknown)],
            outputs: Vec::new(),
            labels: Vec::new(),
            ir_version: 8,
            opsets: Vec::new(),
            producer: None,
            metadata: BTreeMap::new(),
        })
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
    fn a_symbol_stands_for_one_size_within_a_request() {
        let interface = interface();
        let mut symbols = interface.symbols();
        assert_eq!(interface.check(0, ElementType::F32, &[2, 3], &mut symbols), Ok(6));
        assert_eq!(interface.check(1, ElementType::F32, &[2, 9], &mut symbols), Ok(18));
        let error = interface.check(1, ElementType::F32, &[4, 9], &mut symbols).unwrap_err();
        assert_eq!(error.to_string(), "input `b` has shape [4, 9]: the model expects [n=2, ?]");
    }

    #[test]
    fn type_rank_size_and_number_of_elements_are_checked() {
        let interface = interface();
        let check = |index, element, shape: &[usize]| {
            interface.check(index, element, shape, &mut interface.symbols())
        };
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
