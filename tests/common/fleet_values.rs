//! A fleet in a store, of whose values one is what somebody else has put there: sealed as a member seals it, so that what reads it gets
//! beyond the code that is held against the fleet's secret, or as it is.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use switchback::fleet::{InMemory, Key, Over, Read, Store};
use switchback::model::ModelError;
use switchback::operator::FleetOperator;
use switchback::options::{Fleet, FleetTiming, Labels, Shadowing, Threads};
use switchback::plan::Bake;
use switchback::{
    Builder, Clock, Model, ModelHandle, Outcome, Plan, PredictionId, Step, Task, Timestamp, closure, guard,
};

const SECRET: [u8; 32] = [7; 32];

/// Where all of it lies.
const ROOT: &str = "switchback/h/late";

/// What is in the store of a fleet of two, which tries a candidate, and when.
struct Good {
    values: BTreeMap<Key, Vec<u8>>,
    now: Timestamp,
}

static GOOD: LazyLock<Good> = LazyLock::new(|| {
    let clock = Clock::manual(Timestamp::from_unix_seconds(1_800_000_000));
    let store = Arc::new(InMemory::new(clock.clone()));
    let members = [1, 2].map(|seed| builder(&store, &clock, seed).build().unwrap());
    let mut ids: Vec<PredictionId> = Vec::new();
    let mut step = |inputs: u32| {
        for (place, member) in members.iter().enumerate() {
            for input in 0..inputs {
                let answer = member.predict(&(f64::from(input) / f64::from(inputs)));
                ids.extend(answer.map(|answer| answer.id()));
            }
            member.run_shadow(usize::MAX);
            // Labels come to the other one.
            for id in ids.drain(..) {
                let _ = members[1 - place].feedback(id, Outcome::class(0));
            }
            member.tick();
        }
        clock.advance(Duration::from_millis(500));
    };
    (0..20).for_each(|_| step(0));
    let rollout = members[0].stage("v2", version("v2")).unwrap();
    let rollout = rollout.guard(guard::error_rate().at_most(0.5));
    let plan = Plan::new([Step::canary(0.5).unwrap()]).unwrap();
    rollout.run(plan.bake(Bake::new(Duration::from_secs(60)))).unwrap();
    (0..24).for_each(|_| step(2));
    let values = listed(&store);
    Good { values, now: clock.now() }
});

/// What a process that has ended has left, and outcomes of its predictions.
struct Left {
    header: Key,
    part: Key,
    body: Vec<u8>,
    ids: Vec<PredictionId>,
}

static LEFT: LazyLock<Left> = LazyLock::new(|| {
    let clock = Clock::manual(GOOD.now);
    let store = store(&clock);
    let member = builder(&store, &clock, 4).build().unwrap();
    let mut ids = Vec::new();
    for round in 0..8_u32 {
        let answers = (0..20_u32).filter_map(|input| member.predict(&(f64::from(input + round) / 40.0)).ok());
        ids.extend(answers.map(|answer| answer.id()));
        member.run_shadow(usize::MAX);
        for id in ids.iter().step_by(3) {
            let _ = member.feedback(*id, Outcome::class(0));
        }
        member.tick();
        clock.advance(Duration::from_secs(1));
    }
    member.close(Duration::ZERO).unwrap();
    let values = listed(&store);
    let key = |part: &str| values.keys().find(|key| key.as_str().contains(part)).unwrap().clone();
    let (header, part) = (key("/over/"), key("/left/"));
    let body = values[&part].split(|byte| *byte == b'\n').nth(1).unwrap().to_vec();
    Left { header, part, body, ids }
});

/// The only part of what a process has left.
pub(crate) fn left() -> &'static [u8] {
    &LEFT.body
}

/// As an heir reads what a process has left, which is this, and joins outcomes of its predictions. How many processes it has taken over
/// something of, and how many outcomes counted.
pub(crate) fn taken_over(body: &[u8]) -> (u64, u64) {
    let clock = Clock::manual(GOOD.now);
    let store = store(&clock);
    let process = LEFT.header.as_str().rsplit('/').next().unwrap();
    let header = format!(
        r#"{{"nonce":"0123456789abcdef","process":"{process}","until":{},"parts":1,"lives":1,"heir":null}}"#,
        u64::MAX
    );
    replace(&store, &LEFT.header, &sealed("handover", &LEFT.header, header.as_bytes()));
    replace(&store, &LEFT.part, &sealed("handover part", &LEFT.part, body));
    let member = builder(&store, &clock, 3).build().unwrap();
    for round in 0..4_u32 {
        let _ = member.predict(&f64::from(round));
        member.run_shadow(usize::MAX);
        for id in &LEFT.ids {
            let _ = member.feedback(*id, Outcome::class(0));
        }
        member.tick();
        clock.advance(Duration::from_secs(6));
    }
    let _ = serde_json::to_vec(&(member.fleet(), member.status())).unwrap();
    // It hands all of it on.
    let status = (member.fleet().unwrap().taken_over, member.status().feedback.counted);
    member.close(Duration::ZERO).unwrap();
    status
}

fn listed(store: &InMemory) -> BTreeMap<Key, Vec<u8>> {
    let root = Key::new(ROOT).unwrap();
    let (mut values, mut last) = (BTreeMap::new(), None);
    loop {
        let page = store.list(&root, last.as_ref()).unwrap();
        for entry in page.entries {
            if let Read::Value { bytes, .. } = store.get(&entry.key, None).unwrap() {
                values.insert(entry.key.clone(), bytes);
            }
            last = Some(entry.key);
        }
        if !page.more {
            return values;
        }
    }
}

fn version(name: &str) -> impl Model<f64, f64> + use<> {
    closure(
        format!("{name}@1"),
        |x: &f64| {
            if *x < 0.01 { Err(ModelError::engine("out of reach")) } else { Ok(0.25) }
        },
    )
}

fn fleet(store: &Arc<InMemory>) -> Fleet {
    let timing = FleetTiming::new().settle(Duration::from_secs(5)).close_after(Duration::from_secs(20));
    Fleet::on(Arc::clone(store)).secret(SECRET).timing(timing)
}

fn builder(store: &Arc<InMemory>, clock: &Clock, seed: u64) -> Builder<f64, f64> {
    ModelHandle::builder("late")
        .live("v1", version("v1"))
        .source(|name: &str| Ok(Box::new(version(name)) as Box<dyn Model<f64, f64>>))
        .task(Task::binary(|p: &f64| *p))
        .labels(Labels::complete_after(Duration::from_secs(10)))
        .shadowing(Shadowing::new())
        .threads(Threads::manual().stripes(1))
        .clock(clock.clone())
        .seed(seed)
        .fleet(fleet(store).seed(seed))
}

fn code(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(key).unwrap();
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The beginning of a digest, by which heads and fleets are named.
fn print(body: &[u8]) -> String {
    hex(&Sha256::digest(body)[..8])
}

fn sealed(kind: &str, key: &Key, body: &[u8]) -> Vec<u8> {
    let fleet = print(b"fleet 1 switchback late");
    let line = format!("{kind} 1 {fleet} {key}\n");
    let mac = hex(&code(&code(&SECRET, &[b"fleet 1"]), &[line.as_bytes(), body]));
    let envelope = format!(r#"{{"switchback":"{kind}","format":1,"fleet":"{fleet}","mac":"{mac}"}}"#);
    [envelope.as_bytes(), b"\n", body, b"\n"].concat()
}

/// What is put where.
struct Put {
    kind: &'static str,
    key: Key,
    value: Vec<u8>,
}

/// Of the first byte: what the bytes are, that they are not sealed, and that the fleet is changed beside.
const WHAT: u8 = 0x0f;
const PLAIN: u8 = 0x80;
const CHANGED: u8 = 0x10;

/// The first byte says what it is. `@print` in a body stands for what names the head
/// that is there, which nobody finds by trying.
fn put(bytes: &[u8]) -> Option<Put> {
    let (what, body) = bytes.split_first()?;
    let there = |part: &str| GOOD.values.keys().find(|key| key.as_str().contains(part)).cloned();
    let root = Key::new(ROOT).unwrap();
    let mut body = body.to_vec();
    let (kind, key) = match what & WHAT {
        0 => ("head", root.join("head").unwrap()),
        1 => ("row", there("/rows/")?),
        2 => ("ledger", root.join("ledger").unwrap()),
        3 => ("mailbox", there("/mail/")?),
        4 => ("head", there("/log/")?),
        5 => ("head", root.join("lost/0001.0000000002.0123456789abcdef").unwrap()),
        // A name that somebody has given something, and a head under it.
        6 => {
            let end = body.iter().position(|byte| *byte == b'\n')?;
            let key = root.join(std::str::from_utf8(&body[..end]).ok()?).ok()?;
            body.drain(..=end);
            ("head", key)
        }
        _ => return None,
    };
    if let Some(at) = body.windows(6).position(|six| six == b"@print") {
        let head = &GOOD.values[&root.join("head").unwrap()];
        let first = head.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        body.splice(at..at + 6, print(&head[first..head.len() - 1]).into_bytes());
    }
    let value = if what & PLAIN == 0 { sealed(kind, &key, &body) } else { body };
    Some(Put { kind, key, value })
}

fn store(clock: &Clock) -> Arc<InMemory> {
    let store = InMemory::new(clock.clone());
    for (key, value) in &GOOD.values {
        store.put(key, value, Over::Nothing).unwrap();
    }
    Arc::new(store)
}

fn replace(store: &InMemory, key: &Key, value: &[u8]) {
    let there = store.get(key, None).unwrap();
    let over = match &there {
        Read::Value { tag, .. } => Over::This(tag),
        Read::Absent | Read::Same => Over::Nothing,
    };
    // The store takes none that is too long.
    let _ = store.put(key, value, over);
}

/// As whoever operates a fleet reads it, and changes it.
pub(super) fn operated(bytes: &[u8]) {
    let Some(Put { key, value, .. }) = put(bytes) else { return };
    let clock = Clock::manual(GOOD.now);
    let store = store(&clock);
    replace(&store, &key, &value);
    let operator = FleetOperator::with_clock(&fleet(&store), "late", clock.clone()).unwrap();
    if let Ok(overview) = operator.overview() {
        let _ = (overview.to_string(), serde_json::to_vec(&overview).unwrap());
    }
    let _ = (operator.decisions(100), operator.leftovers(Duration::ZERO));
    if let Ok(audit) = operator.audit() {
        let _ = serde_json::to_vec(&audit).unwrap();
    }
    // Deciding takes long.
    if bytes[0] & CHANGED == 0 {
        return;
    }
    let _ = (operator.rollback("fuzzed"), operator.sweep(Duration::ZERO));
    if operator.repair("fuzzed", None).is_ok() {
        // What was repaired is whole.
        operator.overview().unwrap();
    }
}

/// As a member reads it, at its start or later, and acts on it.
pub(super) fn followed(bytes: &[u8]) {
    let Some(Put { kind, key, value }) = put(bytes) else { return };
    let clock = Clock::manual(GOOD.now);
    let store = store(&clock);
    // A head that follows on what is there is followed later; any other one, at the start.
    let later = kind != "head" || bytes.windows(6).any(|six| six == b"@print");
    if !later {
        replace(&store, &key, &value);
    }
    let Ok(member) = builder(&store, &clock, 3).build() else { return };
    for round in 0..5_u32 {
        if later && round == 1 {
            replace(&store, &key, &value);
        }
        if kind == "mailbox" && round == 2 {
            // Its own, which it has put there a moment ago.
            let mut own = listed(&store).into_keys().filter(|key| !GOOD.values.contains_key(key));
            if let Some(key) = own.find(|key| key.as_str().contains("/mail/")) {
                let body = value.split(|byte| *byte == b'\n').nth(1).unwrap_or_default();
                replace(&store, &key, &sealed(kind, &key, body));
            }
        }
        let _ = member.predict(&f64::from(round));
        member.run_shadow(usize::MAX);
        member.tick();
        clock.advance(Duration::from_secs(3));
    }
    let _ = serde_json::to_vec(&(member.fleet(), member.status())).unwrap();
}
