//! What `predict(..).await` costs beside the call, on the spot and through the blocking pool.
//!
//! `cargo bench --bench asynchronous --features tokio`, and `-- --quick` for a short figure.

#![expect(clippy::disallowed_methods, reason = "a bench measures real time")]
#![allow(clippy::unwrap_used, reason = "what the benches share is to stop where it cannot go on")]

mod support;

use std::time::{Duration, Instant};

use switchback::asynchronous::AsyncHandle;
use switchback::options::{Async, Threads};
use switchback::{ModelHandle, closure};

use support::{Outcome, Report, median, quick};

/// A model that works for so long.
fn service(works: Duration) -> Outcome<ModelHandle<u64, u64>> {
    let answer = move |input: &u64| {
        let began = Instant::now();
        while began.elapsed() < works {
            std::hint::spin_loop();
        }
        Ok(*input)
    };
    let threads = Threads::background().tick_every(Duration::from_millis(20));
    Ok(ModelHandle::builder("works").live("v1", closure("works@1", answer)).threads(threads).build()?)
}

/// The median of a request, in microseconds.
async fn asked(late: &AsyncHandle<u64, u64>, requests: usize) -> Outcome<f64> {
    let mut took = Vec::with_capacity(requests);
    for input in 0..requests as u64 {
        let began = Instant::now();
        late.predict(input).await?;
        took.push(began.elapsed().as_secs_f64() * 1e6);
    }
    Ok(median(took))
}

fn main() -> Outcome {
    let mut report = Report::new("asynchronous");
    let requests = if quick() { 2_000 } else { 20_000 };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build()?;
    for micros in [0, 20, 200] {
        let works = Duration::from_micros(micros);
        let handle = service(works)?;
        let mut took = Vec::with_capacity(requests);
        for input in 0..requests as u64 {
            let began = Instant::now();
            handle.predict(&input)?;
            took.push(began.elapsed().as_secs_f64() * 1e6);
        }
        let called = median(took);
        let pooled = handle.clone().into_async(Async::new().inline_below(Duration::ZERO))?;
        let pool = runtime.block_on(asked(&pooled, requests))?;
        // Far above, so that a busy machine does not send a request to the pool.
        let inline = handle.into_async(Async::new().inline_below(Duration::from_millis(100)))?;
        while !inline.queue().inline {
            runtime.block_on(asked(&inline, 10))?;
        }
        let spot = runtime.block_on(asked(&inline, requests))?;
        let model = format!("a model of {micros} us");
        report.line(
            &format!("{model}, awaited on the spot / called"),
            "us",
            spot,
            Some(called),
            Some(spot / called),
        );
        report.line(
            &format!("{model}, awaited from the pool / called"),
            "us",
            pool,
            Some(called),
            Some(pool / called),
        );
        for (way, value) in [("called", called), ("inline", spot), ("pool", pool)] {
            report.figure(&format!("{micros}_us_{way}"), value);
        }
    }
    report.finish()
}
