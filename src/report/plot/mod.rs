//! Plots over time, as data: what is drawn, on which scale. How is in `svg` and, in place of it, in `bars`.

mod bars;
mod scale;
mod svg;

pub(super) use bars::{bar, rows};
pub(super) use scale::{Scale, Unit};
pub(super) use svg::draw;

/// A plot over the time since a rollout began.
pub(super) struct Plot {
    pub(super) title: String,
    pub(super) description: String,
    /// What the numbers at the side are.
    pub(super) unit: String,
    pub(super) scale: Scale,
    pub(super) lines: Vec<Line>,
    pub(super) limits: Vec<Limit>,
    pub(super) bands: Vec<Band>,
    /// Seconds from left to right.
    pub(super) span: f64,
    /// How a value is written.
    pub(super) written: fn(f64) -> String,
}

/// What a colour stands for. The hues are those of Okabe and Ito, which people tell apart who see fewer of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Colour {
    Candidate,
    Live,
    Harm,
    Fine,
}

impl Colour {
    /// Its class in the style sheet.
    pub(super) fn class(self) -> &'static str {
        match self {
            Self::Candidate => "candidate",
            Self::Live => "live",
            Self::Harm => "harm",
            Self::Fine => "fine",
        }
    }
}

/// A line, in stretches of (seconds, value) that are not joined.
pub(super) struct Line {
    pub(super) name: String,
    pub(super) colour: Colour,
    pub(super) is_thin: bool,
    pub(super) stretches: Vec<Vec<(f64, f64)>>,
}

impl Line {
    pub(super) fn new(name: impl Into<String>, colour: Colour, stretches: Vec<Vec<(f64, f64)>>) -> Self {
        Self { name: name.into(), colour, is_thin: false, stretches }
    }

    /// Of less weight than the others.
    pub(super) fn thin(self) -> Self {
        Self { is_thin: true, ..self }
    }

    pub(super) fn values(&self) -> impl Iterator<Item = f64> + '_ {
        self.stretches.iter().flatten().map(|(_, y)| *y)
    }

    pub(super) fn times(mut self, factor: f64) -> Self {
        self.stretches.iter_mut().flatten().for_each(|(_, y)| *y *= factor);
        self
    }
}

/// A value that is to be reached, or not, over some time.
pub(super) struct Limit {
    pub(super) name: String,
    pub(super) colour: Colour,
    pub(super) at: f64,
    pub(super) from: f64,
    pub(super) to: f64,
}

/// A phase.
pub(super) struct Band {
    pub(super) from: f64,
    pub(super) to: f64,
    pub(super) name: String,
}
