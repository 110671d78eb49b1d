//! A handle that is asked from asynchronous code. No test waits for time to pass: models stand at gates, on a clock that is
//! turned by hand.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::mpsc;
use std::task::{Context, Poll, Waker};
use std::thread::ThreadId;
use std::time::Duration;

use parking_lot::Mutex;
use switchback::asynchronous::{AsyncError, AsyncHandle};
use switchback::operator::figures::FigureValue;
use switchback::options::Async;
use switchback::testing::Scripted;
use switchback::{Clock, ModelHandle, Phase, PredictError, Timestamp};
use tokio::runtime::{Builder, Runtime};
use tokio::task::yield_now;

use crate::common::*;

/// Every kind of runtime that a host may have.
fn runtimes() -> [Runtime; 2] {
    let one = Builder::new_current_thread().build().unwrap();
    [one, Builder::new_multi_thread().worker_threads(2).build().unwrap()]
}

type Threads = Arc<Mutex<BTreeSet<String>>>;

/// A model that says which threads have asked it.
fn on_threads(name: &str, clock: &Clock, threads: &Threads) -> Scripted<f64, f64> {
    let threads = Arc::clone(threads);
    let answer = move |_: &f64| {
        threads.lock().insert(name_of(std::thread::current().id()));
        0.1
    };
    Scripted::new(name, answer).clock(clock)
}

fn name_of(thread: ThreadId) -> String {
    format!("{thread:?}")
}

fn requests(late: &AsyncHandle<f64, f64>) -> u64 {
    let handle = late.handle();
    handle.tick();
    handle.status().versions.iter().map(|version| version.total.requests).sum()
}

#[test]
fn a_fast_model_is_asked_on_the_spot_and_a_slow_one_aside() {
    for runtime in runtimes() {
        let (clock, threads) = (clock(), Threads::default());
        let live = on_threads("one", &clock, &threads);
        let script = live.control();
        let service = builder(&clock).live("v1", live).build().unwrap();
        let late = service.clone().into_async(Async::new()).unwrap();
        let here = name_of(std::thread::current().id());
        // Whether requests were answered here, once a tick has looked at the last ones.
        let asked = |model: &switchback::testing::Script<f64, f64>, micros: u64| {
            // Far enough on that what was recent is not any more.
            clock.advance(seconds(86_400));
            service.tick();
            model.stall(Duration::from_micros(micros));
            runtime.block_on(async {
                for _ in 0..200 {
                    late.predict(0.5).await.unwrap();
                }
            });
            tick(&service, &clock);
            threads.lock().clear();
            runtime.block_on(late.predict(0.5)).unwrap();
            let inline = *threads.lock() == [here.clone()].into();
            assert_eq!(inline, late.queue().inline);
            inline
        };
        assert!(!late.queue().inline, "nobody knows yet how long it takes");
        assert!(asked(&script, 10));
        assert!(asked(&script, 70), "on the spot up to twice the limit");
        assert!(!asked(&script, 200));
        assert!(!asked(&script, 70), "and aside down to the limit");
        assert!(asked(&script, 10));

        // A candidate that nobody has measured may be slow: from the moment that it may answer.
        let two = on_threads("two", &clock, &threads);
        let candidate = two.control();
        let rollout = service.stage("v2", two).unwrap();
        assert!(late.queue().inline);
        rollout.canary(0.5).unwrap();
        assert!(!late.queue().inline);
        assert!(asked(&candidate, 10));
        assert!(!asked(&candidate, 10_000), "live is as fast as ever");
        let _ = rollout.rollback("slow");
        assert!(asked(&script, 10));
        // A batch takes as long as all of its rows.
        let batch = |rows: usize| {
            threads.lock().clear();
            let answers = runtime.block_on(late.predict_batch(vec![0.5; rows])).unwrap();
            assert!(answers.len() == rows && answers.iter().all(Result::is_ok));
            *threads.lock() == [here.clone()].into()
        };
        assert!(batch(2) && !batch(1_000));
    }
}

/// A service whose model stands at a gate, and never answers on the spot.
fn gated(options: Async) -> (AsyncHandle<f64, f64>, switchback::testing::Script<f64, f64>) {
    let clock = clock();
    let live = says("one", 0.1);
    let script = live.control();
    let service = builder(&clock).live("v1", live).build().unwrap();
    (service.into_async(options.inline_below(Duration::ZERO)).unwrap(), script)
}

/// What exporters see of the queue: how many run and wait, how many may, and, twice, how many were refused.
fn figures(late: &AsyncHandle<f64, f64>) -> [[f64; 2]; 3] {
    let families = switchback::operator::figures::of(&late.handle().operator());
    let value = |name: &str, place: usize| {
        let family = families.iter().find(|family| family.name == name).unwrap();
        let FigureValue::Number(value) = family.samples[place].value else { panic!("{family:?}") };
        value
    };
    let both = |name| [value(name, 0), value(name, 1)];
    let refused = value("switchback_async_refused_total", 0);
    [both("switchback_async_requests"), both("switchback_async_requests_max"), [refused; 2]]
}

async fn until(mut holds: impl FnMut() -> bool) {
    while !holds() {
        yield_now().await;
    }
}

#[test]
fn what_does_not_fit_the_queue_is_refused_at_once_and_what_leaves_it_has_not_run() {
    for runtime in runtimes() {
        let (late, script) = gated(Async::new().concurrency(1).waiting(1));
        let gate = script.gate();
        runtime.block_on(async {
            let spawned = |late: &AsyncHandle<f64, f64>| {
                let late = late.clone();
                tokio::spawn(async move { late.predict(0.5).await })
            };
            let first = spawned(&late);
            until(|| late.queue().under_way == 1).await;
            let second = spawned(&late);
            until(|| late.queue().waiting == 1).await;
            let refused = late.predict(0.5).await.unwrap_err();
            assert!(matches!(refused, AsyncError::Busy { waiting: 1 }), "{refused}");
            assert_eq!((late.queue().refused, late.queue().waiting), (1, 1));
            assert_eq!(figures(&late), [[1.0, 1.0], [1.0, 1.0], [1.0, 1.0]], "and exporters see the same");
            second.abort();
            assert!(second.await.unwrap_err().is_cancelled());
            assert_eq!(late.queue().waiting, 0);
            // There is room again, and whoever waits has their turn.
            let third = spawned(&late);
            until(|| late.queue().waiting == 1).await;
            gate.open();
            assert_eq!(*first.await.unwrap().unwrap().output(), 0.1);
            assert_eq!(*third.await.unwrap().unwrap().output(), 0.1);
            until(|| late.queue().under_way == 0).await;
        });
        assert_eq!((script.calls(), requests(&late)), (2, 2));
    }
}

/// Bug: a candidate that hung kept the service from answering for good. Cause: it might have as many calls under way as there are
/// places, and a place came back only when its call did. Fix: it has three quarters of the places at most, and what is overdue
/// gives its place back.
#[test]
fn a_candidate_that_hangs_has_not_all_places_and_gives_back_those_that_it_has() {
    for runtime in runtimes() {
        let (clock, candidate) = (clock(), says("two", 0.9));
        let script = candidate.control();
        let service = builder(&clock).live("v1", says("one", 0.1)).build().unwrap();
        let rollout = service.stage("v2", candidate).unwrap();
        let gate = script.gate();
        rollout.canary(0.5).unwrap();
        let options = Async::new().concurrency(4).waiting(100).inline_below(Duration::ZERO);
        let late = service.clone().into_async(options).unwrap();
        runtime.block_on(async {
            let answered = Arc::new(Mutex::new(0));
            let asked: Vec<_> = (0..100)
                .map(|_| {
                    let (late, answered) = (late.clone(), Arc::clone(&answered));
                    tokio::spawn(async move {
                        let answer = late.predict(0.5).await;
                        *answered.lock() += 1;
                        answer
                    })
                })
                .collect();
            let hang = || script.calls() as usize;
            until(|| *answered.lock() + hang() == 100 && hang() == 3).await;
            assert_eq!((late.queue().under_way, late.queue().overdue), (3, 0));
            clock.advance(seconds(31));
            service.tick();
            assert_eq!(rollout.phase(), Phase::Aborted);
            assert_eq!((late.queue().under_way, late.queue().overdue), (0, 3));
            for _ in 0..10 {
                assert_eq!(*late.predict(0.5).await.unwrap().output(), 0.1);
            }
            gate.open();
            for asked in asked {
                asked.await.unwrap().unwrap();
            }
            until(|| late.queue().overdue == 0).await;
        });
    }
}

/// Bug: where recorded traffic is replayed, a request that ran gave its place back, so that more ran than there are places. Cause: how long it
/// had run was told by the time line, which whoever replays turns by hours meanwhile. Fix: the stopwatch tells it.
#[test]
fn a_time_line_that_is_turned_fast_gives_back_no_place() {
    for runtime in runtimes() {
        let (clock, live) = (Clock::replay(Timestamp::from_unix_seconds(1_700_000_000)), says("one", 0.1));
        let script = live.control();
        let service = builder(&clock).live("v1", live).build().unwrap();
        let gate = script.gate();
        let options = Async::new().concurrency(4).inline_below(Duration::ZERO);
        let late = service.clone().into_async(options).unwrap();
        runtime.block_on(async {
            let asking = late.clone();
            let asked = tokio::spawn(async move { asking.predict(0.5).await });
            until(|| script.calls() == 1).await;
            clock.advance(seconds(7_200));
            service.tick();
            let queue = late.queue();
            // Before the test may fail: the runtime waits for what runs.
            gate.open();
            asked.await.unwrap().unwrap();
            assert_eq!((queue.under_way, queue.overdue), (1, 0));
        });
    }
}

/// Bug: a candidate that hangs had all places of an asynchronous handle, so that nobody was answered. Cause: the places of handles that were
/// gone went on being counted among those that there are, of which a candidate gets three quarters. Fix: they are given up with the last
/// clone.
#[test]
fn places_of_asynchronous_handles_that_are_gone_are_no_places_any_more() {
    for runtime in runtimes() {
        let (clock, candidate) = (clock(), says("two", 0.9));
        let script = candidate.control();
        let service = builder(&clock).live("v1", says("one", 0.1)).build().unwrap();
        let rollout = service.stage("v2", candidate).unwrap();
        rollout.canary(0.5).unwrap();
        // More threads have asked the candidate than there are places: it is these that bound what may hang.
        for _ in 0..32 {
            std::thread::scope(|scope| drop(scope.spawn(|| ask(&service, 32))));
        }
        let options = |places| Async::new().concurrency(places).waiting(100).inline_below(Duration::ZERO);
        for _ in 0..8 {
            let gone = service.clone().into_async(options(16)).unwrap();
            drop((gone.clone(), gone));
        }
        let late = service.clone().into_async(options(4)).unwrap();
        let before = script.calls();
        let gate = script.gate();
        runtime.block_on(async {
            let answered = Arc::new(Mutex::new(0));
            let asked: Vec<_> = (0..100)
                .map(|_| {
                    let (late, answered) = (late.clone(), Arc::clone(&answered));
                    tokio::spawn(async move {
                        let answer = late.predict(0.5).await;
                        *answered.lock() += 1;
                        answer
                    })
                })
                .collect();
            let hang = || (script.calls() - before) as usize;
            until(|| *answered.lock() + hang() == 100 || hang() > 3).await;
            let hanging = hang();
            gate.open();
            for asked in asked {
                asked.await.unwrap().unwrap();
            }
            assert_eq!(hanging, 3, "a quarter of the places is live's");
        });
    }
}

#[test]
fn what_runs_is_counted_though_nobody_waits_for_it() {
    for runtime in runtimes() {
        let (late, script) = gated(Async::new().concurrency(1));
        let gate = script.gate();
        runtime.block_on(async {
            let asked = {
                let late = late.clone();
                tokio::spawn(async move { late.predict_keyed("user 7", 0.5).await })
            };
            until(|| script.calls() == 1).await;
            asked.abort();
            assert!(asked.await.unwrap_err().is_cancelled());
            assert_eq!(late.queue().under_way, 1, "its place is taken for as long as it runs");
            gate.open();
            until(|| late.queue().under_way == 0).await;
        });
        assert_eq!((script.calls(), requests(&late)), (1, 1));
    }
}

#[test]
fn what_is_left_before_a_thread_takes_it_has_not_run() {
    let builders = [Builder::new_current_thread(), Builder::new_multi_thread()];
    for mut builder in builders {
        let runtime = builder.max_blocking_threads(1).build().unwrap();
        let (late, script) = gated(Async::new().concurrency(4));
        let (release, held) = mpsc::channel::<()>();
        let (begun, has_begun) = mpsc::channel();
        // The host's own work has the pool.
        let blocker = runtime.spawn_blocking(move || {
            begun.send(()).unwrap();
            let _ = held.recv();
        });
        has_begun.recv().unwrap();
        runtime.block_on(async {
            let asked = {
                let late = late.clone();
                tokio::spawn(async move { late.predict(0.5).await })
            };
            until(|| late.queue().under_way == 1).await;
            asked.abort();
            let _ = asked.await;
            release.send(()).unwrap();
            blocker.await.unwrap();
            until(|| late.queue().under_way == 0).await;
        });
        assert_eq!((script.calls(), requests(&late)), (0, 0));
    }
}

#[test]
fn answers_and_failures_are_those_of_the_handle() {
    for runtime in runtimes() {
        let (late, script) = gated(Async::new());
        let _rollout = late.handle().stage("v2", says("two", 0.9)).unwrap();
        runtime.block_on(async {
            let answer = late.predict_keyed("user 7", Arc::new(0.5)).await.unwrap();
            assert_eq!(answer.version(), "v1");
            let rows = late.predict_batch(vec![0.5, 0.6, 0.7]).await.unwrap();
            assert_eq!(rows.iter().map(|row| *row.as_ref().unwrap().output()).collect::<Vec<_>>(), [0.1; 3]);
            script.refuse_next(1);
            let refused = late.predict(0.5).await.unwrap_err();
            assert!(matches!(refused, AsyncError::Predict(PredictError::Input(_))), "{refused}");
            script.panic_next(1);
            let failed = late.predict(0.5).await.unwrap_err();
            assert!(matches!(failed, AsyncError::Predict(PredictError::Failed { .. })), "{failed}");
        });
    }
    let (late, _) = gated(Async::new());
    for options in [Async::new().concurrency(0), Async::new().waiting(usize::MAX)] {
        let refused = late.handle().clone().into_async(options).unwrap_err();
        assert!(refused.to_string().contains("async."), "{refused}");
    }
    let read: Async = serde_json::from_value(serde_json::json!({ "waiting": 3 })).unwrap();
    assert_eq!(read, Async::new().waiting(3));
}

#[test]
fn without_a_runtime_and_after_its_end_an_error_says_so() {
    let (late, script) = gated(Async::new());
    let mut context = Context::from_waker(Waker::noop());
    let polled = pin!(late.predict(0.5)).poll(&mut context);
    assert!(matches!(polled, Poll::Ready(Err(AsyncError::NoRuntime))));

    let runtime = Builder::new_multi_thread().worker_threads(1).build().unwrap();
    let handle = runtime.handle().clone();
    runtime.shutdown_background();
    let _entered = handle.enter();
    let polled = pin!(late.predict(0.5)).poll(&mut context);
    assert!(matches!(polled, Poll::Ready(Err(AsyncError::Ended))), "{polled:?}");
    assert_eq!((script.calls(), late.queue().under_way), (0, 0));
}

/// Bug: how full the queue was, and what it refused, stood in no metric. Cause: it was known to the asynchronous handle alone, and
/// exporters have the handle below it. Fix: that knows its queues.
#[test]
fn a_queue_is_in_the_figures_of_its_handle() {
    let service = builder(&clock()).live("v1", says("one", 0.1)).build().unwrap();
    let names = |service: &ModelHandle<f64, f64>| -> Vec<&str> {
        let families = switchback::operator::figures::of(&service.operator());
        families.iter().map(|family| family.name).filter(|name| name.contains("_async_")).collect()
    };
    assert!(names(&service).is_empty(), "nobody asks from asynchronous code");
    let late = service.clone().into_async(Async::new().concurrency(3).waiting(5)).unwrap();
    let beside = service.clone().into_async(Async::new().concurrency(1).waiting(0)).unwrap();
    assert_eq!(names(&service).len(), 3);
    assert_eq!(figures(&late), [[0.0, 0.0], [4.0, 5.0], [0.0, 0.0]], "both together");
    drop(beside);
    assert_eq!(figures(&late)[1], [3.0, 5.0]);
    drop(late);
    assert!(names(&service).is_empty());
}

/// An input whose destructor panics.
struct Bomb(f64);

impl std::borrow::Borrow<f64> for Bomb {
    fn borrow(&self) -> &f64 {
        &self.0
    }
}

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("an input that is let go of");
    }
}

/// Bug: an input whose destructor panics took the answer with it ("the runtime was shut down"), and two of one batch ended the process. Cause:
/// they were dropped on the blocking pool as they were. Fix: each is dropped by itself, and contained.
#[test]
fn inputs_whose_destructors_panic_cost_no_answer() {
    let (late, _) = gated(Async::new());
    for runtime in runtimes() {
        assert!(runtime.block_on(late.predict(Bomb(0.5))).is_ok());
        assert!(runtime.block_on(late.predict_keyed("u1", Bomb(0.5))).is_ok());
        let answers = runtime.block_on(late.predict_batch(vec![Bomb(0.1), Bomb(0.2), Bomb(0.3)])).unwrap();
        assert!(answers.len() == 3 && answers.iter().all(Result::is_ok));
    }
}

/// An input that cannot be borrowed, or a key whose bytes cannot be had.
struct Broken;

impl std::borrow::Borrow<f64> for Broken {
    fn borrow(&self) -> &f64 {
        panic!("nothing to borrow")
    }
}

impl AsRef<[u8]> for Broken {
    fn as_ref(&self) -> &[u8] {
        panic!("no bytes")
    }
}

/// Bug: an input whose `Borrow` panics was told as "the runtime was shut down", and on the spot it ended the host's task. Cause: the panic went
/// through the task on the blocking pool, which then gave no answer. Fix: it is told as the panic that it is, wherever the request would be
/// answered, and no version is blamed.
#[test]
fn an_input_that_panics_when_it_is_borrowed_is_told_as_a_panic() {
    let (aside, script) = gated(Async::new());
    let on_the_spot = aside.handle().clone().into_async(Async::new()).unwrap();
    // How long it takes is known, and is nothing.
    ask(on_the_spot.handle(), 200);
    on_the_spot.handle().tick();
    assert!(on_the_spot.queue().inline && !aside.queue().inline);
    let calls = script.calls();
    for (late, runtime) in [&aside, &on_the_spot].into_iter().zip(runtimes()) {
        runtime.block_on(async {
            let told = |refused: AsyncError| match refused {
                AsyncError::Panicked { message } => message.to_string(),
                other => panic!("{other}"),
            };
            let borrowed = "nothing to borrow";
            assert_eq!(told(late.predict(Broken).await.unwrap_err()), borrowed);
            assert_eq!(told(late.predict_keyed("u1", Broken).await.unwrap_err()), borrowed);
            assert_eq!(told(late.predict_keyed(Broken, 0.5).await.unwrap_err()), "no bytes");
            assert_eq!(told(late.predict_batch(vec![Broken, Broken]).await.unwrap_err()), borrowed);
            until(|| late.queue().under_way == 0).await;
        });
    }
    assert_eq!((script.calls(), requests(&aside)), (calls, calls), "no version is blamed");
}
