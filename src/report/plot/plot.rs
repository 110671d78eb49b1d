//! A plot, as data.

use super::scale::Scale;

/// A plot over the time since a rollout began.
pub(crate) struct Plot {
    pub(crate) title: String,
    pub(crate) description: String,
    /// The unit of the numbers at the side.
    pub(crate) unit: String,
    pub(crate) scale: Scale,
    pub(crate) lines: Vec<Line>,
    pub(crate) limits: Vec<Limit>,
    pub(crate) bands: Vec<Band>,
    /// Seconds from left to right.
    pub(crate) span: f64,
    /// How a value is written.
    pub(crate) written: fn(f64) -> String,
}

/// The meaning of a colour. The hues are those of Okabe and Ito, which people tell apart who see fewer of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Colour {
    Candidate,
    Live,
    Harm,
    Fine,
}

impl Colour {
    /// Its class in the style sheet.
    pub(crate) fn class(self) -> &'static str {
        match self {
            Self::Candidate => "candidate",
            Self::Live => "live",
            Self::Harm => "harm",
            Self::Fine => "fine",
        }
    }
}

/// A line, in stretches of (seconds, value) that are not joined.
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) colour: Colour,
    pub(crate) is_thin: bool,
    pub(crate) stretches: Vec<Vec<(f64, f64)>>,
}

impl Line {
    pub(crate) fn new(name: impl Into<String>, colour: Colour, stretches: Vec<Vec<(f64, f64)>>) -> Self {
        Self { name: name.into(), colour, is_thin: false, stretches }
    }

    /// Of less weight than the others.
    pub(crate) fn thin(self) -> Self {
        Self { is_thin: true, ..self }
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = f64> + '_ {
        self.stretches.iter().flatten().map(|(_, y)| *y)
    }

    pub(crate) fn times(mut self, factor: f64) -> Self {
        self.stretches.iter_mut().flatten().for_each(|(_, y)| *y *= factor);
        self
    }
}

/// A value that is to be reached, or not, over some time.
pub(crate) struct Limit {
    pub(crate) name: String,
    pub(crate) colour: Colour,
    pub(crate) at: f64,
    pub(crate) from: f64,
    pub(crate) to: f64,
}

/// A phase.
pub(crate) struct Band {
    pub(crate) from: f64,
    pub(crate) to: f64,
    pub(crate) name: String,
}
