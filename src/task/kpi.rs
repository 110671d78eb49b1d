//! Business figures that outcomes carry.

use std::ops::RangeInclusive;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::base::invalid::ArgumentError;

/// A business figure per prediction, declared at build: its name, and the bounds within which a value makes sense.
///
/// ```
/// use switchback::Kpi;
///
/// let click = Kpi::rate("click")?;
/// let complaints = Kpi::bounded("complaints", 0.0, 3.0)?.lower_is_better();
/// let refused = Kpi::bounded("dwell", 0.0, f64::NAN).unwrap_err();
/// assert_eq!(
///     refused.to_string(),
///     "the upper bound of business figure `dwell` is NaN: it must be a finite number above the lower bound, 0"
/// );
/// # Ok::<(), switchback::ArgumentError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Declared")]
pub struct Kpi {
    name: Arc<str>,
    bounds: Option<(f64, f64)>,
    /// Whether less is better.
    lower_is_better: bool,
}

impl Kpi {
    /// A figure that is either 0 or 1: a click, a purchase.
    ///
    /// # Errors
    ///
    /// An empty name, or one of more than 256 bytes.
    pub fn rate(name: impl Into<Arc<str>>) -> Result<Self, ArgumentError> {
        Self::bounded(name, 0.0, 1.0)
    }

    /// A figure between `low` and `high`, in the host's own units. Values outside are refused and counted, and with one of
    /// them since the exposure changed the figure promotes nothing: bounds are what makes a comparison of means provable.
    ///
    /// # Errors
    ///
    /// An empty name or one of more than 256 bytes, or bounds that are not finite, not in order, or further apart than a number can say.
    pub fn bounded(name: impl Into<Arc<str>>, low: f64, high: f64) -> Result<Self, ArgumentError> {
        Self { name: name.into(), bounds: Some((low, high)), lower_is_better: false }.checked()
    }

    /// A figure without bounds, such as revenue. What is said of it is right in the limit only
    /// ([`Asymptotic`](crate::stats::sequential::Asymptotic)), and nothing before 200 values other than 0
    /// are to be expected of each version (more, where a few are far larger than the rest).
    ///
    /// # Errors
    ///
    /// An empty name, or one of more than 256 bytes.
    pub fn unbounded(name: impl Into<Arc<str>>) -> Result<Self, ArgumentError> {
        Self { name: name.into(), bounds: None, lower_is_better: false }.checked()
    }

    fn checked(self) -> Result<Self, ArgumentError> {
        let Self { name, bounds, .. } = &self;
        let length = name.len();
        let allowed = "at most 256 bytes: it stands in every record";
        ArgumentError::unless(length <= 256, "the length of a business figure's name", length, allowed)?;
        if name.trim().is_empty() {
            let value = format!("{:?}", &**name);
            return Err(ArgumentError::new("the name of a business figure", value, "one that can be read"));
        }
        let of = |bound: &str| format!("the {bound} bound of business figure `{name}`");
        match *bounds {
            Some((low, _)) if !low.is_finite() => {
                Err(ArgumentError::new(of("lower"), low, "a finite number, or none with `Kpi::unbounded`"))
            }
            Some((low, high)) if !(high.is_finite() && low < high) => {
                let allowed = format!("a finite number above the lower bound, {low}");
                Err(ArgumentError::new(of("upper"), high, allowed))
            }
            // A value is compared by where it lies between them.
            Some((low, high)) if !(high - low).is_finite() => {
                let allowed = format!(
                    "no further from the lower bound, {low:e}, than a number can say, or none with `Kpi::unbounded`"
                );
                Err(ArgumentError::new(of("upper"), format!("{high:e}"), allowed))
            }
            _ => Ok(self),
        }
    }

    /// Declares that less is better: complaints, seconds lost. By default more is better.
    #[must_use]
    pub fn lower_is_better(mut self) -> Self {
        self.lower_is_better = true;
        self
    }

    /// The figure's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The bounds within which a value is accepted; nothing for a figure without bounds.
    pub fn bounds(&self) -> Option<RangeInclusive<f64>> {
        self.bounds.map(|(low, high)| low..=high)
    }

    /// The same: the lower one, then the upper one.
    pub(crate) fn low_and_high(&self) -> Option<(f64, f64)> {
        self.bounds
    }

    pub(crate) fn is_lower_better(&self) -> bool {
        self.lower_is_better
    }
}

/// A figure as it is written: reading one goes through the same checks as declaring one.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Declared {
    name: Arc<str>,
    #[serde(default)]
    bounds: Option<(f64, f64)>,
    #[serde(default)]
    lower_is_better: bool,
}

impl TryFrom<Declared> for Kpi {
    type Error = ArgumentError;

    fn try_from(declared: Declared) -> Result<Self, ArgumentError> {
        let Declared { name, bounds, lower_is_better } = declared;
        Self { name, bounds, lower_is_better }.checked()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_declared_or_refused_by_name_value_and_what_is_allowed() {
        for (refused, named) in [
            (Kpi::rate(""), "the name of a business figure is \"\""),
            (Kpi::unbounded(" "), "the name of a business figure is \" \""),
            (Kpi::bounded("x", f64::NEG_INFINITY, 1.0), "the lower bound of business figure `x` is -inf"),
            (Kpi::bounded("x", f64::NAN, 1.0), "the lower bound of business figure `x` is NaN"),
            (
                Kpi::bounded("x", 1.0, 1.0),
                "the upper bound of business figure `x` is 1: it must be a finite number",
            ),
            (Kpi::bounded("x", 1.0, f64::INFINITY), "the upper bound of business figure `x` is inf"),
            (
                Kpi::bounded("x", f64::MIN, f64::MAX),
                "the upper bound of business figure `x` is 1.7976931348623157e308",
            ),
        ] {
            let told = refused.unwrap_err().to_string();
            assert!(told.starts_with(named), "{told}");
        }
    }

    #[test]
    fn what_is_read_is_checked_like_what_is_declared() {
        let kpi = Kpi::bounded("rating", 1.0, 5.0).unwrap().lower_is_better();
        let json = serde_json::to_string(&kpi).unwrap();
        assert_eq!(serde_json::from_str::<Kpi>(&json).unwrap(), kpi);
        let plain: Kpi = serde_json::from_str(r#"{"name":"revenue"}"#).unwrap();
        assert_eq!(plain, Kpi::unbounded("revenue").unwrap());
        for bad in [r#"{"name":""}"#, r#"{"name":"a","bounds":[2.0,1.0]}"#, r#"{"name":"a","bound":null}"#] {
            assert!(serde_json::from_str::<Kpi>(bad).is_err(), "{bad}");
        }
    }
}
