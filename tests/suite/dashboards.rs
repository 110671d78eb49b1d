//! Alerts and the dashboard ask for what there is: every name and label in `observability/` stands in the table of figures.
//! What Prometheus answers is asked of a real one in `.ci/metrics`.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;
use switchback::events::EventKind;
use switchback::operator::figures::{DESCRIBED, Described, FigureKind};

fn file(name: &str) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("observability").join(name);
    std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// A figure that a query asks for, with the labels that it is narrowed by and what they may be.
struct Asked<'q> {
    name: &'q str,
    labels: Vec<(&'q str, &'q str)>,
}

fn word(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
    &text[..end]
}

fn asked(query: &str) -> Vec<Asked<'_>> {
    let places = query.match_indices("switchback_").filter(|(place, _)| {
        // Not within a name, a path or a text of an alert.
        query[..*place].chars().last().is_none_or(|c| !c.is_ascii_alphanumeric() && c != '_' && c != '`')
    });
    let read = |(place, _)| {
        let name = word(&query[place..]);
        let rest = &query[place + name.len()..];
        let inside =
            rest.strip_prefix('{').and_then(|rest| rest.split_once('}')).map_or("", |(inside, _)| inside);
        let matchers = inside.split(',').filter(|one| !one.trim().is_empty());
        let labels = matchers.map(|matcher| {
            let matcher = matcher.trim();
            let label = word(matcher);
            (label, matcher[label.len()..].trim_start_matches(['=', '!', '~']).trim_matches(['"', '\'']))
        });
        Asked { name, labels: labels.collect() }
    };
    places.map(read).collect()
}

fn described(name: &str) -> Option<&'static Described> {
    DESCRIBED.iter().find(|figure| match figure.kind {
        FigureKind::Histogram => {
            name.strip_prefix(figure.name).is_some_and(|end| ["_bucket", "_sum", "_count"].contains(&end))
        }
        _ => figure.name == name,
    })
}

/// What is wrong with a query.
fn wrong(query: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    // Those of Prometheus's own.
    let mut known: BTreeSet<&str> = ["model", "instance", "job", "le"].into();
    let found = asked(query);
    for Asked { name, labels } in &found {
        let Some(figure) = described(name) else {
            wrong.push(format!("{name} is not in the table: {query}"));
            continue;
        };
        known.extend(figure.labels);
        for (label, value) in labels {
            if !known.contains(label) || (*label != "model" && !figure.labels.contains(label)) {
                wrong.push(format!("{name} has no label {label}: {query}"));
            }
            let kinds = value.split('|').filter(|kind| !EventKind::NAMES.contains(kind));
            if *label == "event" {
                wrong.extend(kinds.map(|kind| format!("{kind} is no kind of event: {query}")));
            }
        }
    }
    for clause in ["by (", "on (", "ignoring (", "group_left ("] {
        for (place, _) in query.match_indices(clause) {
            let inside = query[place + clause.len()..].split(')').next().unwrap_or_default();
            let labels = inside.split(',').map(str::trim).filter(|label| !known.contains(label));
            wrong.extend(labels.map(|label| format!("nothing has a label {label}: {query}")));
        }
    }
    if found.is_empty() {
        wrong.push(format!("nothing of ours is asked for: {query}"));
    }
    wrong
}

#[test]
fn a_wrong_query_is_told_from_a_right_one() {
    let right =
        r#"sum by (model, le) (rate(switchback_predict_duration_seconds_bucket{model=~"$model"}[5m]))"#;
    assert!(wrong(right).is_empty(), "{:?}", wrong(right));
    for query in [
        "switchback_nothing",
        "switchback_predict_duration_seconds",
        r#"switchback_epoch{version="v1"}"#,
        r#"switchback_events_total{event=~"rolled_back|eaten"}"#,
        "sum by (colour) (switchback_epoch)",
        "up",
    ] {
        assert!(!wrong(query).is_empty(), "{query}");
    }
}

#[test]
fn alerts_ask_for_figures_that_there_are() {
    let text = file("alerts.yml");
    let code: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with('#')).collect();
    let rules: Vec<String> = code.join("\n").split("- alert: ").skip(1).map(str::to_owned).collect();
    assert!(rules.len() >= 9, "{rules:#?}");
    let wrong: Vec<String> = rules.iter().flat_map(|rule| wrong(rule)).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    let tests = file("alerts_test.yml");
    let operating = include_str!("../../docs/operating.md");
    for rule in &rules {
        let name = word(rule);
        assert!(tests.contains(&format!("alertname: {name},")), "{name} is not tested");
        assert!(operating.contains(&format!("| `{name}` |")), "what to do at {name} is not said");
    }
}

/// Every value of this key, wherever it stands.
fn every<'v>(value: &'v Value, key: &str, found: &mut Vec<&'v Value>) {
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, value)| {
            found.extend((name == key).then_some(value));
            every(value, key, found);
        }),
        Value::Array(values) => values.iter().for_each(|value| every(value, key, found)),
        _ => {}
    }
}

#[test]
fn the_dashboard_asks_for_figures_that_there_are_and_shows_all() {
    let dashboard: Value = serde_json::from_str(&file("grafana.json")).unwrap();
    assert_eq!(dashboard["schemaVersion"], 39);
    let mut queries = Vec::new();
    every(&dashboard, "expr", &mut queries);
    let queries: Vec<&str> = queries.into_iter().map(|query| query.as_str().unwrap()).collect();
    let wrong: Vec<String> = queries.iter().flat_map(|query| wrong(query)).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(queries.iter().all(|query| query.contains(r#"model=~"$model""#)), "the variable is ignored");
    let shown: BTreeSet<&str> = queries
        .iter()
        .flat_map(|query| asked(query))
        .filter_map(|asked| described(asked.name))
        .map(|of| of.name)
        .collect();
    let missing: Vec<&str> =
        DESCRIBED.iter().map(|of| of.name).filter(|name| !shown.contains(name)).collect();
    assert!(missing.is_empty(), "no panel shows {missing:?}");

    // Whole, on Grafana's grid of 24, without a plug-in, from the data source that is chosen.
    let panels = dashboard["panels"].as_array().unwrap();
    let kinds: BTreeSet<&str> = panels.iter().map(|panel| panel["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["row", "stat", "state-timeline", "timeseries"].into());
    let ids: BTreeSet<u64> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len());
    let mut covered = BTreeSet::new();
    for panel in panels {
        let [x, y, w, h] = ["x", "y", "w", "h"].map(|key| panel["gridPos"][key].as_u64().unwrap());
        assert!(x + w <= 24, "{}", panel["title"]);
        for place in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            assert!(covered.insert(place), "{} lies on another panel", panel["title"]);
        }
        assert!(!panel["title"].as_str().unwrap().is_empty());
        for target in panel["targets"].as_array().into_iter().flatten() {
            assert_eq!(target["datasource"]["uid"], "${datasource}");
        }
    }
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    let names: Vec<&str> = variables.iter().map(|variable| variable["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["datasource", "model"]);
}
