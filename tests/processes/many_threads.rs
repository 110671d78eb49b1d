//! A process with many threads. Threads are numbered in a whole process, so no test may run beside.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::time::Duration;

use switchback::closure;

use crate::common::*;
use crate::harness::tests;

tests! { "many_threads":
    threads_beyond_the_first_256_of_a_process_count_too,
}

/// Bug: in a process with more than 256 threads a canary could get one call at a time, and live answered nearly all of its share. Cause: how
/// many calls a candidate may have follows from how many threads ask, and those whose number in the process was 256 or more were not counted.
/// Fix: they are counted in the places of lower numbers.
fn threads_beyond_the_first_256_of_a_process_count_too() {
    const MANY: usize = 256;
    const THREADS: usize = 16;
    let clock = clock();
    let live_alone = || builder(&clock).live("v1", says("one", 0.1)).build().unwrap();
    let (elsewhere, service) = (live_alone(), live_alone());
    let (inside, over) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let stays = {
        let (inside, over) = (Arc::clone(&inside), Arc::clone(&over));
        closure("stays@1", move |_: &f64| {
            inside.fetch_add(1, Ordering::SeqCst);
            while !over.load(Ordering::SeqCst) {
                std::thread::park_timeout(Duration::from_millis(1));
            }
            Ok(0.9)
        })
    };
    service.stage("v2", stays).unwrap().canary(1.0).unwrap();
    let there = Barrier::new(MANY + 1);
    std::thread::scope(|scope| {
        let _end = RaisedAtTheEnd(&over);
        // They have the first numbers, and ask another handle.
        for _ in 0..MANY {
            scope.spawn(|| {
                elsewhere.predict(&0.5).unwrap();
                there.wait();
                while !over.load(Ordering::SeqCst) {
                    std::thread::park_timeout(Duration::from_millis(10));
                }
            });
        }
        there.wait();
        for _ in 0..THREADS {
            scope.spawn(|| {
                while !over.load(Ordering::SeqCst) {
                    service.predict(&0.5).unwrap();
                }
            });
        }
        wait_until("it has all calls but a quarter", || {
            inside.load(Ordering::SeqCst) == THREADS - THREADS / 4
        });
    });
}
