//! The truth of an answer, as it turned out. The protocol knows nothing of it: this is ours.

use serde::Deserialize;
use serde_json::json;

use super::error::Error;
use crate::base::objects::from_json;
use crate::feedback::{FeedbackOutcome, PredictionId};
use crate::task::outcome::Outcome;

/// The outcome of a prediction, as `POST /v2/models/{name}/feedback` says it: `prediction_id` of the answer's
/// parameters, and one of `class`, `value` and `kpi`.
///
/// ```
/// use http::HeaderMap;
/// use switchback::model::onnx::Tensors;
/// use switchback::oip::{Feedback, Infer};
/// use switchback::{Kpi, ModelHandle, Task, closure};
///
/// let shop = ModelHandle::builder("shop")
///     .live("v1", closure("same@1", |x: &Tensors| Ok(x.clone())))
///     .task(Task::unlabelled().kpi(Kpi::rate("purchase")?))
///     .build()?;
/// let id = shop.predict(&Tensors::new())?.id();
/// let body = format!(r#"{{"prediction_id": "{id}", "kpi": {{"name": "purchase", "value": 1}}}}"#);
///
/// let (id, outcome) = Feedback::parse(body.as_bytes())?.into_parts();
/// let told = shop.feedback(id, outcome);
/// assert_eq!(Feedback::respond(&told)?, r#"{"outcome":"counted"}"#);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Feedback {
    id: PredictionId,
    outcome: Outcome,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    prediction_id: String,
    #[serde(default)]
    class: Option<u16>,
    #[serde(default)]
    value: Option<f64>,
    #[serde(default)]
    kpi: Option<Figure>,
}

/// A business figure.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Figure {
    name: String,
    value: f64,
}

impl Feedback {
    /// Reads the body of a request.
    ///
    /// # Errors
    ///
    /// Refuses what is not JSON, is no id, names a field that there is not, or says nothing or more than one thing of the
    /// prediction.
    pub fn parse(body: &[u8]) -> Result<Self, Error> {
        let said: Said = from_json(body)
            .map_err(|error| Error::new(format!("the JSON of the feedback cannot be read: {error}")))?;
        let id = said.prediction_id.parse().map_err(|_| {
            Error::new(
                "`prediction_id` is no id of a prediction: send the one in the parameters of the answer",
            )
        })?;
        let outcome = match (said.class, said.value, said.kpi) {
            (Some(class), None, None) => Outcome::class(class),
            (None, Some(value), None) => Outcome::value(value),
            (None, None, Some(Figure { name, value })) => Outcome::kpi(name, value),
            _ => return Err(Error::new("say one of `class`, `value` and `kpi` of a prediction")),
        };
        Ok(Self { id, outcome })
    }

    /// Returns the id and the outcome to hand to [`ModelHandle::feedback`](crate::ModelHandle::feedback).
    pub fn into_parts(self) -> (PredictionId, Outcome) {
        (self.id, self.outcome)
    }

    /// Returns the answer to a client: what became of the outcome.
    ///
    /// # Errors
    ///
    /// The outcome does not fit the task, or no prediction has the id.
    pub fn respond(outcome: &FeedbackOutcome) -> Result<String, Error> {
        match outcome {
            FeedbackOutcome::Refused(_) => Err(Error::new(format!("the outcome is {outcome}"))),
            FeedbackOutcome::Unknown => {
                Err(Error::new("no prediction of this model has this `prediction_id`"))
            }
            told => Ok(json!({ "outcome": told }).to_string()),
        }
    }
}
