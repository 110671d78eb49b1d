//! An ONNX model behind the host's own types of request and answer.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use semver::Version;

use super::codec::Codec;
use super::onnx_model::OnnxModel;
use super::session::deadline::Deadline;
use super::session::trace::Trace;
use super::tensor::feed::Feed;
use super::tensor::outputs::Outputs;
use crate::base::guarded::guarded;
use crate::model::description::Description;
use crate::model::error::{InputError, LoadError, ModelError};
use crate::model::identity::Identity;
use crate::model::lifecycle::Lifecycle;
use crate::model::model::{Model, one_by_one};
use crate::model::throttle::LoadThrottle;

/// An [`OnnxModel`] with what makes tensors of a request `I`, and an answer `O` of tensors: see
/// [`OnnxModel::pipeline`].
pub struct Pipeline<I: ?Sized, O> {
    model: OnnxModel,
    spec: String,
    parsed: Result<(String, Version), String>,
    codec: Codec<I, O>,
    /// Whether what it wrote has fitted the model once: another shape is a request's doing from then on.
    has_fitted: AtomicBool,
}

impl OnnxModel {
    /// Makes it a model of the host's own types: `encode` writes a request into tensors, `decode` reads an answer from
    /// them. The two belong to the version as much as its file does, so a swap moves them together.
    ///
    /// An `encode` that writes what the model does not take fails with [`ModelError::Signature`]: an input that the model does
    /// not have, of another type, one that is missing, or of a shape that does not fit while none has fitted yet. That is the
    /// version's fault. Of a request it says that it is bad with [`ModelError::input`]; once a request has fitted, one with
    /// another shape is bad too.
    ///
    /// `spec` names them, with a version, `"amount-only@1.2"` (parts that are left out are 0), and is part of the
    /// identity: raise it whenever `encode` or `decode` changes. One that does not parse is reported by
    /// [`load`](Pipeline::load), as [`LoadError::Option`].
    ///
    /// Functions and closures will do. A closure's parameters need their types spelled out, and one that passes memory of
    /// the request is written in the call itself, from where the compiler learns how its lifetimes belong together.
    ///
    /// ```
    /// use switchback::model::onnx::{Feed, OnnxModel, Outputs};
    /// use switchback::{model::ModelError, Model};
    ///
    /// struct Point { x: f32, y: f32, z: f32 }
    ///
    /// fn encode(point: &Point, feed: &mut Feed<'_, '_>) -> Result<(), ModelError> {
    ///     feed.buffer("x", &[1, 3])?.copy_from_slice(&[point.x, point.y, point.z]);
    ///     Ok(())
    /// }
    ///
    /// fn decode(outputs: &Outputs<'_>) -> Result<f32, ModelError> {
    ///     outputs.scalar("y")
    /// }
    ///
    /// let model = OnnxModel::from_file("tests/models/affine.onnx")?.pipeline("plain@1.0", encode, decode);
    /// model.load()?;
    /// assert_eq!(model.predict(&Point { x: 1.0, y: 2.0, z: 3.0 })?, 14.5);
    ///
    /// // Memory of the request is passed without a copy, and requests may be unsized.
    /// let model = OnnxModel::from_file("tests/models/affine.onnx")?.pipeline(
    ///     "rows@2.1",
    ///     |rows: &[f32], feed: &mut Feed<'_, '_>| feed.slice("x", &[rows.len() / 3, 3], rows),
    ///     |outputs: &Outputs<'_>| Ok(outputs.tensor::<f32>("y")?.1.to_vec()),
    /// );
    /// model.load()?;
    /// assert_eq!(model.predict(&[1.0, 2.0, 3.0, 0.0, 0.0, 0.0][..])?, [14.5, 0.5]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn pipeline<I, O, E, D>(self, spec: &str, encode: E, decode: D) -> Pipeline<I, O>
    where
        I: ?Sized,
        E: for<'a> Fn(&'a I, &mut Feed<'_, 'a>) -> Result<(), ModelError> + Send + Sync + 'static,
        D: Fn(&Outputs<'_>) -> Result<O, ModelError> + Send + Sync + 'static,
    {
        Pipeline::new(self, spec, encode, decode)
    }
}

impl<I: ?Sized, O> Pipeline<I, O> {
    fn new<E, D>(model: OnnxModel, spec: &str, encode: E, decode: D) -> Self
    where
        E: for<'a> Fn(&'a I, &mut Feed<'_, 'a>) -> Result<(), ModelError> + Send + Sync + 'static,
        D: Fn(&Outputs<'_>) -> Result<O, ModelError> + Send + Sync + 'static,
    {
        Self {
            model,
            spec: spec.to_owned(),
            parsed: parsed(spec),
            codec: Codec::new(encode, decode),
            has_fitted: AtomicBool::new(false),
        }
    }

    /// Answers requests that come [together](crate::requests::Request::batch) in one run of the model, whose inputs have a row for
    /// each: a run of 64 rows costs a small model little more than a run of one (`docs/costs.md`). Without it each request is a run of its own.
    ///
    /// `encode` writes all of them, in their order; `decode` gives as many answers, in that order. They are part of the pipeline
    /// as the other two are: raise its version when they change. `testing::conformance` (feature `testing`) holds the answers of
    /// a batch against those of each alone. A run has as many rows as the host has put together, so a host with large batches
    /// cuts them as memory and candidates' deadlines want it.
    ///
    /// Where the run together fails, be it that one request is bad, that the model takes one row alone, or that it panics,
    /// each is asked by itself: the others have their answers, and the one at fault its own error. Where no session was free
    /// in time none is asked again. Another number of answers than of requests is a failure of all of them.
    ///
    /// ```
    /// use switchback::model::onnx::{Feed, OnnxModel, Outputs};
    /// use switchback::ModelHandle;
    ///
    /// let model = OnnxModel::from_file("tests/models/affine.onnx")?
    ///     .pipeline(
    ///         "plain@1.0",
    ///         |row: &[f32; 3], feed: &mut Feed<'_, '_>| feed.slice("x", &[1, 3], row),
    ///         |outputs: &Outputs<'_>| outputs.scalar::<f32>("y"),
    ///     )
    ///     .in_rows(
    ///         |rows: &[&[f32; 3]], feed: &mut Feed<'_, '_>| {
    ///             let all = feed.buffer("x", &[rows.len(), 3])?;
    ///             all.chunks_exact_mut(3).zip(rows).for_each(|(place, row)| place.copy_from_slice(*row));
    ///             Ok(())
    ///         },
    ///         |outputs: &Outputs<'_>| Ok(outputs.tensor::<f32>("y")?.1.to_vec()),
    ///     );
    /// let handle = ModelHandle::builder("prices").live("v1", model).build()?;
    ///
    /// let answers = handle.request().batch(&[[1.0, 2.0, 3.0], [0.0, 0.0, 0.0]]); // one run
    /// let answers: Vec<f32> = answers.into_iter().map(|answer| *answer.unwrap().output()).collect();
    /// assert_eq!(answers, [14.5, 0.5]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn in_rows<E, D>(mut self, encode: E, decode: D) -> Self
    where
        E: for<'a> Fn(&[&'a I], &mut Feed<'_, 'a>) -> Result<(), ModelError> + Send + Sync + 'static,
        D: Fn(&Outputs<'_>) -> Result<Vec<O>, ModelError> + Send + Sync + 'static,
    {
        self.codec.in_rows(encode, decode);
        self
    }

    /// With a name and a version that have been read before, and closures that others may share.
    #[cfg(feature = "repository")]
    pub(crate) fn of(model: OnnxModel, name: &str, version: &Version, codec: Codec<I, O>) -> Self {
        let spec = format!("{name}@{version}");
        let parsed = Ok((name.to_owned(), version.clone()));
        Self { model, spec, parsed, codec, has_fitted: AtomicBool::new(false) }
    }

    /// Loads the model for use on its own; a handle loads what it is given. Called again, it does nothing.
    ///
    /// # Errors
    ///
    /// See [`LoadError`]; the model may be asked to load again.
    pub fn load(&self) -> Result<(), LoadError> {
        Lifecycle::load(self, &LoadThrottle::new())
    }

    /// The model inside.
    pub fn model(&self) -> &OnnxModel {
        &self.model
    }

    /// The pipeline's name and version; nothing where they do not parse, which [`load`](Self::load) reports.
    pub fn spec(&self) -> Option<(&str, &Version)> {
        self.parsed.as_ref().ok().map(|(name, version)| (name.as_str(), version))
    }

    /// Answers one request and keeps what it became on the way: the tensors that `encode` wrote and those that the model
    /// gave, copied. For checks and for recording samples; it takes the slower way of running a session, and copies.
    ///
    /// ```
    /// use switchback::model::onnx::{Feed, OnnxModel, Outputs};
    /// use switchback::model::onnx::ndarray::array;
    /// use switchback::Model;
    ///
    /// let model = OnnxModel::from_file("tests/models/affine.onnx")?.pipeline(
    ///     "ages@1.0",
    ///     |age: &f32, feed: &mut Feed<'_, '_>| Ok(feed.buffer("x", &[1, 3])?[0] = *age),
    ///     |outputs: &Outputs<'_>| outputs.scalar::<f32>("y"),
    /// );
    /// model.load()?;
    /// let trace = model.trace(&31.0)?;
    /// assert_eq!(trace.inputs.get("x"), Some(&array![[31.0_f32, 0.0, 0.0]].into_dyn()));
    /// assert_eq!(trace.outputs.get("y"), Some(&array![[31.5_f32]].into_dyn()));
    /// assert_eq!(trace.answer?, 31.5);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Where `encode` or the model fails. A failure of `decode` is the trace's [`answer`](Trace::answer), since there are
    /// tensors to look at.
    pub fn trace(&self, input: &I) -> Result<Trace<O>, ModelError> {
        self.model.trace(|feed| self.encode(input, feed), |outputs| self.codec.decode(outputs))
    }

    fn ask(&self, input: &I, deadline: Option<Deadline>) -> Result<O, ModelError> {
        self.model.ask(deadline, |feed| self.encode(input, feed), |outputs| self.codec.decode(outputs))
    }

    /// Answers several requests in one run. Nothing where each is to be asked by itself: there are no functions for that, or
    /// one of them, or the model, has failed on some of them, nobody knows which.
    fn ask_together<'i>(&self, inputs: &[&'i I]) -> Option<Vec<Result<O, ModelError>>> {
        let rows = self.codec.rows().filter(|_| inputs.len() > 1)?;
        let encode = |feed: &mut Feed<'_, 'i>| self.written(feed, |feed| rows.encode(inputs, feed));
        let asked = guarded(|| self.model.ask(None, encode, |outputs| rows.decode(outputs)));
        match asked.map_err(ModelError::from).flatten() {
            Ok(answers) => Some(answers.into_iter().map(Ok).collect()),
            // Asked by itself each would wait as long again, in vain.
            Err(error @ (ModelError::Overloaded { .. } | ModelError::NotLoaded)) => {
                Some(inputs.iter().map(|_| Err(error.clone())).collect())
            }
            Err(_) => None,
        }
    }

    /// Has `encode` write a request, and tells whose fault it is where that does not fit the model.
    #[inline]
    fn encode<'a>(&self, input: &'a I, feed: &mut Feed<'_, 'a>) -> Result<(), ModelError> {
        self.written(feed, |feed| self.codec.encode(input, feed))
    }

    #[inline]
    fn written<'b, 'a>(
        &self,
        feed: &mut Feed<'b, 'a>,
        write: impl FnOnce(&mut Feed<'b, 'a>) -> Result<(), ModelError>,
    ) -> Result<(), ModelError> {
        write(feed).map_err(|error| self.whose(error))?;
        feed.complete().map_err(|error| self.whose(error.into()))?;
        if !self.has_fitted.load(Ordering::Relaxed) {
            self.has_fitted.store(true, Ordering::Relaxed);
            self.codec.fitted(feed);
        }
        Ok(())
    }

    /// Names and types are the pipeline's alone. A shape may be the request's, once there was a request whose shape fitted.
    #[cold]
    fn whose(&self, error: ModelError) -> ModelError {
        let is_requests = |found: &InputError| match found {
            InputError::Refused { .. } => true,
            InputError::Shape { .. } => self.has_fitted.load(Ordering::Relaxed),
            _ => false,
        };
        match error {
            ModelError::Input(error) if !is_requests(&error) => {
                ModelError::Signature { cause: Box::new(error) }
            }
            error => error,
        }
    }
}

impl<I: ?Sized, O> Model<I, O> for Pipeline<I, O> {
    fn predict(&self, input: &I) -> Result<O, ModelError> {
        self.ask(input, None)
    }

    fn predict_within(&self, input: &I, limit: Duration) -> Result<O, ModelError> {
        self.ask(input, Some(Deadline::after(limit)))
    }

    fn predict_batch(&self, inputs: &[&I]) -> Vec<Result<O, ModelError>> {
        self.ask_together(inputs).unwrap_or_else(|| one_by_one(self, inputs))
    }

    fn identity(&self) -> Identity {
        let (name, version) = match &self.parsed {
            Ok((name, version)) => (name.as_str(), version.to_string()),
            Err(_) => (self.spec.as_str(), String::new()),
        };
        self.model.identity_with(&[("pipeline", name.as_bytes()), ("pipeline version", version.as_bytes())])
    }

    fn lifecycle(&self) -> Option<&dyn Lifecycle> {
        Some(self)
    }
}

/// That of the model inside. [`warm_up`](Lifecycle::warm_up) runs the model's sessions, not the pipeline.
impl<I: ?Sized, O> Lifecycle for Pipeline<I, O> {
    fn inner(&self) -> Option<&dyn Lifecycle> {
        Some(&self.model)
    }

    fn load(&self, throttle: &LoadThrottle) -> Result<(), LoadError> {
        if let Err(cause) = &self.parsed {
            return Err(LoadError::Option { option: "pipeline", cause: cause.clone() });
        }
        Lifecycle::load(&self.model, throttle)
    }

    fn description(&self) -> Description {
        let pipeline = match self.spec() {
            Some((name, version)) => format!("{name}@{version}"),
            None => self.spec.clone(),
        };
        Description { pipeline: Some(pipeline), ..self.model.description() }
    }
}

impl<I: ?Sized, O> fmt::Debug for Pipeline<I, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipeline")
            .field("spec", &self.spec)
            .field("model", &self.model)
            .finish_non_exhaustive()
    }
}

/// `name@1.2.3`, parts of the version that are left out being 0.
fn parsed(spec: &str) -> Result<(String, Version), String> {
    let wrong = |what: &str| format!("`{spec}` {what}: write it like `amount-only@1.2`");
    let (name, version) = spec.rsplit_once('@').ok_or_else(|| wrong("has no version"))?;
    if name.trim().is_empty() {
        return Err(wrong("has no name"));
    }
    match version_of(version) {
        Ok(version) => Ok((name.to_owned(), version)),
        Err(error) => Err(wrong(&format!("has a version that does not parse ({error})"))),
    }
}

/// `1.2.3`, parts that are left out being 0.
pub(crate) fn version_of(text: &str) -> Result<Version, semver::Error> {
    let padding = match text.bytes().filter(|&byte| byte == b'.').count() {
        0 => ".0.0",
        1 => ".0",
        _ => "",
    };
    Version::parse(&format!("{text}{padding}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_version_that_are_left_out_are_zero() {
        for (spec, version) in
            [("a@1", "1.0.0"), ("a@1.2", "1.2.0"), ("a@1.2.3", "1.2.3"), ("a@1.2.3-rc.1", "1.2.3-rc.1")]
        {
            assert_eq!(parsed(spec), Ok(("a".to_owned(), version.parse().unwrap())), "{spec}");
        }
        assert_eq!(parsed("host@home@2").unwrap().0, "host@home");
    }

    #[test]
    fn a_spec_without_name_or_version_is_refused() {
        for spec in ["", "a", "@1.0", " @1", "a@", "a@x", "a@1.2.3.4", "a@-1", "a@1..2"] {
            assert!(parsed(spec).is_err_and(|cause| cause.contains(spec)), "{spec}");
        }
    }
}
