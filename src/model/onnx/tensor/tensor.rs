//! A tensor that owns its elements, and the types that those can have.

use std::fmt;

use half::{bf16, f16};
use ndarray::{Array, ArrayD, Dimension};
use ort::value::PrimitiveTensorElementType;

use super::element::ElementType;
use super::packed::Packed;

/// A type that an element of a tensor can have: every one that is an element type of ort and a type of Rust. Others are in a
/// [`Packed`].
///
/// Sealed.
pub trait Element: Clone + PartialEq + fmt::Debug + Send + Sync + sealed::Wrap {
    /// The type's name at run time.
    const TYPE: ElementType;
}

/// An [`Element`] of fixed size, so that a slice of them can be a tensor's memory: all but [`String`].
pub trait Primitive: Element + Copy + Default + PrimitiveTensorElementType {}

pub(crate) mod sealed {
    use super::ArrayD;
    use super::Tensor;

    /// How an array of this type becomes a [`Tensor`] and back.
    pub trait Wrap: Sized + 'static {
        fn wrap(array: ArrayD<Self>) -> Tensor;
        fn unwrap(tensor: &Tensor) -> Option<&ArrayD<Self>>;
    }
}

macro_rules! tensor {
    ($($variant:ident $rust:ty;)*) => {
        /// A tensor that owns its elements, of whatever type.
        ///
        /// `Debug` shows type and shape, never an element.
        #[derive(Clone)]
        #[non_exhaustive]
        pub enum Tensor {
            $(#[doc = concat!("Of `", stringify!($rust), "`.")] $variant(ArrayD<$rust>),)*
            /// Of elements that Rust has no type for.
            Packed(Packed),
        }

        impl PartialEq for Tensor {
            fn eq(&self, other: &Self) -> bool {
                match (self, other) {
                    $((Self::$variant(one), Self::$variant(other)) => alike(one, other),)*
                    (Self::Packed(one), Self::Packed(other)) => one == other,
                    _ => false,
                }
            }
        }

        impl Tensor {
            /// The type of its elements.
            pub fn element(&self) -> ElementType {
                match self {
                    $(Self::$variant(_) => ElementType::$variant,)*
                    Self::Packed(packed) => packed.element(),
                }
            }

            /// Its shape.
            pub fn shape(&self) -> &[usize] {
                match self {
                    $(Self::$variant(array) => array.shape(),)*
                    Self::Packed(packed) => packed.shape(),
                }
            }

            /// Zeros, or empty texts, of this type in this shape.
            pub(crate) fn zeros(element: ElementType, shape: &[usize]) -> Self {
                match element {
                    $(ElementType::$variant => Self::$variant(ArrayD::default(shape)),)*
                    packed => Self::Packed(Packed::zeros(packed, shape)),
                }
            }
        }

        $(
            impl Element for $rust {
                const TYPE: ElementType = ElementType::$variant;
            }

            impl sealed::Wrap for $rust {
                fn wrap(array: ArrayD<Self>) -> Tensor {
                    Tensor::$variant(array)
                }

                fn unwrap(tensor: &Tensor) -> Option<&ArrayD<Self>> {
                    match tensor {
                        Tensor::$variant(array) => Some(array),
                        _ => None,
                    }
                }
            }
        )*
    };
}

tensor! {
    F16 f16;
    Bf16 bf16;
    F32 f32;
    F64 f64;
    I8 i8;
    I16 i16;
    I32 i32;
    I64 i64;
    U8 u8;
    U16 u16;
    U32 u32;
    U64 u64;
    Bool bool;
    String String;
}

/// Whether two arrays are equal. `ndarray` has its own, which takes the compiler ten times as long for each type.
fn alike<T: PartialEq>(one: &ArrayD<T>, other: &ArrayD<T>) -> bool {
    one.shape() == other.shape()
        && match (one.as_slice(), other.as_slice()) {
            (Some(one), Some(other)) => one == other,
            _ => one.iter().eq(other.iter()),
        }
}

macro_rules! primitives {
    ($($rust:ty)*) => { $(impl Primitive for $rust {})* };
}

primitives!(f16 bf16 f32 f64 i8 i16 i32 i64 u8 u16 u32 u64 bool);

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{:?}", self.element(), self.shape())
    }
}

impl From<Packed> for Tensor {
    fn from(packed: Packed) -> Self {
        Self::Packed(packed)
    }
}

impl<T: Element, D: Dimension> From<Array<T, D>> for Tensor {
    fn from(array: Array<T, D>) -> Self {
        T::wrap(array.into_dyn())
    }
}
