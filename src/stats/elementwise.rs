//! Comparing live's answer with a shadow's.

use crate::base::invalid::ArgumentError;

/// How far two elements may lie apart and still be close: an absolute part, and a part of what live says. Both are 0 by default: elements
/// have to be equal.
///
/// ```
/// use switchback::stats::Tolerance;
///
/// let tolerance = Tolerance::default().relative(1e-3)?.absolute(1e-6)?;
/// assert!(tolerance.absolute(f64::INFINITY).is_err());
/// # Ok::<(), switchback::ArgumentError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[must_use]
pub struct Tolerance {
    relative: f64,
    absolute: f64,
}

impl Tolerance {
    /// As a part of live's element.
    ///
    /// # Errors
    ///
    /// A number that is not finite, or below 0.
    pub fn relative(self, part: f64) -> Result<Self, ArgumentError> {
        allowed("the relative tolerance", part).map(|relative| Self { relative, ..self })
    }

    /// Whatever live's element is: what keeps elements around 0 close.
    ///
    /// # Errors
    ///
    /// A number that is not finite, or below 0.
    pub fn absolute(self, apart: f64) -> Result<Self, ArgumentError> {
        allowed("the absolute tolerance", apart).map(|absolute| Self { absolute, ..self })
    }
}

fn allowed(tolerance: &'static str, value: f64) -> Result<f64, ArgumentError> {
    ArgumentError::unless(value.is_finite() && value >= 0.0, tolerance, value, "finite and 0 or more")?;
    Ok(value)
}

/// A comparison of tensors for [`Task::compare`](crate::Task::compare): the share of elements that lie further
/// apart than `absolute + relative * |live's|`, as numpy's `isclose` has it. Two that are both not numbers are close; answers
/// of different lengths differ altogether.
///
/// ```
/// use switchback::stats::{Tolerance, elementwise};
///
/// let tolerance = Tolerance::default().relative(1e-3)?.absolute(1e-6)?;
/// let difference = elementwise(tolerance, |output: &Vec<f32>| output.as_slice());
/// assert_eq!(difference(&vec![1.0, 2.0], &vec![1.0001, 2.5]), 0.5);
/// # Ok::<(), switchback::ArgumentError>(())
/// ```
pub fn elementwise<O>(
    tolerance: Tolerance,
    elements: impl Fn(&O) -> &[f32] + Send + Sync + 'static,
) -> impl Fn(&O, &O) -> f64 + Send + Sync + 'static {
    let Tolerance { relative, absolute } = tolerance;
    move |live, candidate| {
        let (live, candidate) = (elements(live), elements(candidate));
        if live.len() != candidate.len() {
            return 1.0;
        }
        let apart = live.iter().zip(candidate).filter(|(live, candidate)| {
            let (live, candidate) = (f64::from(**live), f64::from(**candidate));
            let close = live == candidate
                || (live.is_nan() && candidate.is_nan())
                || (live - candidate).abs() <= absolute + relative * live.abs();
            !close
        });
        apart.count() as f64 / live.len().max(1) as f64
    }
}
