//! A host that lends its own threads: no thread is started by the library. The host ticks, runs the copies that wait
//! and looks after deadlines whenever its own loop has time.
//!
//! ```sh
//! cargo run --example own_executor --no-default-features
//! ```

use std::error::Error;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use switchback::options::{Labels, Shadowing, Threads};
use switchback::{Clock, ModelHandle, Outcome, Plan, Step, Task, Timestamp, closure, guard};

fn main() -> Result<(), Box<dyn Error>> {
    // Time is the host's too: this one counts its own rounds, a second each.
    let clock = Clock::replay(Timestamp::from_unix_seconds(0));
    let handle = ModelHandle::builder("even")
        .live("v1", closure("guess@1.0", |number: &u64| Ok(number % 4 < 2)))
        .task(Task::binary(|even: &bool| f64::from(u8::from(*even))))
        .labels(Labels::at_random())
        .shadowing(Shadowing::new())
        .threads(Threads::manual())
        .clock(clock.clone())
        .build()?;
    let rollout = handle
        .stage("v2", closure("modulo@1.0", |number: &u64| Ok(number.is_multiple_of(2))))?
        .guard(guard::accuracy().at_most_below_live(0.01));
    let steps = [Step::shadow(0.5)?.min_labels(200), Step::canary(0.25)?.min_labels(200)];
    // Numbers do not come in days.
    rollout.run(Plan::new(steps)?.cycle(Duration::ZERO))?;

    let done = AtomicBool::new(false);
    std::thread::scope(|scope| -> Result<(), Box<dyn Error>> {
        // The host's own worker: this is all that the library needs of it.
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                if handle.run_shadow(64) == 0 {
                    std::thread::yield_now();
                }
            }
        });
        for number in 0..20_000_u64 {
            let answer = handle.predict(&number)?;
            handle.feedback(answer.id(), Outcome::class(u16::from(number.is_multiple_of(2))));
            if number.is_multiple_of(100) {
                // On a machine that gives the worker no time, whoever asks helps: copies wait in a queue that is bounded.
                while handle.run_shadow(64) > 0 {}
                clock.advance(Duration::from_secs(1));
                handle.tick();
            }
        }
        done.store(true, Ordering::Relaxed);
        Ok(())
    })?;

    for event in handle.events() {
        println!("{}  {event}", event.at);
    }
    if handle.live() != "v2" {
        return Err("v2 was not promoted".into());
    }
    Ok(())
}
