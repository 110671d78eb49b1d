//! The life that the tests of each engine show.

use std::borrow::Borrow;
use std::fmt::Debug;

use switchback::options::{Inputs, Threads};
use switchback::{Clock, Model, ModelHandle, RollbackOutcome, Task, Timestamp};

/// A second version is staged, asked for half of the requests, promoted and taken back. Each answer is that of the version
/// that it names, and the two versions differ on some input.
pub(crate) fn life<I, O>(
    first: impl Model<I, O> + 'static,
    second: impl Model<I, O> + 'static,
    task: Task<O>,
    inputs: &[impl Borrow<I> + Clone + Send + Sync + 'static],
) where
    I: ?Sized + Send + Sync + 'static,
    O: Clone + Debug + PartialEq + Send + Sync + 'static,
{
    let handle = ModelHandle::builder("of-another-engine")
        .live("v1", first)
        .task(task)
        .inputs(Inputs::new().sample(inputs[0].clone()))
        .threads(Threads::manual())
        .clock(Clock::manual(Timestamp::from_unix_seconds(1_700_000_000)))
        .seed(1)
        .build()
        .unwrap();
    let ask = |input: &I| {
        let answer = handle.predict(input).unwrap();
        (answer.version().to_string(), answer.into_output())
    };
    let all = |version: &str| {
        let answer = |input| {
            let (by, answer) = ask(input);
            assert_eq!(by, version);
            answer
        };
        inputs.iter().map(|input| answer(input.borrow())).collect::<Vec<_>>()
    };

    let of_first = all("v1");
    let rollout = handle.stage("v2", second).unwrap();
    assert_eq!(all("v1"), of_first, "a staged version answers nobody");
    rollout.canary(0.5).unwrap();
    let on_trial: Vec<_> =
        (0..100).map(|turn| turn % inputs.len()).map(|place| (place, ask(inputs[place].borrow()))).collect();
    handle.tick();
    rollout.promote().unwrap();
    let of_second = all("v2");
    assert_ne!(of_first, of_second);
    let back = handle.rollback("operator: complaints");
    assert!(matches!(back, RollbackOutcome::RolledBack { from, to } if from == "v2" && to == "v1"));
    assert_eq!(all("v1"), of_first);

    for (place, (version, answer)) in &on_trial {
        assert_eq!(answer, if version == "v1" { &of_first[*place] } else { &of_second[*place] });
    }
    let by_second = on_trial.iter().filter(|(_, (version, _))| version == "v2").count();
    assert!((20..=80).contains(&by_second), "{by_second} of 100");
}
