use proptest::prelude::*;
use semver::Version;
use serde_json::json;

use super::*;
use crate::model::opset::Opset;

fn host() -> Host {
    Host::new()
        .feature(Feature::number("amount").unit("EUR").range(0.0..=1e4))
        .feature(Feature::category("channel", ["web", "shop"]))
        .feature(Feature::integer("count").range(0.0..=10.0))
        .feature(Feature::number("embedding").vector(3))
        .feature(Feature::text("note").optional())
        .labels(["fine", "fraud"])
}

fn mismatches(contract: &Contract) -> Vec<Mismatch> {
    host().mismatches(contract, &[], &Facts::default())
}

fn of_feature(feature: Feature) -> Vec<Mismatch> {
    let host = Host { labels: None, ..host() };
    host.mismatches(&Contract::new().feature(feature), &[], &Facts::default())
}

#[test]
fn what_a_host_supplies_to_the_letter_fits() {
    let contract = Contract { features: host().features, ..Contract::new() }.labels(["fine", "fraud"]);
    assert_eq!(mismatches(&contract), []);
}

#[test]
fn a_version_may_allow_more_than_the_host_supplies() {
    for feature in [
        Feature::number("amount").unit("EUR").range(-1.0..=1e5),
        Feature::number("amount"),
        Feature::category("channel", ["phone", "shop", "web"]),
        Feature::text("channel"),
        Feature::number("count").range(0.0..=10.0),
        Feature::text("note").optional(),
        Feature::time("unheard of").optional(),
    ] {
        assert_eq!(of_feature(feature.clone()), [], "{feature:?}");
    }
}

#[test]
fn every_way_in_which_a_feature_does_not_fit_has_its_own_mismatch() {
    let name = |feature: &str| feature.to_owned();
    let (amount, number) = (name("amount"), FeatureKind::Number);
    let supplied = Bounds { minimum: Some(0.0), maximum: Some(1e4) };
    for (needed, expected) in [
        (Feature::time("when"), Mismatch::FeatureMissing { feature: name("when") }),
        (
            Feature::integer("amount"),
            Mismatch::FeatureKind { feature: amount.clone(), needed: FeatureKind::Integer, supplied: number },
        ),
        (
            Feature::number("amount").unit("USD"),
            Mismatch::FeatureUnit {
                feature: amount.clone(),
                needed: name("USD"),
                supplied: Some(name("EUR")),
            },
        ),
        (
            Feature::number("embedding").vector(3).unit("m"),
            Mismatch::FeatureUnit { feature: name("embedding"), needed: name("m"), supplied: None },
        ),
        (
            Feature::number("amount").range(0.0..=9_999.0),
            Mismatch::FeatureRange {
                feature: amount.clone(),
                needed: Bounds { minimum: Some(0.0), maximum: Some(9_999.0) },
                supplied,
            },
        ),
        (
            Feature::category("channel", ["web"]),
            Mismatch::FeatureCategories { feature: name("channel"), unknown: vec![name("shop")] },
        ),
        (
            Feature::number("embedding").vector(4),
            Mismatch::FeatureLength { feature: name("embedding"), needed: 4, supplied: 3 },
        ),
        (Feature::text("note"), Mismatch::FeatureOptional { feature: name("note") }),
    ] {
        assert_eq!(of_feature(needed), [expected]);
    }
}

#[test]
fn what_a_host_does_not_declare_does_not_fit_what_a_version_does() {
    let unbounded = Host::new().feature(Feature::number("x"));
    let bounded = Contract::new().feature(Feature::number("x").range(0.0..=f64::INFINITY));
    let found = unbounded.mismatches(&bounded, &[], &Facts::default());
    assert!(matches!(found[..], [Mismatch::FeatureRange { .. }]), "{found:?}");

    let open = Feature { categories: None, ..Feature::category("c", ["a"]) };
    let contract = Contract::new().feature(Feature::category("c", ["a", "b"]));
    let found = Host::new().feature(open).mismatches(&contract, &[], &Facts::default());
    assert!(matches!(found[..], [Mismatch::FeatureCategoriesOpen { .. }]), "{found:?}");
}

#[test]
fn labels_are_compared_as_a_list() {
    let with = |labels: &[&str]| mismatches(&Contract::new().labels(labels.iter().copied()));
    assert!(matches!(with(&["fraud", "fine"])[..], [Mismatch::LabelsReordered { .. }]));
    assert!(
        matches!(&with(&["fine"])[..], [Mismatch::LabelsMissing { labels }] if labels.as_slice() == ["fraud"])
    );
    let found = with(&["fine", "fishy"]);
    assert!(
        matches!(&found[..], [Mismatch::LabelsMissing { .. }, Mismatch::LabelsUnexpected { labels }]
            if labels.as_slice() == ["fishy"]),
        "{found:?}"
    );
    assert!(matches!(with(&[])[..], [Mismatch::LabelsUnnamed { .. }]));
}

#[test]
fn labels_of_the_file_stand_in_for_those_of_a_contract_and_must_agree_with_them() {
    let facts = Facts { labels: vec!["fine".to_owned(), "fraud".to_owned()], ..Facts::default() };
    assert_eq!(host().mismatches(&Contract::new(), &[], &facts), []);
    let found = host().mismatches(&Contract::new().labels(["fraud", "fine"]), &[], &facts);
    assert!(
        matches!(found[..], [Mismatch::LabelsOfFile { .. }, Mismatch::LabelsReordered { .. }]),
        "{found:?}"
    );
}

#[test]
fn a_pipeline_is_found_by_name_and_by_version() {
    let (old, new) = (Version::new(1, 4, 0), Version::new(2, 1, 3));
    let registered = [("history", &new), ("history", &old), ("amount", &old)];
    let host = Host::new();
    let ask = |name: &str, need: &str| {
        let contract = Contract::new().pipeline(name, need.parse().unwrap());
        host.mismatches(&contract, &registered, &Facts::default())
    };
    assert_eq!(ask("history", "2.1"), []);
    assert_eq!(ask("history", "1"), []);
    assert!(
        matches!(&ask("history", "2.2")[..], [Mismatch::PipelineVersion { registered, .. }] if *registered == [old.clone(), new.clone()])
    );
    assert!(
        matches!(&ask("none", "*")[..], [Mismatch::PipelineUnknown { registered, .. }] if registered.as_slice() == ["amount", "history"])
    );
}

#[test]
fn the_runtime_must_be_new_enough_and_know_the_operators() {
    let facts = |runtime| Facts {
        opsets: vec![Opset::new("ai.onnx", 22), Opset::new("com.example", 99)],
        runtime,
        ..Facts::default()
    };
    let here = |version: Option<&str>, newest: i64| RuntimeFacts::Here {
        version: version.map(|version| version.parse().unwrap()),
        newest_opsets: vec![Opset::new("ai.onnx", newest)],
    };
    let contract = Contract::new().runtime("1.20".parse().unwrap());
    let ask = |runtime| Host::new().mismatches(&contract, &[], &facts(runtime));
    assert_eq!(ask(here(Some("1.20.0"), 22)), []);
    assert_eq!(ask(here(Some("1.20.0-dev"), 23)), []);
    assert_eq!(ask(RuntimeFacts::NotAsked), []);
    let found = ask(here(Some("1.19.2"), 21));
    assert!(
        matches!(
            found[..],
            [Mismatch::RuntimeVersion { .. }, Mismatch::Opset { needed: 22, newest: 21, .. }]
        ),
        "{found:?}"
    );
    assert!(matches!(ask(here(None, 22))[..], [Mismatch::RuntimeUnknown { .. }]));
    let missing = RuntimeFacts::Missing { cause: "not found".to_owned() };
    assert!(matches!(ask(missing)[..], [Mismatch::RuntimeMissing { .. }]));
}

#[test]
fn a_contract_that_contradicts_itself_is_told_so_with_everything_that_is_wrong() {
    let contract = Contract::new()
        .feature(Feature::number(" "))
        .feature(Feature::text("text").range(0.0..=1.0))
        .feature(Feature::number("range").range(1.0..=0.0))
        .feature(Feature::number("range").vector(0))
        .feature(Feature::category("none", Vec::<String>::new()))
        .feature(Feature::category("twice", ["a", "b", "a", "a"]))
        .feature(Feature { categories: Some(vec!["a".to_owned()]), ..Feature::number("number") })
        .labels(["a", "a"])
        .pipeline("", "1".parse().unwrap());
    let error = contract.validate().unwrap_err();
    assert_eq!(error.problems().len(), 10, "{error}");
    assert!(error.to_string().contains("range 1 to 0, in which nothing lies"), "{error}");
    let nan = Contract::new().feature(Feature { minimum: Some(f64::NAN), ..Feature::number("nan") });
    assert!(nan.validate().is_err());
    let found = Host { features: contract.features.clone(), labels: None }.mismatches(
        &Contract::new(),
        &[],
        &Facts::default(),
    );
    assert_eq!(found.len(), 8, "{found:?}");
    assert!(found.iter().all(|mismatch| matches!(mismatch, Mismatch::Host { .. })));
    assert_eq!(Contract::new().validate(), Ok(()));
}

#[test]
fn a_contract_reads_as_a_manifest_writes_it() {
    let contract: Contract = serde_json::from_value(json!({
        "features": [
            {"name": "amount", "type": "number", "unit": "EUR", "minimum": 0.0, "maximum": 10000.0},
            {"name": "channel", "type": "category", "categories": ["web", "shop"], "optional": true},
            {"name": "embedding", "type": "number", "length": 3},
        ],
        "labels": ["fine", "fraud"],
        "pipeline": {"name": "history", "version": "^2.1"},
        "runtime": "^1.20",
    }))
    .unwrap();
    let built = Contract::new()
        .feature(Feature::number("amount").unit("EUR").range(0.0..=1e4))
        .feature(Feature::category("channel", ["web", "shop"]).optional())
        .feature(Feature::number("embedding").vector(3))
        .labels(["fine", "fraud"])
        .pipeline("history", "2.1".parse().unwrap())
        .runtime("1.20".parse().unwrap());
    assert_eq!(contract, built);
    let json = serde_json::to_value(&built).unwrap();
    assert_eq!(serde_json::from_value::<Contract>(json).unwrap(), built);
    assert!(serde_json::from_value::<Contract>(json!({"feature": []})).is_err());
}

/// Any feature, sound or not.
fn any_feature() -> impl Strategy<Value = Feature> {
    let kind = prop::sample::select(vec![
        FeatureKind::Number,
        FeatureKind::Integer,
        FeatureKind::Boolean,
        FeatureKind::Category,
        FeatureKind::Text,
        FeatureKind::Time,
    ]);
    let bound = || prop::option::of(prop_oneof![any::<f64>(), Just(0.0)]);
    let categories = prop::option::of(prop::collection::vec("[a-c]", 0..4));
    let rest = (prop::option::of("[a-b]"), 0_usize..3, any::<bool>());
    ("[a-d]?", kind, bound(), bound(), categories, rest).prop_map(
        |(name, kind, minimum, maximum, categories, (unit, length, optional))| Feature {
            unit,
            minimum,
            maximum,
            categories,
            length,
            optional,
            ..Feature::of(name, kind)
        },
    )
}

proptest! {
    #[test]
    fn a_host_that_supplies_what_a_sound_contract_asks_fits_and_an_unsound_one_never_does(
        features in prop::collection::vec(any_feature(), 0..5),
        labels in prop::collection::vec("[a-d]", 0..4),
    ) {
        let contract = Contract { features: features.clone(), ..Contract::new() }.labels(labels.clone());
        let host = Host { features, labels: Some(labels) };
        let found = host.mismatches(&contract, &[], &Facts::default());
        prop_assert_eq!(found.is_empty(), contract.validate().is_ok(), "{:?}", found);
    }

    #[test]
    fn what_fits_goes_on_fitting_when_the_host_supplies_less(
        needed in any_feature(),
        supplied in any_feature(),
    ) {
        let ask = |supplied: &Feature| {
            let contract = Contract::new().feature(Feature { name: "x".to_owned(), ..needed.clone() });
            let host = Host::new().feature(Feature { name: "x".to_owned(), ..supplied.clone() });
            host.mismatches(&contract, &[], &Facts::default())
        };
        let middle = supplied.minimum.zip(supplied.maximum).map(|(low, high)| low / 2.0 + high / 2.0);
        if let Some(middle) = middle.filter(|_| ask(&supplied).is_empty()) {
            let narrower = Feature { minimum: Some(middle), maximum: Some(middle), ..supplied.clone() };
            prop_assert_eq!(ask(&narrower), []);
        }
    }
}
