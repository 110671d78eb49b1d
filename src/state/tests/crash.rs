//! A process that ends at any step: what was acknowledged is there, and of what was in flight all or nothing.

use crate::state::names::ASIDE;
use proptest::prelude::*;

use super::*;
use crate::base::faults::Faults;

#[derive(Debug, Clone)]
enum Act {
    Add(Vec<Entry>),
    Rewrite { state: String, evidence: String, events: Vec<Vec<u8>> },
    Restart,
}

#[derive(Debug, Clone, Copy)]
struct Fault {
    after: u64,
    torn: bool,
    once: bool,
}

/// The events that befall a folder, and what somebody would have to find in it.
struct World {
    folder: Folder,
    faults: Faults,
    journal: Option<Journal>,
    acknowledged: Snapshot,
    /// The snapshots that were refused since, oldest first: one may be on disk until something else is acknowledged.
    in_flight: Vec<Snapshot>,
}

impl World {
    fn new() -> Self {
        Self {
            folder: Folder::new(),
            faults: Faults::new(),
            journal: None,
            acknowledged: Snapshot::default(),
            in_flight: Vec::new(),
        }
    }

    fn act(&mut self, act: &Act) {
        let Some(journal) = &mut self.journal else { return self.start() };
        let next = match act {
            Act::Restart => return self.start(),
            Act::Add(entries) => self.acknowledged.and(entries),
            Act::Rewrite { state, evidence, events } => self.acknowledged.anew(state, evidence, events),
        };
        let result = match act {
            Act::Restart => Ok(()),
            Act::Add(entries) => journal.append(entries),
            Act::Rewrite { state, evidence, events } => {
                // Whoever writes remembers them.
                let decisions: Vec<Vec<u8>> =
                    self.acknowledged.decisions.iter().map(|body| body.as_bytes().to_vec()).collect();
                let evidence = [evidence.as_bytes().to_vec()];
                journal.rewrite(state.as_bytes(), &evidence, events, &decisions).map(|repaired| {
                    assert_eq!(repaired, None);
                })
            }
        };
        match result {
            Ok(()) => {
                (self.acknowledged, self.in_flight) = (next, Vec::new());
                let (now, found) = Snapshot::read(&self.folder.0).unwrap();
                assert_eq!((now, found.torn_bytes), (self.acknowledged.clone(), 0));
            }
            Err(StateError::Stopped { .. }) => assert!(journal.wants_rewrite().is_some()),
            Err(_) => {
                assert!(journal.wants_rewrite().is_some());
                self.in_flight.push(next);
            }
        }
    }

    fn start(&mut self) {
        self.journal = None;
        let Ok((journal, found)) = Journal::open(Files::with(self.faults.clone()), &self.folder.0) else {
            return;
        };
        self.journal = Some(journal);
        let now = Snapshot::now(&self.folder);
        assert_eq!(found.events, now.events.len() as u64);
        let may_be = now == self.acknowledged || self.in_flight.contains(&now);
        assert!(
            may_be,
            "found {now:?}\nacknowledged {:?}\nin flight {:?}",
            self.acknowledged, self.in_flight
        );
        // It cannot change any more without somebody writing.
        (self.acknowledged, self.in_flight) = (now, Vec::new());
    }

    fn run(acts: &[Act], fault: Fault) -> u64 {
        let mut world = Self::new();
        let faults = world.faults.clone();
        faults.fail_after(fault.after);
        if fault.torn {
            faults.torn();
        }
        if fault.once {
            faults.once();
        }
        for act in acts {
            world.act(act);
        }
        let steps = faults.steps();
        faults.mend();
        world.act(&Act::Restart);
        assert!(world.journal.is_some());
        assert!(!world.folder.path(ASIDE).exists());
        world.act(&Act::Rewrite {
            state: "\"end\"".into(),
            evidence: "{}".into(),
            events: vec![b"end".to_vec()],
        });
        assert_eq!(world.in_flight, []);
        assert_eq!(world.acknowledged.state.as_deref(), Some("\"end\""));
        steps
    }
}

fn rewrite(number: u32) -> Act {
    let events = vec![format!("rewrite {number}").into_bytes()];
    Act::Rewrite { state: number.to_string(), evidence: format!("[{number}]"), events }
}

#[test]
fn at_every_step_that_fails_what_was_acknowledged_is_there() {
    let acts = [
        Act::Restart,
        rewrite(1),
        Act::Add(vec![state("2"), seen("[2]"), event("two"), decision("2")]),
        Act::Add(vec![seen("[3]"), event("three"), event("three again")]),
        rewrite(4),
        Act::Add(vec![state("5"), all_seen("[5]")]),
        Act::Restart,
        Act::Add(vec![state("6")]),
        rewrite(7),
        Act::Add(vec![event("eight"), decision("8"), decision("9")]),
        rewrite(9),
    ];
    let none = Fault { after: u64::MAX / 2, torn: false, once: false };
    let steps = World::run(&acts, none);
    assert!(steps > 30, "{steps}");
    for after in 0..steps {
        for (torn, once) in [(false, false), (false, true), (true, false), (true, true)] {
            World::run(&acts, Fault { after, torn, once });
        }
    }
}

fn body() -> impl Strategy<Value = String> {
    "[0-9]{1,60}"
}

fn entry() -> impl Strategy<Value = Entry> {
    let kinds = prop_oneof![Just(Kind::State), Just(Kind::Evidence), Just(Kind::Event), Just(Kind::Decision)];
    (kinds, any::<bool>(), body()).prop_map(|(kind, whole, body)| Entry {
        kind,
        whole: whole && kind == Kind::Evidence,
        body: body.into(),
    })
}

fn act() -> impl Strategy<Value = Act> {
    let events = prop::collection::vec(body().prop_map(String::into_bytes), 0..3);
    prop_oneof![
        5 => prop::collection::vec(entry(), 1..5).prop_map(Act::Add),
        3 => (body(), body(), events).prop_map(|(state, evidence, events)| Act::Rewrite { state, evidence, events }),
        1 => Just(Act::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_done_and_whenever_it_fails_what_was_acknowledged_is_there(
        acts in prop::collection::vec(act(), 1..15), after in 0_u64..60, torn: bool, once: bool
    ) {
        World::run(&acts, Fault { after, torn, once });
    }
}
