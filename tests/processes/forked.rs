//! A process that is forked off one with an open handle.
//!
//! Bug: parent and child appended to one journal, and a promotion that was acknowledged was lost; `close` in the parent left
//! the folder locked for as long as the child lived. Cause: a lock belongs to the open file, which a fork shares, and it was
//! given up by closing the descriptor. Fix: whoever holds the folder remembers its process; a copy of it in another one
//! refuses to write, and only the owner gives the lock up, by saying so.
#![allow(unsafe_code, reason = "a fork is a call of the system's")]

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use switchback::events::EventKind;
use switchback::options::Threads;
use switchback::{Model, ModelHandle, RolloutError, closure};

use crate::common::Folder;
use crate::harness::tests;

tests!("forked": a_forked_child_refuses_to_write_and_holds_no_lock_after_close);

type Handle = ModelHandle<f64, f64>;

fn versions(name: &str) -> Result<Box<dyn Model<f64, f64>>, Box<dyn std::error::Error + Send + Sync>> {
    Ok(Box::new(closure(name, |x: &f64| Ok(*x))))
}

fn start(folder: &Folder, threads: Threads) -> Handle {
    ModelHandle::builder("forked")
        .live("v1", closure("v1", |x: &f64| Ok(*x)))
        .state(&folder.0)
        .source(versions)
        .threads(threads)
        .build()
        .unwrap()
}

/// Forks; the child tells whether it could do what it should and no more, and lives until the parent drops what it gets.
/// `closes` says whether it closes its copy of the handle, and with it the descriptor of the lock.
fn fork(service: &Handle, closes: bool) -> (libc::pid_t, UnixStream) {
    let rollout = service.rollout("v2").unwrap();
    let (mut parent, mut child) = UnixStream::pair().unwrap();
    // SAFETY: this process has one thread, so the child has every lock as it is, and it calls nothing that needs another.
    let id = unsafe { libc::fork() };
    assert!(id >= 0);
    if id == 0 {
        let refused = match rollout.canary(0.5) {
            Err(RolloutError::NotRecorded { reason }) => reason.contains("from which this one was forked"),
            _ => false,
        };
        // What lowers exposure is done, here alone, and the caller learns that it is not saved.
        let _ = service.rollback("in the child");
        let told = service.status().durable == Some(false) && service.checkpoint().is_err();
        let closed = !closes || service.close(Duration::from_secs(60)).is_ok();
        let _ = child.write_all(&[u8::from(refused && told && closed)]);
        drop(parent);
        let _ = child.read(&mut [0]);
        // SAFETY: ends the process without destructors, whose work is the parent's.
        unsafe { libc::_exit(0) };
    }
    drop(child);
    let mut told = [0];
    parent.read_exact(&mut told).unwrap();
    assert_eq!(told, [1], "what the child could do");
    (id, parent)
}

fn wait_for((id, alive): (libc::pid_t, UnixStream)) {
    drop(alive);
    // SAFETY: waits for a child of this process, into nothing.
    assert_eq!(unsafe { libc::waitpid(id, std::ptr::null_mut(), 0) }, id);
}

fn a_forked_child_refuses_to_write_and_holds_no_lock_after_close() {
    let folder = Folder::new();
    let service = start(&folder, Threads::manual());
    let rollout = service.stage("v2", closure("v2", |x: &f64| Ok(*x))).unwrap();

    // What a child closes is its own copy: the folder is still the parent's.
    wait_for(fork(&service, true));
    let standby = start(&folder, Threads::manual());
    assert!(standby.events().iter().any(|event| matches!(event.kind, EventKind::Standby { .. })));
    drop(standby);

    // What the parent closes is free, although a child has the descriptor of the lock.
    let child = fork(&service, false);
    rollout.promote().unwrap();
    assert_eq!(service.status().durable, Some(true));
    service.close(Duration::from_secs(60)).unwrap();
    let again = start(&folder, Threads::manual());
    assert_eq!(again.live(), "v2");
    assert!(again.events().iter().any(|event| matches!(event.kind, EventKind::Started { .. })));
    wait_for(child);
}
