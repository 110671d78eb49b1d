//! A store in PostgreSQL. All of it needs a server: `.ci/postgres` starts one, and kills it.

use std::io::{Read as _, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use switchback::fleet::history::{Act, Operation, Said, check};
use switchback::fleet::{Key, Over, Postgres, Read, Store, StoreError, StoreOutcome, StoreSuite};

fn settings() -> String {
    std::env::var("SWITCHBACK_TEST_POSTGRES").unwrap()
}

/// A table that no other test has.
fn table(name: &str) -> Postgres {
    Postgres::open(&settings()).unwrap().table(&format!("test_{name}")).unwrap().create().unwrap()
}

fn head() -> Key {
    Key::new("h/late/head").unwrap()
}

#[test]
#[ignore = "needs a server: .ci/postgres starts one"]
fn postgres_holds_to_what_a_store_must() {
    StoreSuite::new().clients(16).check(&table("conformance"), &Key::new("conformance").unwrap()).unwrap();
}

#[test]
#[ignore = "needs a server: .ci/postgres starts one"]
fn processes_that_make_one_table_at_once_all_have_it() {
    thread::scope(|scope| {
        for number in 0..8 {
            scope.spawn(move || {
                let key = head().join(&number.to_string()).unwrap();
                table("made").put(&key, b"1", Over::Nothing).unwrap();
            });
        }
    });
    assert_eq!(table("made").list(&head(), None).unwrap().entries.len(), 8);
}

/// Bug: a user who has a schema of his own made a second fleet, which nobody else was in. Cause: a table that is made without a schema comes into
/// the first one of the search path, whether or not there is one in another that is seen until then. Fix: it is looked first whether one is seen,
/// and none is made then; so whoever may make no tables may ask for it too.
#[test]
#[ignore = "needs a server: .ci/postgres starts one"]
fn no_second_table_is_made_where_one_is_seen() {
    let to = |path: &str, more: &str| {
        let settings = format!("{} options='-c search_path={path} {more}'", settings());
        Postgres::open(&settings).unwrap().table("test_seen").unwrap()
    };
    let in_schema = |schema: &str| {
        Postgres::open(&settings()).unwrap().table(&format!("{schema}.test_seen_here")).unwrap()
    };
    let first = table("seen");
    let tag = first.put(&head(), b"1", Over::Nothing).unwrap();
    // `pg_temp` is a schema of each session's own, into which it may make tables; so it stands for a user's.
    let second = to("pg_temp,public", "").create().unwrap();
    assert!(matches!(second.get(&head(), Some(&tag)).unwrap(), Read::Same));
    second.put(&head(), b"2", Over::This(&tag)).unwrap();
    // Nothing is made, so nobody has to be allowed to.
    to("public", "-c default_transaction_read_only=on").create().unwrap();
    // A schema that is named is looked into alone.
    let named = in_schema("public").create().unwrap();
    assert_eq!(named.list(&head(), None).unwrap().entries, []);
    let refused = in_schema("nowhere").create().unwrap_err();
    assert!(matches!(refused, StoreError::Refused { .. }), "{refused}");
}

#[test]
#[ignore = "needs a server: .ci/postgres starts one"]
fn a_key_that_was_removed_and_made_again_has_another_tag() {
    let store = table("removed");
    let one = store.put(&head(), b"1", Over::Nothing).unwrap();
    store.remove(&head(), &one).unwrap();
    let two = store.put(&head(), b"2", Over::Nothing).unwrap();
    assert_ne!(one, two);
    assert!(matches!(store.put(&head(), b"3", Over::This(&one)), Err(StoreError::Conflict)));
    assert!(matches!(store.remove(&head(), &one), Err(StoreError::Conflict)));
    assert!(matches!(store.get(&head(), Some(&one)).unwrap(), Read::Value { .. }));
}

#[test]
#[ignore = "needs a server: .ci/postgres starts one"]
fn what_the_server_says_is_told_apart() {
    let nowhere = Postgres::open(&settings()).unwrap().table("test_nowhere").unwrap();
    let told = nowhere.put(&head(), b"1", Over::Nothing).unwrap_err();
    assert!(
        matches!(told, StoreError::Refused { .. }) && told.to_string().contains("test_nowhere"),
        "{told}"
    );
    let stranger = Postgres::open(&format!("{} user=nobody_here", settings())).unwrap();
    let told = stranger.put(&head(), b"1", Over::Nothing).unwrap_err();
    assert!(matches!(told, StoreError::Refused { .. }) && told.to_string().contains("nobody_here"), "{told}");
    let read_only = format!("{} options='-c default_transaction_read_only=on'", settings());
    table("read_only");
    let store = Postgres::open(&read_only).unwrap().table("test_read_only").unwrap();
    assert_eq!(store.get(&head(), None).unwrap(), Read::Absent);
    let told = store.put(&head(), b"1", Over::Nothing).unwrap_err();
    assert!(matches!(told, StoreError::Refused { .. }), "{told}");
}

#[test]
#[ignore = "needs a server: .ci/postgres starts one"]
fn it_can_be_asked_from_within_a_runtime_of_the_hosts() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let store = table("runtime");
        let tag = store.put(&head(), b"one", Over::Nothing).unwrap();
        assert_eq!(store.get(&head(), Some(&tag)).unwrap(), Read::Same);
        drop(store);
    });
}

#[cfg(feature = "fleet-postgres-tls")]
mod encrypted {
    use super::*;

    /// Who comes so is let in by TLS alone.
    fn encrypted(host: &str, more: &str) -> Postgres {
        let port = std::env::var("SWITCHBACK_TEST_POSTGRES_TCP").unwrap();
        let (_, port) = port.split_once(':').unwrap();
        let settings =
            format!("host={host} port={port} user=encrypted password=sesame dbname=postgres {more}");
        Postgres::open(&settings).unwrap().table("test_encrypted").unwrap()
    }

    fn authority() -> String {
        std::env::var("SWITCHBACK_TEST_POSTGRES_AUTHORITY").unwrap()
    }

    fn refusal(store: &Postgres) -> String {
        let told = store.get(&head(), None).unwrap_err();
        assert!(matches!(told, StoreError::Refused { .. }), "{told}");
        told.to_string()
    }

    #[test]
    #[ignore = "needs a server: .ci/postgres starts one"]
    fn a_connection_is_encrypted_where_that_is_asked_for() {
        // The server lets nobody of this name in otherwise, and the password is worth nothing on another channel.
        let store = encrypted("localhost", "sslmode=require channel_binding=require");
        let store = store.root_certificates(authority()).unwrap().create().unwrap();
        StoreSuite::new().clients(4).check(&store, &Key::new("conformance").unwrap()).unwrap();
        assert!(refusal(&encrypted("localhost", "")).contains("no encryption"));
    }

    #[test]
    #[ignore = "needs a server: .ci/postgres starts one"]
    fn a_server_that_is_not_who_it_should_be_is_refused() {
        let unknown = encrypted("localhost", "sslmode=require");
        assert!(refusal(&unknown).contains("UnknownIssuer"));
        let another = encrypted("127.0.0.1", "sslmode=require").root_certificates(authority()).unwrap();
        assert!(refusal(&another).contains("not valid for name"));
    }
}

/// Passes on what is said between a client and the server. Where it is to lose an answer it waits for one, and ends
/// the connection in its place.
fn between(loses: &Arc<AtomicBool>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let loses = Arc::clone(loses);
    let address = std::env::var("SWITCHBACK_TEST_POSTGRES_TCP").unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut near, mut far) = (stream.unwrap(), TcpStream::connect(&address).unwrap());
            let (mut from, mut to) = (near.try_clone().unwrap(), far.try_clone().unwrap());
            thread::spawn(move || {
                let _ = std::io::copy(&mut from, &mut to);
                let _ = to.shutdown(Shutdown::Both);
            });
            let loses = Arc::clone(&loses);
            thread::spawn(move || {
                let (mut said, mut buffer) = (Vec::new(), [0; 4096]);
                while let Ok(length @ 1..) = far.read(&mut buffer) {
                    if loses.load(Ordering::SeqCst) {
                        said.extend_from_slice(&buffer[..length]);
                        // Ready for the next one, outside of a transaction: what was asked is committed.
                        if !said.ends_with(b"Z\0\0\0\x05I") {
                            continue;
                        }
                        loses.store(false, Ordering::SeqCst);
                        break;
                    }
                    near.write_all(&buffer[..length]).unwrap();
                }
                let _ = near.shutdown(Shutdown::Both);
            });
        }
    });
    port
}

#[test]
#[ignore = "needs a server: .ci/postgres starts one"]
fn a_put_whose_answer_was_lost_is_unknown_and_the_next_call_has_a_connection() {
    table("lost");
    let loses = Arc::new(AtomicBool::new(false));
    let port = between(&loses);
    let settings = format!("host=127.0.0.1 port={port} user=postgres dbname=postgres");
    let store = Postgres::open(&settings).unwrap().table("test_lost").unwrap();
    let one = store.put(&head(), b"one", Over::Nothing).unwrap();
    loses.store(true, Ordering::SeqCst);
    let told = store.put(&head(), b"two", Over::This(&one)).unwrap_err();
    assert_eq!(told.outcome(), StoreOutcome::Unknown, "{told}");
    let read = store.get(&head(), Some(&one)).unwrap();
    assert!(matches!(&read, Read::Value { bytes, .. } if bytes == b"two"), "{read:?}");
    // Of a read nothing was done.
    loses.store(true, Ordering::SeqCst);
    let told = store.get(&head(), None).unwrap_err();
    assert_eq!(told.outcome(), StoreOutcome::NotDone, "{told}");
    assert!(store.get(&head(), None).is_ok());
}

/// Whoever is told of a value has it after the server was killed and has come back, and nobody is told of another order.
#[test]
#[ignore = "needs a server: .ci/postgres starts one"]
fn clients_of_a_server_that_is_killed_share_one_register() {
    const CLIENTS: u64 = 16;
    const KILLS: u64 = 3;
    let kill = std::env::var("SWITCHBACK_TEST_POSTGRES_KILL").unwrap();
    let stores: Vec<Postgres> = (0..CLIENTS).map(|_| table("killed")).collect();
    let (moment, done, ended) = (AtomicU64::new(1), AtomicU64::new(0), AtomicBool::new(false));
    let all: Mutex<Vec<Operation>> = Mutex::default();
    thread::scope(|scope| {
        let _raised = crate::common::RaisedAtTheEnd(&ended);
        for (client, store) in stores.iter().enumerate() {
            let (moment, done, ended, all) = (&moment, &done, &ended, &all);
            scope.spawn(move || {
                let mut known = None;
                for round in 0.. {
                    if ended.load(Ordering::SeqCst) {
                        return;
                    }
                    let value = (client as u64 + 1) << 32 | round;
                    one_round(store, value, moment, done, &mut known, &mut |operation| {
                        all.lock().unwrap().push(operation);
                    });
                }
            });
        }
        for number in 1..=KILLS {
            crate::common::wait_until("the clients go on", || done.load(Ordering::SeqCst) >= number * 200);
            assert!(Command::new("sh").arg("-c").arg(&kill).status().unwrap().success());
        }
        crate::common::wait_until("the clients go on", || done.load(Ordering::SeqCst) >= (KILLS + 1) * 200);
    });
    let all = all.into_inner().unwrap();
    let chain = check(&all).unwrap();
    let count = |which: Said| {
        let said = |operation: &&Operation| matches!(operation.act, Act::Write { said, .. } if said == which);
        all.iter().filter(said).count()
    };
    let (done, unknown) = (count(Said::Done), count(Said::Unknown));
    assert!(chain.len() >= done && chain.len() <= done + unknown, "{} {done} {unknown}", chain.len());
    eprintln!(
        "{} values over {KILLS} kills: {done} done, {} conflicts, {} not done, {unknown} unknown",
        chain.len(),
        count(Said::Conflict),
        count(Said::NotDone)
    );
}

/// Reads, and writes over what was read.
fn one_round(
    store: &Postgres,
    value: u64,
    moment: &AtomicU64,
    done: &AtomicU64,
    known: &mut Option<(switchback::fleet::Tag, u64)>,
    record: &mut dyn FnMut(Operation),
) {
    let next = || moment.fetch_add(1, Ordering::SeqCst);
    let called = next();
    let Ok(read) = store.get(&head(), known.as_ref().map(|(tag, _)| tag)) else { return };
    match read {
        Read::Absent => *known = None,
        Read::Same => {}
        Read::Value { bytes, tag, .. } => {
            *known = Some((tag, String::from_utf8(bytes).unwrap().parse().unwrap()));
        }
    }
    let over = known.as_ref().map(|(_, value)| *value);
    record(Operation { called, returned: Some(next()), act: Act::Read { saw: over } });
    let called = next();
    let over_tag = known.as_ref().map_or(Over::Nothing, |(tag, _)| Over::This(tag));
    let put = store.put(&head(), value.to_string().as_bytes(), over_tag);
    let said = match put.as_ref().map_err(StoreError::outcome) {
        Ok(_) => Said::Done,
        Err(StoreOutcome::Conflict) => Said::Conflict,
        Err(StoreOutcome::NotDone) => Said::NotDone,
        Err(StoreOutcome::Unknown) => Said::Unknown,
    };
    record(Operation { called, returned: Some(next()), act: Act::Write { value, over, said } });
    if let Ok(tag) = put {
        done.fetch_add(1, Ordering::SeqCst);
        *known = Some((tag, value));
    }
}
