//! The page about a rollout, as whoever was not there reads it.

use switchback::events::Cause;
use switchback::guard;
use switchback::guard::{Comparison, Evidence, Guard, Verdict};
use switchback::options::{Limits, Shadowing};
use switchback::plan::{Bake, OnInconclusive};
use switchback::report::{DriftSummary, DriftSummaryRow, Report};
use switchback::testing::Scripted;
use switchback::{Clock, Kpi, Outcome, Phase, Step};

use crate::common::*;

/// A model that says yes where its input lies below a limit.
fn below(name: &str, limit: f64) -> Scripted<f64, f64> {
    Scripted::new(name, move |x: &f64| if *x < limit { 0.9 } else { 0.1 })
}

/// Inputs between 0 and 1, of which those below one half are yes: `below(0.5)` is always right.
fn traffic(service: &Service, clock: &Clock, chance: &mut Chance, ticks: usize, per_tick: usize) {
    for _ in 0..ticks {
        for _ in 0..per_tick {
            let input = chance.next();
            let answer = service.predict(&input).unwrap();
            service.feedback(answer.id(), Outcome::class(u16::from(input < 0.5)));
        }
        service.run_shadow(usize::MAX);
        tick(service, clock);
    }
}

/// v2 beats v1 and is promoted, and watched after that.
fn promoted() -> (Service, Clock) {
    let clock = clock();
    let service = builder(&clock).live("v1", below("one", 0.6)).shadowing(Shadowing::new()).build().unwrap();
    let rollout = service
        .stage("v2", below("two", 0.51))
        .unwrap()
        .guard(guard::error_rate().at_most(0.05))
        .guard(guard::accuracy().at_most_below_live(0.02));
    let bake = Bake::new(seconds(60)).keep_previous_as_shadow(0.5).unwrap();
    rollout.run(ramp([0.1, 0.5]).bake(bake)).unwrap();
    traffic(&service, &clock, &mut Chance(3), 200, 50);
    assert_eq!((rollout.phase(), service.live().as_str()), (Phase::Promoted, "v2"));
    (service, clock)
}

/// v2 is as good as v1, is promoted by hand, and gets worse when it is live.
fn rolled_back() -> (Service, Clock) {
    let clock = clock();
    let service = builder(&clock).live("v1", below("one", 0.5)).shadowing(Shadowing::new()).build().unwrap();
    let (model, script) = {
        let model = below("two", 0.5);
        let script = model.control();
        (model, script)
    };
    let rollout = service.stage("v2", model).unwrap().guard(guard::accuracy().at_most_below_live(0.02));
    let bake = Bake::new(seconds(600)).keep_previous_as_shadow(1.0).unwrap();
    rollout.run(ramp([0.5]).bake(bake)).unwrap();
    let mut chance = Chance(5);
    while rollout.phase() != Phase::Baking {
        traffic(&service, &clock, &mut chance, 1, 50);
    }
    script.lie(|x: &f64| if *x < 0.7 { 0.9 } else { 0.1 });
    traffic(&service, &clock, &mut chance, 100, 50);
    assert_eq!((rollout.phase(), service.live().as_str()), (Phase::RolledBack, "v1"));
    (service, clock)
}

/// v2 is worse, and taken off before it was live.
fn aborted() -> (Service, Clock) {
    let clock = clock();
    let service = builder(&clock).live("v1", below("one", 0.5)).shadowing(Shadowing::new()).build().unwrap();
    let rollout = service
        .stage("v2", below("two", 0.8))
        .unwrap()
        .guard(guard::error_rate().at_most(0.05))
        .guard(guard::accuracy().at_most_below_live(0.02));
    rollout.canary(0.05).unwrap();
    traffic(&service, &clock, &mut Chance(1), 100, 100);
    assert_eq!(rollout.phase(), Phase::Aborted);
    (service, clock)
}

/// v2 may be as good as v1; nobody can tell in the time allowed.
fn inconclusive() -> (Service, Clock) {
    let clock = clock();
    let service = builder(&clock).live("v1", below("one", 0.55)).shadowing(Shadowing::new()).build().unwrap();
    let rollout =
        service.stage("v2", below("two", 0.56)).unwrap().guard(guard::accuracy().at_most_below_live(0.001));
    rollout.run(plan([Step::shadow(0.5).unwrap().max_duration(seconds(20))])).unwrap();
    traffic(&service, &clock, &mut Chance(9), 40, 20);
    assert_eq!(rollout.phase(), Phase::Shadow);
    (service, clock)
}

/// What must hold of every page.
fn check(report: &Report) -> (String, String) {
    let (html, markdown) = (report.html().replace('\u{a0}', " "), report.markdown());
    balanced(&html);
    for page in [&html, &markdown] {
        assert!(page.len() < 300_000, "{}", page.len());
        assert!(!page.contains("http"), "the page refers to the network");
        assert!(!page.contains("NaN") && !page.contains("inf,") && !page.contains(",inf"));
    }
    assert!(!html.contains("<script") && !html.contains(" src=") && !html.contains("<link"));
    assert_eq!(html.matches("<h1").count(), 1);
    assert_eq!(html.matches("<table>").count(), html.matches("<caption>").count());
    assert!(html.matches("<svg ").count() <= html.matches("<figure>").count());
    lines_up(&markdown);
    // It survives being written down.
    let written = serde_json::to_string(report).unwrap();
    assert_eq!(serde_json::from_str::<Report>(&written).unwrap().html(), report.html());
    (html, markdown)
}

/// Every tag that opens closes, in its order; ids are one of a kind, and what is referred to is there.
fn balanced(html: &str) {
    const VOID: [&str; 2] = ["meta", "!DOCTYPE"];
    let mut open: Vec<String> = Vec::new();
    let mut rest = html;
    while let Some(from) = rest.find('<') {
        let to = from + rest[from..].find('>').expect("a tag ends");
        let tag = &rest[from + 1..to];
        let name: String = tag
            .trim_start_matches('/')
            .chars()
            .take_while(|c| c.is_ascii_alphanumeric() || *c == '!')
            .collect();
        assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
        if tag.starts_with('/') {
            assert_eq!(open.pop().as_deref(), Some(name.as_str()), "</{name}> closes something else");
        } else if !VOID.contains(&name.as_str()) && !tag.ends_with('/') {
            open.push(name.clone());
        }
        rest = &rest[to + 1..];
        if name == "style" && !tag.starts_with('/') {
            rest = &rest[rest.find("</style").expect("styles end")..];
        }
    }
    assert!(open.is_empty(), "{open:?} are open at the end");
    let ids: Vec<&str> = html.split(" id=\"").skip(1).filter_map(|part| part.split('"').next()).collect();
    for id in &ids {
        assert_eq!(ids.iter().filter(|other| *other == id).count(), 1, "{id}");
    }
    for names in html.split("aria-labelledby=\"").skip(1).filter_map(|part| part.split('"').next()) {
        assert!(names.split(' ').all(|name| ids.contains(&name)), "{names}");
    }
}

/// The rows of every table are of one width and have as many cells.
fn lines_up(markdown: &str) {
    let lines: Vec<&str> = markdown.lines().collect();
    for pair in lines.windows(2).filter(|pair| pair.iter().all(|line| line.starts_with('|'))) {
        let cells = |line: &str| line.replace("\\|", "").matches('|').count();
        assert_eq!(pair[0].chars().count(), pair[1].chars().count(), "{pair:?}");
        assert_eq!(cells(pair[0]), cells(pair[1]), "{pair:?}");
    }
}

fn figure(html: &str, name: &str) -> bool {
    html.contains(&format!("<figcaption><strong>{name}</strong>"))
}

#[test]
fn the_page_of_a_promotion_says_what_it_rests_on_before_and_after() {
    let (service, _) = promoted();
    let report = service.report("v2").unwrap();
    assert_eq!(service.report(1), Some(report.clone()));
    let (html, markdown) = check(&report);
    let headline = report.headline();
    assert!(headline.starts_with("v2 was promoted by its plan after "), "{headline}");
    assert!(
        headline.contains("both of its guards had passed, and it has proven itself in the "),
        "{headline}"
    );
    assert!(headline.contains("its accuracy was ") && headline.contains(" where v1's was "), "{headline}");
    for page in [&html, &markdown] {
        for decision in &report.decisions {
            assert!(decision.replayed);
            assert!(page.contains(decision.evidence.sentence.as_ref().unwrap()), "{decision:?}");
        }
        assert!(page.contains("On trial") && page.contains("As live, while it was watched"));
        assert!(page.contains("v2 is live, v1 is retained"));
    }
    let trial = report.trial.as_ref().unwrap();
    assert!(trial.candidate.requests > 0 && trial.candidate.shadowed > 0);
    assert!(report.decisions.len() >= 6, "two guards, three steps");
    for name in [
        "Exposure",
        "Time to answer",
        "Accuracy",
        "error rate at most 0.05",
        "accuracy at most 0.02 below live",
    ] {
        assert!(figure(&html, name), "{name}");
    }
    assert!(!figure(&html, "Failures"), "nothing failed");
    // The exposure, step by step.
    let turns: Vec<(Phase, f64)> =
        report.turns.iter().map(|turn| (turn.phase, turn.weight.fraction())).collect();
    assert_eq!(
        turns,
        [
            (Phase::Staged, 0.0),
            (Phase::Shadow, 0.0),
            (Phase::Canary, 0.1),
            (Phase::Canary, 0.5),
            (Phase::Baking, 1.0),
            (Phase::Promoted, 1.0)
        ]
    );
}

#[test]
fn a_promotion_that_was_undone_later_is_said_to_be() {
    let (service, _) = promoted();
    let _ = service.acting_as("ada").rollback("complaints from dispatch");
    let report = service.report("v2").unwrap();
    let (html, _) = check(&report);
    let headline = report.headline();
    assert!(
        headline.contains("live went back from v2 to v1 (by hand: complaints from dispatch), by ada."),
        "{headline}"
    );
    assert!(html.contains("Promoted, later replaced"));
}

/// Bug: "Live, and does harm" stood on the page of a rollout after another version was promoted. Cause: a report is of one rollout, and knows of no
/// other. Fix: it says what stays true.
#[test]
fn a_live_that_did_harm_is_not_said_to_be_live_for_ever() {
    let (service, _) = promoted();
    let mut report = service.report("v2").unwrap();
    report.rollout.cause = Some(Cause::Eliminated);
    let (html, _) = check(&report);
    assert!(html.contains("Promoted, and did harm"));
}

#[test]
fn the_page_of_a_rollback_says_why_with_its_e_value() {
    let (service, _) = rolled_back();
    let report = service.report("v2").unwrap();
    let (html, markdown) = check(&report);
    let headline = report.headline();
    assert!(
        headline.starts_with("v2 was taken back to v1 after ") && headline.contains(" as live: it is wrong "),
        "{headline}"
    );
    let failed = report.decisions.iter().find(|decided| decided.evidence.verdict == Verdict::Fail).unwrap();
    let strength = failed.evidence.strength.unwrap();
    assert!(
        headline.ends_with(&format!("(e-value {}, limit {}).", strength.harm, strength.harm_threshold)),
        "{headline}"
    );
    assert!(html.contains("<span class=\"verdict failed\">failed</span>"));
    assert!(markdown.contains("- **failed** ██████████ v2 is wrong "));
    assert!(html.contains(">Taken back</p>"));
}

#[test]
fn the_page_of_an_abort_says_how_far_it_had_got() {
    let (service, _) = aborted();
    let report = service.report("v2").unwrap();
    let (html, markdown) = check(&report);
    let headline = report.headline().replace('\u{a0}', " ");
    assert!(
        headline.starts_with("v2 was taken back after ")
            && headline.contains(", answering 5 % of the requests: it is wrong "),
        "{headline}"
    );
    // What the other guard said stands beside it.
    assert!(html.contains("v2 fails in 0 %") && markdown.contains("v2 fails in 0 %"));
    // It was taken off, so its last points are those that led to it.
    let last = report.points.last().unwrap();
    assert_eq!((last.phase, Some(last.at)), (Phase::Canary, report.ended));
    assert!(last.guards[1].strength.unwrap().harm >= last.guards[1].strength.unwrap().harm_threshold);
    assert_eq!(last.candidate.requests, report.rollout.candidate.requests);
}

#[test]
fn the_page_of_what_was_not_shown_says_that_nothing_is_decided() {
    let (service, _) = inconclusive();
    let report = service.report("v2").unwrap();
    let (html, _) = check(&report);
    let headline = report.headline().replace('\u{a0}', " ");
    assert!(headline.starts_with("v2 is held after 40 seconds, as a shadow of 50 % of the requests, and nothing is decided: “guards were inconclusive"), "{headline}");
    assert!(
        html.contains("Held: nothing decided") && html.contains("<span class=\"verdict open\">open</span>")
    );
    assert_eq!(report.ended, None);

    // Where the plan gives up for that.
    let clock = clock();
    let service = builder(&clock).live("v1", below("one", 0.55)).shadowing(Shadowing::new()).build().unwrap();
    let rollout =
        service.stage("v2", below("two", 0.56)).unwrap().guard(guard::accuracy().at_most_below_live(0.001));
    let plan = plan([Step::shadow(0.5).unwrap().max_duration(seconds(20))]);
    rollout.run(plan.on_inconclusive(OnInconclusive::RollBack)).unwrap();
    traffic(&service, &clock, &mut Chance(9), 40, 20);
    let report = rollout.report().unwrap();
    check(&report);
    assert!(report.headline().contains("was given up after 22\u{a0}seconds"), "{}", report.headline());
    assert!(report.headline().contains("neither harm nor equality was shown in the time allowed"));
}

/// Bug: the page said that a watched live was taken back to the version before, where a person had gone back to another. Cause: it went by
/// what was live before. Fix: by where live went.
#[test]
fn the_page_says_to_which_version_live_went_back() {
    let clock = clock();
    let service = builder(&clock).live("v1", below("one", 0.5)).build().unwrap();
    service.stage("v2", below("two", 0.5)).unwrap().promote().unwrap();
    let rollout = service.stage("v3", below("three", 0.5)).unwrap();
    let bake = Bake::new(std::time::Duration::from_secs(3600));
    rollout.run(plan([Step::canary(0.5).unwrap()]).bake(bake)).unwrap();
    traffic(&service, &clock, &mut Chance(2), 200, 20);
    assert_eq!(rollout.phase(), Phase::Baking);
    assert!(service.rollback_to("v1", "complaints").is_ok());
    let headline = rollout.report().unwrap().headline();
    assert!(headline.starts_with("v3 was taken back to v1 after "), "{headline}");
}

/// By hand, by whom and why.
#[test]
fn the_page_says_who_took_it_back_and_in_whose_words() {
    let clock = clock();
    let service = builder(&clock).live("v1", below("one", 0.5)).build().unwrap();
    let rollout = service.stage("v2", below("two", 0.5)).unwrap();
    assert!(rollout.report().unwrap().headline().contains("takes no traffic yet"));
    rollout.canary(0.25).unwrap();
    traffic(&service, &clock, &mut Chance(2), 5, 20);
    assert!(rollout.report().unwrap().headline().contains("nothing is decided yet"));
    let _ = service.acting_as("ada").rollback("complaints from partners");
    let report = rollout.report().unwrap();
    let headline = report.headline().replace('\u{a0}', " ");
    assert_eq!(
        headline,
        "v2 was taken back after 5 seconds, answering 25 % of the requests, by hand by ada: “complaints from partners”."
    );
    let (html, markdown) = check(&report);
    assert!(
        html.contains("<span class=\"by\">by ada</span>")
            && markdown.contains("**, by ada: v2 was taken off")
    );
    assert!(html.contains("No guard has judged it."));
}

/// Says what it is told to.
struct Hostile(&'static str);

impl Guard for Hostile {
    fn name(&self) -> String {
        self.0.into()
    }
    fn judge(&self, _: &Comparison<'_>) -> Evidence {
        Evidence::new(self.name(), Verdict::Fail).observed(0.5, 7).limit(0.1).note(self.0)
    }
}

#[test]
fn whatever_the_host_calls_things_it_is_text_on_the_page() {
    const NASTY: &str = "</p><script>alert(`1`)</script> | a\n# b & \"c\" 'd' ![e](f) \u{202e}";
    const NAME: &str = "v2<b>|`*_&\"'";
    let clock = clock();
    let service = builder(&clock)
        .live("v1<i>", below("one", 0.5))
        .task(switchback::Task::binary(|probability: &f64| *probability).kpi(Kpi::rate(NASTY).unwrap()))
        .build()
        .unwrap();
    let rollout = service.stage(NAME, below("two", 0.5)).unwrap().guard(Hostile(NASTY));
    rollout.canary(0.5).unwrap();
    for _ in 0..30 {
        let answer = service.predict(&0.5).unwrap();
        service.feedback(answer.id(), Outcome::kpi(NASTY, 1.0));
    }
    tick(&service, &clock);
    assert_eq!(rollout.phase(), Phase::Aborted);
    let _ = service.acting_as(NASTY).rollback(NASTY);
    let row = DriftSummaryRow::new(NASTY, NASTY, f64::NAN).p(f64::INFINITY).verdict(NASTY);
    let report = rollout.report().unwrap().title(NASTY).note(NASTY).drift(DriftSummary::new(NASTY).row(row));
    let (html, markdown) = (report.html(), report.markdown());
    balanced(&html);
    lines_up(&markdown);
    assert!(
        !html.contains("<script")
            && !html.contains("<b>")
            && !html.contains("<i>")
            && !html.contains('\u{202e}')
    );
    assert!(html.contains("&lt;script&gt;alert(`1`)&lt;/script&gt;"));
    assert!(
        !markdown.replace("\\<", "").contains('<')
            && !markdown.contains("![e]")
            && !markdown.contains("alert(`")
    );
    assert!(!markdown.lines().any(|line| line.starts_with("# b")));
    assert!(markdown.contains("\\<script\\>alert(\\`1\\`)"));
}

#[test]
fn what_the_host_adds_is_on_the_page() {
    let (service, _) = aborted();
    let table = DriftSummary::new("against March")
        .row(DriftSummaryRow::new("temperature", "PSI", 0.31).p(0.0004).verdict("drifted for both"));
    let report = service.report("v2").unwrap().title("The second try").note("See the minutes.").drift(table);
    let (html, markdown) = check(&report);
    assert!(html.contains("<h1>The second try</h1>") && html.contains("<p>See the minutes.</p>"));
    assert!(html.contains("<th scope=\"row\">temperature</th><td>PSI</td><td class=\"number\">0.31</td><td class=\"number\">0.0004</td>"));
    assert!(
        markdown.contains("| temperature | PSI     |   0.31 | 0.0004 | drifted for both |"),
        "{markdown}"
    );
    let long = (0..1_000).fold(DriftSummary::new(""), |table, number| {
        table.row(DriftSummaryRow::new(format!("feature {number}"), "PSI", 0.01))
    });
    assert!(check(&report.drift(long)).0.contains("900 more rows are not shown."));
}

#[test]
fn the_last_rollout_of_a_name_is_meant_and_none_that_never_was() {
    let clock = clock();
    let service = builder(&clock).live("v1", below("one", 0.5)).build().unwrap();
    assert!(service.report("v2").is_none() && service.report(7).is_none());
    let _ = service.stage("v2", below("two", 0.5)).unwrap().rollback("first");
    clock.advance(seconds(10));
    service.stage("v2", below("two again", 0.5)).unwrap().canary(0.5).unwrap();
    let _ = service.rollback("second");
    let (first, second) = (service.report(1).unwrap(), service.report("v2").unwrap());
    assert_eq!((first.rollout.number, second.rollout.number), (1, 2));
    // Nothing of one is on the page of the other.
    assert!(first.html().contains("first") && !first.html().contains("second)"));
    assert!(second.html().contains("second") && !second.html().contains("first)"));
}

/// A long rollout: as many points as any, and a page that stays small.
#[test]
fn a_long_rollout_has_a_short_page() {
    let clock = clock();
    let service = builder(&clock)
        .live("v1", below("one", 0.5))
        .shadowing(Shadowing::new())
        .limits(Limits::new().events(64))
        .build()
        .unwrap();
    let guards = [0.001, 0.002, 0.003, 0.004, 0.005];
    let rollout = guards.iter().fold(service.stage("v2", below("two", 0.501)).unwrap(), |rollout, margin| {
        rollout.guard(guard::accuracy().at_most_below_live(*margin))
    });
    rollout.canary(0.5).unwrap();
    let mut chance = Chance(4);
    for round in 0..100 {
        traffic(&service, &clock, &mut chance, 10, 2);
        rollout.canary(if round % 2 == 0 { 0.4 } else { 0.5 }).unwrap();
    }
    let report = rollout.report().unwrap();
    assert!((120..=257).contains(&report.points.len()), "{}", report.points.len());
    assert!(report.one_in >= 4 && report.turns.len() == 64 && report.events_missing);
    let (html, _) = check(&report);
    assert!(html.len() < 150_000, "{}", html.len());
    assert!(html.contains("has let go of the beginning"));
    assert_eq!(report.turns_left_out, 102 - 64, "staged, exposed, and a hundred changes");
    assert!(html.contains("77 changes left out"), "24 are shown, and not that it was staged");
}

#[cfg(feature = "state")]
#[test]
fn a_rollout_that_went_on_after_a_start_says_since_when_it_was_seen() {
    let (clock, folder) = (clock(), Folder::new());
    let start = || {
        builder(&clock)
            .live("v1", below("one", 0.5))
            .shadowing(Shadowing::new())
            .state(&folder.0)
            .source(|name: &str| {
                let identity = if name == "v2" { "two" } else { "one" };
                Ok(Box::new(below(identity, 0.5)) as Box<dyn switchback::Model<f64, f64>>)
            })
            .build()
            .unwrap()
    };
    let service = start();
    let rollout =
        service.stage("v2", below("two", 0.5)).unwrap().guard(guard::accuracy().at_most_below_live(0.02));
    rollout.run(switchback::Plan::ramp([0.1]).unwrap()).unwrap();
    traffic(&service, &clock, &mut Chance(6), 5, 10);
    service.close(seconds(60)).unwrap();
    drop((rollout, service));
    clock.advance(seconds(60));
    let service = start();
    traffic(&service, &clock, &mut Chance(7), 5, 10);
    let report = service.report("v2").unwrap();
    let (html, markdown) = check(&report);
    assert!(report.went_on);
    let said = "what is shown over time was seen here since ";
    assert!(html.contains(said) && markdown.contains(said), "{}", report.headline());
}

/// Bug: the report on a rollout was gone with the process, though its journal had what happened and every decision. Cause: a report
/// was gathered from what a handle remembers alone. Fix: what is not remembered is told from the journal, without figures.
#[cfg(feature = "state")]
#[test]
fn a_rollout_that_was_over_before_the_process_began_is_told_from_the_journal() {
    let (clock, folder) = (clock(), Folder::new());
    let start = || {
        builder(&clock)
            .live("v1", below("one", 0.6))
            .shadowing(Shadowing::new())
            .state(&folder.0)
            .source(|name: &str| {
                let (identity, limit) = if name == "v3" { ("three", 0.51) } else { ("one", 0.6) };
                Ok(Box::new(below(identity, limit)) as Box<dyn switchback::Model<f64, f64>>)
            })
            .build()
            .unwrap()
    };
    let service = start();
    let worse = service.stage("v2", below("two", 0.95)).unwrap();
    let worse = worse.guard(guard::accuracy().at_most_below_live(0.02));
    worse.canary(0.25).unwrap();
    traffic(&service, &clock, &mut Chance(1), 100, 100);
    let better = service.stage("v3", below("three", 0.51)).unwrap();
    let better = better.guard(guard::accuracy().at_most_below_live(0.02));
    let bake = Bake::new(seconds(60)).keep_previous_as_shadow(0.5).unwrap();
    better.run(ramp([0.1, 0.5]).bake(bake)).unwrap();
    traffic(&service, &clock, &mut Chance(3), 200, 50);
    assert_eq!((worse.phase(), better.phase()), (Phase::Aborted, Phase::Promoted));
    let seen = ["v2", "v3"].map(|version| service.report(version).unwrap());
    assert!(seen.iter().all(|report| !report.from_journal));
    service.close(seconds(60)).unwrap();
    drop((worse, better, service));

    let service = start();
    for seen in &seen {
        let version = seen.rollout.version;
        let report = service.report(version).unwrap();
        let (html, markdown) = check(&report);
        assert!(report.from_journal && html.contains("no figures"), "{html}");
        assert_eq!((report.began, report.ended, report.live), (seen.began, seen.ended, seen.live));
        assert_eq!((report.rollout.phase, &report.rollout.cause), (seen.rollout.phase, &seen.rollout.cause));
        assert_eq!((&report.decisions, &report.events), (&seen.decisions, &seen.events));
        assert!(report.decisions.iter().all(|decided| decided.replayed) && !report.decisions.is_empty());
        let first = |report: &Report| report.headline().split(". ").next().unwrap().to_owned();
        let said = first(seen);
        assert!(report.headline().starts_with(said.split(", and").next().unwrap()), "{}", report.headline());
        // What is not known is not said.
        for unknown in ["0 requests", "by hand", "No evidence has been taken", "Figures since"] {
            assert!(!html.contains(unknown) && !markdown.contains(unknown), "{unknown}: {markdown}");
        }
        assert_eq!(service.report(seen.rollout.number).unwrap().rollout.version, version);
        // Any process that may read the folder can do the same.
        let outside = switchback::report::from_journal(&folder.0, version.as_str()).unwrap().unwrap();
        assert_eq!(outside.decisions, report.decisions);
    }
    assert!(service.report("v9").is_none());
}

/// Bug: there was a report on a version that had never been on trial, and it said that it was promoted. Cause: from the journal a rollout
/// was taken to begin at whatever concerned a version, such as a rollback to the first live. Fix: it begins where it was staged, or at
/// what only a candidate has.
#[cfg(feature = "state")]
#[test]
fn a_version_that_was_never_on_trial_has_no_report() {
    let (clock, folder) = (clock(), Folder::new());
    let service = builder(&clock).live("v1", below("one", 0.5)).state(&folder.0).build().unwrap();
    service.stage("v2", below("two", 0.5)).unwrap().promote().unwrap();
    tick(&service, &clock);
    let _ = service.rollback_to("v1", "complaints").unwrap();
    tick(&service, &clock);
    service.stage("v3", below("three", 0.5)).unwrap().promote().unwrap();
    tick(&service, &clock);
    service.checkpoint().unwrap();
    let told = |version: &str| switchback::report::from_journal(&folder.0, version).unwrap();
    assert!(told("v1").is_none(), "{}", told("v1").unwrap().headline());
    assert!(service.report("v1").is_none());
    let reports = [told("v2").unwrap().headline(), told("v3").unwrap().headline()];
    assert!(reports.iter().all(|headline| headline.contains("was promoted by hand")), "{reports:?}");
}

/// A guard of the host's own that everything passes.
struct Content;

impl Guard for Content {
    fn name(&self) -> String {
        "content".into()
    }

    fn judge(&self, _: &Comparison<'_>) -> Evidence {
        Evidence::new("content", Verdict::Pass)
    }
}

/// Bug: "promoted by its plan: all 0 of its guards had passed", and "No guard has judged it". Cause: guards were counted by the records of
/// decisions, and guards of the host's own have none. Fix: by what the promotion itself rests on.
#[cfg(feature = "state")]
#[test]
fn guards_that_left_no_record_are_counted_by_what_the_promotion_rests_on() {
    let (clock, folder) = (clock(), Folder::new());
    let service = builder(&clock).live("v1", below("one", 0.5)).state(&folder.0).build().unwrap();
    let rollout = service.stage("v2", below("two", 0.5)).unwrap().guard(Content);
    rollout.run(plan([Step::canary(0.5).unwrap()])).unwrap();
    traffic(&service, &clock, &mut Chance(1), 100, 20);
    assert_eq!(rollout.phase(), Phase::Promoted);
    service.checkpoint().unwrap();
    let report = switchback::report::from_journal(&folder.0, "v2").unwrap().unwrap();
    let headline = report.headline();
    assert!(
        headline.contains("was promoted by its plan") && headline.contains("its guard had passed"),
        "{headline}"
    );
    let (_, markdown) = check(&report);
    assert!(markdown.contains("One guard was to judge it"), "{markdown}");
}

/// Bug: "2 label came after those of their time". Cause: the verb was a part of what is counted, and the plural that was made of it
/// was put right in the verb alone. Fix: the noun alone is counted.
#[test]
fn labels_that_come_late_are_counted_in_the_plural() {
    let (service, _) = aborted();
    let mut report = service.report("v2").unwrap();
    for (late, said) in
        [(1, "1 label came after those of their time"), (2, "2 labels came after those of their time")]
    {
        report.rollout.labels_late = late;
        let markdown = report.markdown().replace(['\u{a0}', '\u{202f}'], " ");
        assert!(markdown.contains(said), "{markdown}");
    }
}
