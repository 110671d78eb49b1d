//! Figures as Prometheus reads them.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry;

use super::figures::measured::Measured;
use super::figures::{self, DESCRIBED, Described, Family, FigureKind, FigureValue, Unit};
use super::operator::WeakOperator;
use super::operators::NameTakenError;
use crate::base::accept;
use crate::base::ordered::OrderedSet;

/// The figures of handles for Prometheus, in the text of OpenMetrics 1.0. It holds the handles weakly: one that is gone is left
/// out.
///
/// ```
/// use switchback::operator::Prometheus;
/// # use switchback::{ModelHandle, closure};
/// # use switchback::options::Threads;
/// # let late = ModelHandle::builder("late").live("v1", closure("half@1", |x: &f64| Ok(x / 2.0))).threads(Threads::manual()).build()?;
/// let figures = Prometheus::new([late.operator().downgrade()])?;
/// late.predict(&3.0)?;
/// // Answers `GET /metrics`, by the header `Accept` of the request.
/// let page = figures.answer("application/openmetrics-text;version=1.0.0,text/plain;q=0.5");
/// assert_eq!(page.content_type, Prometheus::CONTENT_TYPE);
/// assert!(page.body.contains("switchback_requests_total{model=\"late\",version=\"v1\",mode=\"served\"} 1"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// A host that has a registry of prometheus-client registers it there, and renders it with its own:
///
/// ```
/// # use switchback::operator::Prometheus;
/// let mut registry = prometheus_client::registry::Registry::default();
/// registry.register_collector(Box::new(Prometheus::new([])?));
/// # Ok::<(), switchback::operator::NameTakenError>(())
/// ```
///
/// A page costs some 30 microseconds for each version that is loaded, and no request anything.
#[derive(Debug, Clone, Default)]
pub struct Prometheus(Vec<WeakOperator>);

/// A whole page of figures, as it is answered with.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FiguresPage {
    /// Its HTTP content type.
    pub content_type: &'static str,
    /// The page.
    pub body: String,
}

impl Prometheus {
    /// The HTTP content type of [`text`](Self::text).
    pub const CONTENT_TYPE: &'static str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

    /// The HTTP content type of [`plain_text`](Self::plain_text).
    pub const PLAIN_CONTENT_TYPE: &'static str = "text/plain; version=0.0.4; charset=utf-8";

    /// The figures of these handles.
    ///
    /// # Errors
    ///
    /// Two have one name: each series would be there twice, and Prometheus would refuse the page.
    pub fn new(operators: impl IntoIterator<Item = WeakOperator>) -> Result<Self, NameTakenError> {
        let mut seen = OrderedSet::new();
        let mut all = Vec::new();
        for operator in operators {
            if !seen.insert(operator.name().to_owned()) {
                return Err(NameTakenError { name: operator.name().to_owned() });
            }
            all.push(operator);
        }
        Ok(Self(all))
    }

    /// The figures of handles that are known to have a name each.
    #[cfg(feature = "admin")]
    pub(crate) fn of_distinct(operators: impl IntoIterator<Item = WeakOperator>) -> Self {
        Self(operators.into_iter().collect())
    }

    /// The answer to `GET /metrics`. `accept` is the request's header of that name, empty
    /// where it has none. It is in OpenMetrics for whoever names that as welcome no less than plain text, and in the older
    /// format for everybody else, `*/*` too.
    pub fn answer(&self, accept: &str) -> FiguresPage {
        let open = welcome(accept, "application/openmetrics-text");
        if open > 0.0 && open >= welcome(accept, "text/plain") {
            FiguresPage { content_type: Self::CONTENT_TYPE, body: self.text() }
        } else {
            FiguresPage { content_type: Self::PLAIN_CONTENT_TYPE, body: self.plain_text() }
        }
    }

    /// A whole page.
    pub fn text(&self) -> String {
        self.fragment() + "# EOF\n"
    }

    /// A whole page in the older text format, for whoever does not accept OpenMetrics: there what a counter is stands under its
    /// whole name, and without that it has neither a help nor a type.
    pub fn plain_text(&self) -> String {
        let mut page = String::new();
        for line in self.fragment().lines() {
            let mut words = line.splitn(4, ' ');
            match (words.next(), words.next(), words.next(), words.next()) {
                (Some("#"), Some("UNIT"), ..) => {}
                (Some("#"), Some(says), Some(name), Some(said)) if is_counter(name) => {
                    page.extend(["# ", says, " ", name, "_total ", said, "\n"]);
                }
                _ => page.extend([line, "\n"]),
            }
        }
        page
    }

    /// A page without its end, to put before or behind one of the host's own in OpenMetrics.
    pub fn fragment(&self) -> String {
        let mut registry = registry::Registry::default();
        registry.register_collector(Box::new(self.clone()));
        let mut page = String::new();
        // Writing to a text does not fail.
        let _ = prometheus_client::encoding::text::encode_registry(&mut page, &registry);
        page
    }
}

impl Collector for Prometheus {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let there = self.0.iter().filter_map(WeakOperator::upgrade);
        let measured: Vec<Measured> = there.map(|operator| operator.measured()).collect();
        figures::families(&measured).iter().try_for_each(|family| encode(family, &mut encoder))
    }
}

/// How welcome a media type is, 0 where it is not named. The best of those that differ in their parameters.
fn welcome(accept: &str, kind: &str) -> f64 {
    let of_kind = accept::welcome(accept).filter(|(named, _)| named.eq_ignore_ascii_case(kind));
    of_kind.map(|(_, weight)| weight).fold(0.0, f64::max)
}

/// Whether a counter is called so but for its `_total`.
fn is_counter(name: &str) -> bool {
    let whole = |figure: &Described| figure.name.strip_suffix("_total") == Some(name);
    DESCRIBED.iter().any(|figure| figure.kind == FigureKind::Counter && whole(figure))
}

fn encode(family: &Family, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    // Units and `_total` are put behind the name by whoever encodes it.
    let unit = match family.unit {
        Unit::None => None,
        Unit::Seconds => Some(registry::Unit::Seconds),
        Unit::Bytes => Some(registry::Unit::Bytes),
        Unit::Ratio => Some(registry::Unit::Other("ratio".into())),
    };
    let name = family.name.strip_suffix("_total").unwrap_or(family.name);
    let ending = unit.as_ref().map(|unit| format!("_{}", unit.as_str()));
    let name = ending.as_deref().and_then(|ending| name.strip_suffix(ending)).unwrap_or(name);
    let kind = match family.kind {
        FigureKind::Counter => MetricType::Counter,
        // What only says something is a gauge of 1: the older format has no word for it.
        FigureKind::Gauge | FigureKind::Info => MetricType::Gauge,
        FigureKind::Histogram => MetricType::Histogram,
    };
    let mut metric = encoder.encode_descriptor(name, family.help, unit.as_ref(), kind)?;
    for sample in &family.samples {
        let labels: Vec<(&str, &str)> =
            sample.labels.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let mut one = metric.encode_family(&labels)?;
        match (&sample.value, family.kind) {
            (FigureValue::Number(number), FigureKind::Counter) => {
                one.encode_counter::<NoLabelSet, u64, f64>(&(*number as u64), None)?;
            }
            (FigureValue::Number(number), _) => one.encode_gauge(number)?,
            (FigureValue::Histogram { buckets, sum, count }, _) => {
                let buckets: Vec<_> = buckets.iter().map(|bucket| (bucket.at_most, bucket.count)).collect();
                one.encode_histogram::<NoLabelSet>(*sum, *count, &buckets, None)?;
            }
        }
    }
    Ok(())
}
