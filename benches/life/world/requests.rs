//! What is asked, and what the versions make of it.

use std::sync::Arc;
use std::time::Duration;

use switchback::{
    Clock, Model,
    model::{Identity, ModelError},
};

use super::chance::hashed;

/// A request: who asks, when, and all that is due to chance about it, which is the same whoever answers and however often.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    pub(crate) number: u64,
    pub(crate) user: u64,
    /// Seconds since the service began.
    pub(crate) second: u64,
    pub(crate) seed: u64,
}

impl Ask {
    /// Evenly from 0 to 1: of this request, for this purpose.
    pub(crate) fn chance(&self, purpose: u64) -> f64 {
        hashed(self.seed, self.number, purpose)
    }

    /// Evenly from 0 to 1: of this user, for this purpose.
    pub(crate) fn chance_of_user(&self, purpose: u64) -> f64 {
        hashed(self.seed ^ 0x5555, self.user, purpose)
    }

    /// The user's key.
    pub(crate) fn key(&self) -> [u8; 8] {
        self.user.to_le_bytes()
    }
}

/// An answer: the probability of yes, or a list of items.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Said {
    pub(crate) yes: f64,
    pub(crate) items: Vec<u64>,
}

/// What a version makes of a request.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Reply {
    Says(Said),
    /// It is the version's fault.
    Fails,
    /// It says that it is the request's.
    Refuses,
}

impl Reply {
    pub(crate) fn yes(probability: f64) -> Self {
        Self::Says(Said { yes: probability, items: Vec::new() })
    }

    pub(crate) fn list(items: impl IntoIterator<Item = u64>) -> Self {
        Self::Says(Said { yes: 0.0, items: items.into_iter().collect() })
    }
}

/// A reply, and how long it takes.
type Behaviour = dyn Fn(&Ask) -> (Reply, Duration) + Send + Sync;

/// A version that does what it is told, and turns the clock by what it takes: once a call, for a batch as well, which takes
/// as long as the slowest of its rows.
#[derive(Clone)]
pub(crate) struct Version {
    name: String,
    clock: Clock,
    behaviour: Arc<Behaviour>,
}

/// A version of this name, which is its identity too.
pub(crate) fn version(
    name: impl Into<String>,
    clock: &Clock,
    behaviour: impl Fn(&Ask) -> (Reply, Duration) + Send + Sync + 'static,
) -> Version {
    Version { name: name.into(), clock: clock.clone(), behaviour: Arc::new(behaviour) }
}

impl Version {
    fn given(reply: Reply) -> Result<Said, ModelError> {
        match reply {
            Reply::Says(said) => Ok(said),
            Reply::Fails => Err(ModelError::engine("out of luck")),
            Reply::Refuses => Err(ModelError::input("not for me")),
        }
    }
}

impl Model<Ask, Said> for Version {
    fn predict(&self, input: &Ask) -> Result<Said, ModelError> {
        let (reply, takes) = (self.behaviour)(input);
        self.clock.advance(takes);
        Self::given(reply)
    }

    fn predict_batch(&self, inputs: &[&Ask]) -> Vec<Result<Said, ModelError>> {
        let replies: Vec<(Reply, Duration)> = inputs.iter().map(|input| (self.behaviour)(input)).collect();
        self.clock.advance(replies.iter().map(|(_, takes)| *takes).max().unwrap_or_default());
        replies.into_iter().map(|(reply, _)| Self::given(reply)).collect()
    }

    fn identity(&self) -> Identity {
        Identity::of([("version", self.name.as_bytes())])
    }
}
