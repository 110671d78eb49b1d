//! One session of ONNX Runtime with the memory that is bound to it.

use ort::memory::Allocator;
use ort::session::{
    HasSelectedOutputs, IoBinding, OutputSelector, RunOptions, SessionInputValue, SessionOutputs,
};
use ort::value::{DynTensor, DynValue, TensorElementType, ValueType};

use super::deadline::{Deadline, Watches, options_that_shrink, quiet_options};
use super::trace::Trace;
use crate::model::error::ModelError;
use crate::model::onnx::tensor::feed::{Buffers, Feed, engine, owned};
use crate::model::onnx::tensor::interface::Interface;
use crate::model::onnx::tensor::outputs::{Outputs, copied};
use crate::model::onnx::tensor::tensors::Tensors;

/// A session, its buffers, and, once shapes repeat, places for its outputs too.
///
/// Inputs and outputs that stay in place are what makes small models fast: nothing is made for a run and nothing freed
/// after it. Where `Session::run` takes 3.8 us with a view for its input, a binding takes 3.0 us and options that name
/// the places of the outputs 2.6 us (a model of two operators; 27,300, 20,900 and 18,700 instructions).
pub(crate) struct Session {
    session: ort::session::Session,
    buffers: Buffers,
    bound: Bound,
    grown: Grown,
    /// The outputs that it is run for, where those are not all; the same where it is to shrink after the run.
    chosen: Option<[RunOptions<HasSelectedOutputs>; 2]>,
    /// Set while ONNX Runtime runs; still set after a panic in there, and then for good.
    is_inside: bool,
}

/// The amount that a session may have grown by. ONNX Runtime keeps what a run needed, for the next one like it; after a
/// batch that was far larger than what usually comes that is memory which nobody uses, 338 MB a session as was seen.
struct Grown {
    /// Bytes of the inputs of the usual run: an average that forgets.
    usual: usize,
    /// Of the largest run since the session last shrank.
    largest: usize,
    /// It shrank when the outputs of that run were still in use, so it does once more after the next.
    again: bool,
    /// Whether ONNX Runtime can hand memory back: not where a host's own session options keep it from having an arena.
    shrinks: bool,
}

/// Inputs of less than this leave nothing behind that is worth a call.
const LARGE: usize = 1 << 20;

/// A run counts as far larger than the usual one from this many times on. One of ten that is larger makes what is usual, and what
/// it needs is kept.
const FAR_LARGER: usize = 16;

/// How many runs the usual one is an average of, more or less.
const RUNS_REMEMBERED: usize = 64;

impl Grown {
    fn new(shrinks: bool) -> Self {
        Self { usual: 0, largest: 0, again: false, shrinks }
    }

    /// Notes a run, and says whether the session is to shrink after it.
    fn note(&mut self, bytes: usize) -> bool {
        self.largest = self.largest.max(bytes);
        // Nothing is usual before the first.
        let is_far_larger =
            self.largest >= LARGE && self.usual > 0 && self.largest / FAR_LARGER >= self.usual;
        self.usual = match self.usual {
            0 => bytes,
            usual => usual - usual / RUNS_REMEMBERED + bytes / RUNS_REMEMBERED,
        }
        .max(1);
        if is_far_larger {
            self.largest = 0;
        }
        let again = std::mem::replace(&mut self.again, is_far_larger);
        (is_far_larger || again) && self.shrinks
    }
}

/// Inputs and outputs in fixed places.
enum Bound {
    /// Not yet: so many runs of the same shapes have been seen.
    After(u32),
    Ready(Box<Places>),
    /// The shape of an output depends on more than the shapes of the inputs, an output is no tensor, or it is one of the inputs:
    /// ONNX Runtime hands on what was fed, and writes nothing to a place of its own.
    Never,
}

/// The places of the outputs, in two forms.
struct Places {
    /// For runs without a deadline.
    options: RunOptions<HasSelectedOutputs>,
    /// For runs with one. Options that name outputs belong to one thread, so that no other could stop the run.
    binding: IoBinding,
}

/// The conditions that one call runs under.
pub(crate) struct Call<'c> {
    pub(crate) interface: &'c Interface,
    pub(crate) watches: &'c Watches,
    pub(crate) slot: usize,
    pub(crate) deadline: Option<Deadline>,
}

/// Runs of the same shapes after which they are taken to repeat.
const REPEATS: u32 = 2;

/// The largest outputs, all of one session, that are kept in memory between runs. What binding saves is lost in the
/// run time of a model that gives more.
const BOUND_BYTES_MAX: usize = 1 << 16;

impl Session {
    /// `shrinks` says whether ONNX Runtime can hand back memory between runs.
    pub(crate) fn new(
        session: ort::session::Session,
        interface: &Interface,
        shrinks: bool,
    ) -> ort::Result<Self> {
        let buffers = Buffers::new(interface)?;
        let chosen = if interface.is_selective() {
            let outputs = || chosen(interface);
            Some([quiet_options()?.with_outputs(outputs()), options_that_shrink()?.with_outputs(outputs())])
        } else {
            None
        };
        let is_fed = |name: &str| interface.inputs.iter().any(|input| *input.name == *name);
        let bound =
            if interface.asked().any(|port| is_fed(&port.name)) { Bound::Never } else { Bound::After(0) };
        let grown = Grown::new(shrinks);
        Ok(Self { session, buffers, bound, grown, chosen, is_inside: false })
    }

    /// Whether a panic inside ONNX Runtime has left it in a state that nobody knows.
    pub(crate) fn is_broken(&self) -> bool {
        self.is_inside
    }

    /// Runs the model once: `encode` gives its inputs, `decode` reads its outputs.
    pub(crate) fn answer<'i, R>(
        &mut self,
        call: &Call<'_>,
        encode: impl FnOnce(&mut Feed<'_, 'i>) -> Result<(), ModelError>,
        decode: impl FnOnce(&Outputs<'_>) -> Result<R, ModelError>,
    ) -> Result<R, ModelError> {
        let mut feed = Feed::new(call.interface, &mut self.buffers);
        encode(&mut feed)?;
        let given = feed.finish()?;
        let shrink = self.grown.note(given.bytes);
        if given.is_all_buffers() && !shrink {
            return self.answer_from_buffers(call, decode);
        }
        let Self { session, buffers, chosen, is_inside, .. } = self;
        let (values, chosen) = (given.with(buffers), chosen.as_ref());
        call.run_for(session, chosen, is_inside, &values, shrink, |outputs| decode(&outputs))?
    }

    /// Runs the model once, and keeps what went in and what came out.
    pub(crate) fn trace<'i, R>(
        &mut self,
        call: &Call<'_>,
        encode: impl FnOnce(&mut Feed<'_, 'i>) -> Result<(), ModelError>,
        decode: impl FnOnce(&Outputs<'_>) -> Result<R, ModelError>,
    ) -> Result<Trace<R>, ModelError> {
        let mut feed = Feed::new(call.interface, &mut self.buffers);
        encode(&mut feed)?;
        let given = feed.finish()?;
        let Self { session, buffers, chosen, is_inside, .. } = self;
        let values = given.with(buffers);
        let names = call.interface.inputs.iter().map(|input| input.name.clone());
        let inputs = names.zip(&values).map(|(name, value)| Ok((name, copied(value).map_err(engine)?)));
        let inputs = Tensors::of_ports(inputs.collect::<Result<_, ModelError>>()?);
        call.run_for(session, chosen.as_ref(), is_inside, &values, false, |outputs| {
            Ok(Trace::new(inputs, outputs.to_tensors()?, decode(&outputs)))
        })?
    }

    fn answer_from_buffers<R>(
        &mut self,
        call: &Call<'_>,
        decode: impl FnOnce(&Outputs<'_>) -> Result<R, ModelError>,
    ) -> Result<R, ModelError> {
        let Self { session, buffers, bound, chosen, is_inside, .. } = self;
        let (interface, options) = (call.interface, call.options(false));
        if std::mem::take(&mut buffers.replaced) && !matches!(bound, Bound::Never) {
            *bound = Bound::After(0);
        }
        let mut was_bound = false;
        if let Bound::Ready(places) = bound {
            let Places { options: places, binding } = &**places;
            let outcome = match call.deadline {
                None => call.run(is_inside, || session.run_with_options(&buffers.values[..], places)),
                Some(_) => call.run(is_inside, || session.run_binding_with_options(binding, options)),
            };
            match outcome {
                Ok(outputs) => return decode(&Outputs::new(interface, outputs)),
                Err(error @ ModelError::Deadline { .. }) => return Err(error),
                // Perhaps only because an output has another shape this time: it is run again to find out.
                Err(_) => was_bound = true,
            }
        }
        let (answer, to_bind) =
            call.run_for(session, chosen.as_ref(), is_inside, &buffers.values, false, |outputs| {
                let to_bind = match bound {
                    Bound::After(runs) if *runs < REPEATS => {
                        *runs += 1;
                        None
                    }
                    Bound::After(_) => Some(shapes_to_bind(outputs.values())),
                    _ => None,
                };
                if was_bound {
                    *bound = Bound::Never;
                }
                (decode(&outputs), to_bind)
            })?;
        if let Some(shapes) = to_bind {
            let places = shapes.and_then(|shapes| bind(session, interface, buffers, &shapes).ok());
            *bound = places.map_or(Bound::Never, |places| Bound::Ready(Box::new(places)));
        }
        answer
    }
}

impl Call<'_> {
    fn options(&self, shrink: bool) -> &RunOptions {
        self.watches.options(self.slot, shrink)
    }

    /// Runs a session for the outputs that are wanted: those that are chosen, or else all.
    fn run_for<R>(
        &self,
        session: &mut ort::session::Session,
        chosen: Option<&[RunOptions<HasSelectedOutputs>; 2]>,
        is_inside: &mut bool,
        values: &[SessionInputValue<'_>],
        shrink: bool,
        read: impl FnOnce(Outputs<'_>) -> R,
    ) -> Result<R, ModelError> {
        let (interface, options) = (self.interface, self.options(shrink));
        match (chosen, self.deadline) {
            (None, _) => {
                let outputs = self.run(is_inside, || session.run_with_options(values, options))?;
                Ok(read(Outputs::new(interface, outputs)))
            }
            (Some([plain, shrinking]), None) => {
                let chosen = if shrink { shrinking } else { plain };
                let outputs = self.run(is_inside, || session.run_with_options(values, chosen))?;
                Ok(read(Outputs::new(interface, outputs)))
            }
            // Options that name outputs belong to one thread, so that no other could stop the run.
            (Some(_), Some(_)) => {
                let allocator = Allocator::default();
                let memory = allocator.memory_info();
                let mut binding = session.create_binding().map_err(engine)?;
                for (input, value) in interface.inputs.iter().zip(values) {
                    // ort copies what is borrowed by a session that copies what is borrowed, and waits for itself for ever.
                    let bound = match value {
                        SessionInputValue::Owned(value) => binding.bind_input(&*input.name, value),
                        borrowed => binding.bind_input(&*input.name, &owned(&allocator, borrowed)?),
                    };
                    bound.map_err(engine)?;
                }
                for port in interface.asked() {
                    binding.bind_output_to_device(&*port.name, memory).map_err(engine)?;
                }
                let outputs = self.run(is_inside, || session.run_binding_with_options(&binding, options))?;
                Ok(read(Outputs::new(interface, outputs)))
            }
        }
    }

    fn run<'o>(
        &self,
        is_inside: &mut bool,
        run: impl FnOnce() -> ort::Result<SessionOutputs<'o>>,
    ) -> Result<SessionOutputs<'o>, ModelError> {
        let Some(deadline) = self.deadline else {
            return inside(is_inside, run).map_err(engine);
        };
        if deadline.left().is_zero() {
            return Err(ModelError::Deadline { limit: deadline.limit });
        }
        let watched = self.watches.begin(self.slot, deadline);
        match inside(is_inside, run) {
            Err(_) if watched.is_stopped() => Err(ModelError::Deadline { limit: deadline.limit }),
            outcome => outcome.map_err(engine),
        }
    }
}

#[inline]
fn inside<T>(is_inside: &mut bool, run: impl FnOnce() -> T) -> T {
    *is_inside = true;
    let outcome = run();
    *is_inside = false;
    outcome
}

/// The outputs that a session is run for, and no other.
fn chosen(interface: &Interface) -> OutputSelector {
    interface.asked().fold(OutputSelector::no_default(), |outputs, port| outputs.with(&*port.name))
}

type Shapes = Vec<(TensorElementType, Vec<i64>)>;

/// The shapes that these outputs have; nothing where they are not to be bound.
fn shapes_to_bind(outputs: &SessionOutputs<'_>) -> Option<Shapes> {
    let mut bytes = 0_usize;
    let mut shape_of = |output: &DynValue| match output.dtype() {
        ValueType::Tensor { ty, shape, .. } => {
            bytes = bytes.saturating_add(ty.byte_size(shape.num_elements())?); // texts have no size
            (bytes <= BOUND_BYTES_MAX).then(|| (*ty, shape.to_vec()))
        }
        _ => None,
    };
    outputs.values().map(|output| shape_of(&output)).collect()
}

fn bind(
    session: &ort::session::Session,
    interface: &Interface,
    buffers: &Buffers,
    shapes: &Shapes,
) -> ort::Result<Places> {
    let mut binding = session.create_binding()?;
    for (input, buffer) in interface.inputs.iter().zip(&buffers.values) {
        binding.bind_input(&*input.name, buffer)?;
    }
    let mut outputs = if interface.is_selective() { chosen(interface) } else { OutputSelector::default() };
    let allocator = Allocator::default();
    for (output, (element, shape)) in interface.asked().zip(shapes) {
        let mut place = DynTensor::new(&allocator, *element, &shape[..])?;
        binding.bind_output(&*output.name, &mut place)?;
        outputs = outputs.preallocate(&*output.name, place);
    }
    Ok(Places { options: quiet_options()?.with_outputs(outputs), binding })
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::time::Duration;

    use super::*;
    use crate::model::model::Model;
    use crate::model::onnx::OnnxModel;
    use crate::model::onnx::Tensors;

    /// Whether runs with inputs of these sizes make a session shrink.
    fn shrinks(sizes: impl IntoIterator<Item = usize>) -> Vec<bool> {
        let mut grown = Grown::new(true);
        sizes.into_iter().map(|bytes| grown.note(bytes)).collect()
    }

    #[test]
    fn a_session_shrinks_after_what_is_far_larger_than_usual_and_keeps_what_comes_again() {
        const BATCH: usize = 64 << 20;
        let count = |shrinks: &[bool]| shrinks.iter().filter(|shrinks| **shrinks).count();
        assert_eq!(count(&shrinks([BATCH; 100])), 0, "what always comes");
        assert_eq!(count(&shrinks([100, LARGE - 1, 100])), 0, "what is not worth a call");
        let once = shrinks([100, 100, BATCH, 100, 100]);
        assert_eq!(once, [false, false, true, true, false], "its outputs are in use until it is over");
        let tenth = shrinks((0..1_000).map(|run| if run % 10 == 0 { BATCH } else { 100 }));
        assert_eq!(count(&tenth), 0, "one in ten is usual");
        let rarely = shrinks((0..10_000).map(|run| if run % 1_000 == 999 { BATCH } else { 100 }));
        assert_eq!(count(&rarely), 2 * 10 - 1);
        let phase = shrinks((0..1_000).map(|run| if (100..200).contains(&run) { BATCH } else { 100 }));
        assert!(count(&phase[100..110]) <= 6 && count(&phase[110..200]) == 0, "until they are usual");
        assert_eq!(count(&phase[200..]), 2, "and once when they have stopped to come");
    }

    #[test]
    fn a_session_that_panicked_inside_is_replaced_by_whoever_maintains_and_never_asked_again() {
        let bytes = &include_bytes!("../../../../tests/models/constant.onnx")[..];
        let model = OnnxModel::from_bytes("constant", bytes).unwrap().pool_size(1).max_wait(Duration::ZERO);
        model.load().unwrap();
        assert_eq!(model.replenish().unwrap(), 0);
        for mut lease in model.leases() {
            let run = || {
                inside(&mut lease.worker.session.as_mut().unwrap().is_inside, || {
                    panic!("as ort does over an optional output")
                })
            };
            assert!(catch_unwind(AssertUnwindSafe(run)).is_err());
        }
        assert!(matches!(model.predict(&Tensors::new()), Err(ModelError::Overloaded { .. })));
        assert_eq!(model.replenish().unwrap(), 1);
        assert!(model.predict(&Tensors::new()).is_ok());
    }
}
