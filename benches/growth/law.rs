//! Which law a cost follows as something grows: the plainest that fits.

use std::fmt;

/// A cost as a function of what grows: `base + factor * form(n)`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Law {
    pub(crate) form: Form,
    pub(crate) base: f64,
    pub(crate) factor: f64,
}

/// From the plainest to the worst.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Form {
    Constant,
    /// It grew, and grows no more: there is a bound.
    LevelsOff,
    Logarithmic,
    Linear,
    LinearLogarithmic,
    Quadratic,
}

impl Form {
    const GROWING: [Self; 4] = [Self::Logarithmic, Self::Linear, Self::LinearLogarithmic, Self::Quadratic];

    fn of(self, n: f64) -> f64 {
        match self {
            Self::Constant | Self::LevelsOff => 0.0,
            Self::Logarithmic => (n + 1.0).log2(),
            Self::Linear => n,
            Self::LinearLogarithmic => n * (n + 1.0).log2(),
            Self::Quadratic => n * n,
        }
    }
}

/// Two figures of the same thing differ by as much on a machine that does other things too.
const NOISE: f64 = 0.15;
/// A law that is worse is taken only where it leaves less than half of the squares that a plainer one leaves.
const BETTER: f64 = 0.5;

impl Law {
    /// The law of points `(n, cost)`: by least squares of what each form is off by, relative to the cost, so that small
    /// costs count as much as large ones. Constant where no cost is off the middle by more than noise; level where the last
    /// two differ by no more, though there is at least twice as much of what grows.
    pub(crate) fn of(points: &[(f64, f64)]) -> Self {
        let middle = crate::support::median(points.iter().map(|(_, cost)| *cost));
        let constant = Self { form: Form::Constant, base: middle, factor: 0.0 };
        if points.iter().all(|(_, cost)| (cost - middle).abs() <= NOISE * middle.abs()) {
            return constant;
        }
        if let [.., (_, before), (_, last)] = points
            && (last - before).abs() <= NOISE * last.abs()
        {
            return Self { form: Form::LevelsOff, base: *last, factor: 0.0 };
        }
        let scale = 0.02 * points.iter().map(|(_, cost)| cost.abs()).fold(0.0, f64::max);
        let points: Vec<Point> = points
            .iter()
            .map(|(n, cost)| Point { n: *n, cost: *cost, weight: weight(*cost, scale) })
            .collect();
        let growing = Form::GROWING.map(|form| Self::fitted(form, &points));
        growing.into_iter().fold(constant, |best, law| {
            // Squares that noise alone would leave tell nothing apart.
            let floor = points.len() as f64 * (NOISE / 2.0).powi(2);
            let better = law.squares(&points).max(floor) < BETTER * best.squares(&points).max(floor);
            if better { law } else { best }
        })
    }

    fn fitted(form: Form, points: &[Point]) -> Self {
        let [mut w, mut x, mut y, mut xx, mut xy] = [0.0; 5];
        for Point { n, cost, weight } in points {
            let at = form.of(*n);
            w += weight;
            x += weight * at;
            y += weight * cost;
            xx += weight * at * at;
            xy += weight * at * cost;
        }
        let factor = (w * xy - x * y) / (w * xx - x * x);
        Self { form, base: (y - factor * x) / w, factor }
    }

    /// What is left over, relative to each cost.
    fn squares(&self, points: &[Point]) -> f64 {
        let off = |at: &Point| at.weight * (at.cost - self.base - self.factor * self.form.of(at.n)).powi(2);
        points.iter().map(off).sum()
    }
}

struct Point {
    n: f64,
    cost: f64,
    weight: f64,
}

/// Relative to the cost; what is next to nothing beside the largest counts as a fiftieth of it.
fn weight(cost: f64, scale: f64) -> f64 {
    1.0 / cost.abs().max(scale).max(1e-3).powi(2)
}

impl fmt::Display for Law {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let factor = Short(self.factor);
        match self.form {
            Form::Constant => write!(f, "constant"),
            Form::LevelsOff => write!(f, "levels off at {}", Short(self.base)),
            Form::Logarithmic => write!(f, "log n: {factor} per doubling"),
            Form::Linear => write!(f, "linear: {factor} each"),
            Form::LinearLogarithmic => write!(f, "n log n: {factor} each and doubling"),
            Form::Quadratic => write!(f, "QUADRATIC: {factor} n^2"),
        }
    }
}

/// A number in three digits.
pub(crate) struct Short(pub(crate) f64);

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(number) = self;
        match number.abs() {
            0.0 => write!(f, "0"),
            size if size >= 1e6 => write!(f, "{:.2}M", number / 1e6),
            size if size >= 1e4 => write!(f, "{:.1}k", number / 1e3),
            size if size >= 100.0 => write!(f, "{number:.0}"),
            size if size >= 1.0 => write!(f, "{number:.1}"),
            size if size >= 1e-3 => write!(f, "{number:.3}"),
            _ => write!(f, "{number:.1e}"),
        }
    }
}
