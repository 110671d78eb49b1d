//! Profiles from rows to tables.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;

/// A cell that owns its text.
#[derive(Debug, Clone)]
enum Owned {
    Number(f64),
    Text(String),
    Missing,
}

impl Owned {
    fn cell(&self) -> Cell<'_> {
        match self {
            Self::Number(number) => Cell::Number(*number),
            Self::Text(text) => Cell::Text(text),
            Self::Missing => Cell::Missing,
        }
    }
}

fn owned() -> impl Strategy<Value = Owned> {
    prop_oneof![
        any::<f64>().prop_map(Owned::Number),
        (-5..5_i32).prop_map(|number| Owned::Number(number.into())),
        "[a-d]{0,2}".prop_map(Owned::Text),
        Just(Owned::Missing),
    ]
}

fn any_rows(most: usize) -> impl Strategy<Value = Vec<[Owned; 2]>> {
    prop::collection::vec([owned(), owned()], 1..most)
}

fn cells(rows: &[[Owned; 2]]) -> Vec<[Cell<'_>; 2]> {
    rows.iter().map(|[number, category]| [number.cell(), category.cell()]).collect()
}

fn builder() -> ProfileBuilder {
    ReferenceProfile::builder().numeric("number").categorical("category")
}

fn counted(reference: &ReferenceProfile, rows: &[[Cell<'_>; 2]]) -> Profile {
    let mut profile = reference.profile();
    rows.iter().for_each(|row| profile.record(row).unwrap());
    profile
}

fn of_numbers(numbers: impl Iterator<Item = f64> + Clone) -> ReferenceProfile {
    ReferenceProfile::builder().numeric("x").build_from(numbers.map(|x| [Cell::Number(x)])).unwrap()
}

fn window(reference: &ReferenceProfile, numbers: impl Iterator<Item = f64>) -> Profile {
    let mut profile = reference.profile();
    numbers.for_each(|x| profile.record(&[Cell::Number(x)]).unwrap());
    profile
}

fn numbers(count: u32) -> impl Iterator<Item = f64> + Clone {
    (0..count).map(|n| f64::from(n.wrapping_mul(7_919) % 1_000))
}

proptest! {
    #[test]
    fn profiles_merged_in_any_order_are_one_pass(
        rows in any_rows(60), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..5), turned in any::<bool>()
    ) {
        let rows = cells(&rows);
        let reference = builder().build_from(&rows).unwrap();
        let mut parts: Vec<Profile> = (0..=cuts.len()).map(|_| reference.profile()).collect();
        for (number, row) in rows.iter().enumerate() {
            let part = cuts.iter().filter(|cut| cut.index(rows.len()) < number).count();
            parts[part].record(row).unwrap();
        }
        if turned {
            parts.reverse();
        }
        let mut merged = reference.profile();
        parts.iter().for_each(|part| merged.merge(part).unwrap());
        prop_assert_eq!(&merged, reference.counted());
    }

    #[test]
    fn every_row_is_counted_once_of_each_feature(rows in any_rows(60), more in any_rows(60)) {
        let reference = builder().build_from(cells(&rows)).unwrap();
        let profile = counted(&reference, &cells(&more));
        for name in ["number", "category"] {
            let bins: u64 = profile.bins(name).unwrap().iter().sum();
            let all = bins + profile.missing(name).unwrap() + profile.unseen(name).unwrap();
            prop_assert_eq!(all, more.len() as u64);
        }
    }

    #[test]
    fn what_training_had_is_never_unseen_as_a_category(rows in any_rows(60)) {
        let reference = builder().build_from(cells(&rows)).unwrap();
        prop_assert_eq!(reference.counted().unseen("category"), Some(0));
    }

    #[test]
    fn a_reference_survives_json(rows in any_rows(60)) {
        let reference = builder().bins(20).categories(3).build_from(cells(&rows)).unwrap();
        let text = serde_json::to_string(&reference).unwrap();
        let read: ReferenceProfile = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(&read, &reference);
        prop_assert!(read.profile().merge(reference.counted()).is_ok());
    }

    #[test]
    fn no_mutation_of_json_breaks_anything(
        rows in any_rows(20), at in any::<prop::sample::Index>(), with in prop_oneof![
            Just("null".to_owned()), Just("-1".to_owned()), Just("1e999".to_owned()), Just("\"x\"".to_owned()),
            Just(",".to_owned()), Just(String::new()), Just("[]".to_owned()), Just("18446744073709551615".to_owned()),
            "[0-9]{1,4}", ".{0,3}",
        ], length in 0_usize..12
    ) {
        let reference = builder().build_from(cells(&rows)).unwrap();
        let text: Vec<char> = serde_json::to_string(&reference).unwrap().chars().collect();
        let start = at.index(text.len());
        let end = (start + length).min(text.len());
        let mutated: String =
            text[..start].iter().copied().chain(with.chars()).chain(text[end..].iter().copied()).collect();
        if let Ok(read) = serde_json::from_str::<ReferenceProfile>(&mutated) {
            // Whatever is read can be used.
            let mut profile = read.profile();
            let row = vec![Cell::Number(1.0); read.names().len()];
            profile.record(&row).unwrap();
            let table = compare(&read, &profile, &Options::default().minimum_rows(1).unwrap()).unwrap();
            prop_assert!(!table.to_string().is_empty());
            let again = serde_json::to_string(&read).unwrap();
            prop_assert!(serde_json::from_str::<ReferenceProfile>(&again).is_ok());
        }
    }

    #[test]
    fn a_comparison_of_anything_gives_a_table(rows in any_rows(80), more in any_rows(80), minimum in 1_u64..60) {
        let reference = builder().build_from(cells(&rows)).unwrap();
        let profile = counted(&reference, &cells(&more));
        for test in [Test::JensenShannon, Test::Psi, Test::KolmogorovSmirnov] {
            for control in [Control::Bonferroni, Control::EBenjaminiHochberg, Control::BenjaminiHochberg] {
                let options = Options::default().test(test).control(control).minimum_rows(minimum).unwrap();
                let table = compare(&reference, &profile, &options).unwrap();
                prop_assert!(table.rows().iter().all(|row| row.p.is_none_or(|p| (0.0..=1.0).contains(&p))));
                prop_assert!(table.rows().iter().all(|row| row.effect.is_finite() && row.statistic.is_finite()));
                let text = serde_json::to_string(&table).unwrap();
                prop_assert_eq!(serde_json::from_str::<DriftTable>(&text).unwrap().to_string(), table.to_string());
            }
        }
    }
}

#[test]
fn numbers_that_are_none_are_missing_and_infinities_lie_outermost() {
    let reference = of_numbers(numbers(1_000));
    let profile = window(&reference, [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e300, -1e300].into_iter());
    let bins = profile.bins("x").unwrap();
    assert_eq!(bins.len(), 10);
    assert_eq!((profile.missing("x"), bins[0], bins[9]), (Some(1), 2, 2));
    let odd = of_numbers([f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 5.0].into_iter());
    assert_eq!(odd.counted().missing("x"), Some(1));
    assert_eq!(odd.counted().bins("x").unwrap().iter().sum::<u64>(), 3);
}

#[test]
fn bins_hold_as_many_rows_each() {
    let reference = of_numbers(numbers(10_000));
    assert_eq!(reference.counted().bins("x").unwrap(), [1_000; 10]);
}

#[test]
fn a_feature_of_one_value_is_seen_to_change_either_way_and_to_stay() {
    for value in [0.0, -3.5, 0.1, 1e300, f64::MAX, f64::MIN, f64::INFINITY] {
        let reference = of_numbers(std::iter::repeat_n(value, 500));
        assert_eq!(reference.counted().bins("x").unwrap().len(), 3, "{value}");
        let drifted = |other: f64| {
            let window = window(&reference, std::iter::repeat_n(other, 100));
            compare(&reference, &window, &Options::default()).unwrap().has_drifted()
        };
        assert!(!drifted(value));
        if value.abs() < 1e300 {
            assert!(!drifted(f64::from(value as f32)), "{value}");
            assert!(drifted(value + 1.0) && drifted(value - 1.0), "{value}");
        }
    }
}

#[test]
fn a_value_that_many_rows_share_has_a_bin_of_its_own() {
    // Six in ten are 0; a sentinel of -1 takes their place.
    let amounts = |zero: f64| (0..1_000).map(move |n| if n % 10 < 6 { zero } else { f64::from(n) });
    let reference = of_numbers(amounts(0.0));
    assert_eq!(reference.counted().bins("x").unwrap()[..2], [0, 600]);
    let table = compare(&reference, &window(&reference, amounts(-1.0)), &Options::default()).unwrap();
    assert!(table.has_drifted(), "{table}");
    let table = compare(&reference, &window(&reference, amounts(0.0)), &Options::default()).unwrap();
    assert!(!table.has_drifted(), "{table}");
}

#[test]
fn rare_categories_are_others_and_new_ones_are_unseen() {
    let rows = |n: u32| {
        [Cell::Text(if n.is_multiple_of(10) { ["rare", "rarer"][n as usize / 10 % 2] } else { "often" })]
    };
    let builder = ReferenceProfile::builder().categorical("carrier").categories(1);
    let reference = builder.build_from((0..1_000).map(rows)).unwrap();
    assert_eq!(reference.counted().bins("carrier").unwrap(), [900, 100]);
    let mut profile = reference.profile();
    for text in ["often", "rare", "never"] {
        profile.record(&[Cell::Text(text)]).unwrap();
    }
    assert_eq!((profile.bins("carrier").unwrap(), profile.unseen("carrier")), (&[1, 1][..], Some(1)));
}

#[test]
fn a_million_categories_are_bounded() {
    let names: Vec<String> = (0..1_000_000_u32).map(|n| format!("user {n}")).collect();
    let rows = names.iter().map(|name| [Cell::Text(name)]);
    let reference = ReferenceProfile::builder().categorical("user").build_from(rows).unwrap();
    assert_eq!(reference.counted().bins("user").unwrap().len(), CATEGORIES_MAX + 1);
    assert!(serde_json::to_string(&reference).unwrap().len() < 16_384);
    // What cannot be told is not said: a new user is one of the others.
    let mut profile = reference.profile();
    profile.record(&[Cell::Text("somebody new")]).unwrap();
    assert_eq!(profile.unseen("user"), Some(0));
}

/// Good 1953: as many new categories as training had once are to be expected.
#[test]
fn new_categories_are_a_drift_only_where_there_are_more_than_was_to_be_expected() {
    // A plane in ten flies once.
    let names =
        |from: u32| (from..from + 2_000).map(move |n| format!("N{}", if n % 10 == 0 { n } else { n % 10 }));
    let training: Vec<String> = names(0).collect();
    let reference = ReferenceProfile::builder()
        .categorical("plane")
        .build_from(training.iter().map(|name| [Cell::Text(name)]))
        .unwrap();
    let table = |names: Vec<String>| {
        let mut profile = reference.profile();
        names.iter().for_each(|name| profile.record(&[Cell::Text(name)]).unwrap());
        assert!(profile.unseen("plane").unwrap() > 0);
        compare(&reference, &profile, &Options::default()).unwrap()
    };
    assert!(!table(names(10_000).collect()).has_drifted());
    let new: Vec<String> =
        names(10_000).map(|name| if name.len() == 2 { format!("new {name}") } else { name }).collect();
    let found = table(new);
    assert!(found.drifted().any(|row| row.what == What::Unseen), "{found}");
}

#[test]
fn a_profile_of_another_reference_is_refused_by_the_name_of_what_differs() {
    let rows = [[Cell::Number(1.0), Cell::Text("a")], [Cell::Number(2.0), Cell::Text("b")]];
    let ours = builder().build_from(&rows).unwrap();
    let others = [
        (ReferenceProfile::builder().numeric("number").categorical("other"), "`category` has `other`"),
        (
            ReferenceProfile::builder().categorical("number").categorical("category"),
            "`number` is a number, and a",
        ),
        (builder().categories(1), "`category` is counted in other bins"),
    ];
    for (builder, expected) in others {
        let theirs = builder.build_from(&rows).unwrap();
        let error = ours.profile().merge(theirs.counted()).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        assert!(compare(&ours, &theirs.profile(), &Options::default()).is_err());
        assert!(ours.clone().merge(&theirs).is_err());
    }
    let one = of_numbers(numbers(3));
    let error = ours.profile().merge(one.counted()).unwrap_err();
    assert_eq!(error.feature, "number");
    let wrong = ours.profile().record(&[Cell::Missing]).unwrap_err();
    assert_eq!((wrong.expected, wrong.found), (2, 1));
}

#[test]
fn windows_that_are_empty_or_too_small_give_no_verdict() {
    let reference = of_numbers(numbers(1_000));
    for rows in [0, 1, 49] {
        let table = compare(&reference, &window(&reference, numbers(rows)), &Options::default()).unwrap();
        assert!(
            table.rows().iter().all(|row| row.verdict == DriftVerdict::TooFew && row.p.is_none()),
            "{table}"
        );
    }
    let small = of_numbers(numbers(20));
    let table = compare(&small, &window(&small, numbers(1_000)), &Options::default()).unwrap();
    assert_eq!(table.rows()[0].verdict, DriftVerdict::TooFew);
}

#[test]
fn missing_values_are_a_drift_of_their_own() {
    let reference = of_numbers(numbers(1_000));
    let gaps = numbers(500).map(|x| if x % 10.0 == 0.0 { f64::NAN } else { x });
    let table = compare(&reference, &window(&reference, gaps), &Options::default()).unwrap();
    assert_eq!(table.drifted().map(|row| row.what).collect::<Vec<_>>(), [What::Missing], "{table}");
}

#[test]
fn a_sure_drift_that_is_small_is_slight() {
    let reference = of_numbers(numbers(1_000_000));
    let moved = window(&reference, numbers(1_000_000).map(|x| x + 10.0));
    let table = compare(&reference, &moved, &Options::default()).unwrap();
    assert_eq!(table.rows()[0].verdict, DriftVerdict::Slight, "{table}");
    let table = compare(&reference, &moved, &Options::default().minimum_effect(0.0).unwrap()).unwrap();
    assert_eq!(table.rows()[0].verdict, DriftVerdict::Drifted, "{table}");
}

#[test]
fn a_table_reads_as_a_table() {
    let rows: Vec<[Cell<'_>; 2]> =
        (0..1_000).map(|n| [Cell::from(f64::from(n % 100)), "UA".into()]).collect();
    let reference =
        ReferenceProfile::builder().numeric("dep_delay").categorical("carrier").build_from(&rows).unwrap();
    let mut today = reference.profile();
    (0..200).for_each(|n| today.record(&[Cell::from(f64::from(n % 50)), "B6".into()]).unwrap());
    let table = compare(&reference, &today, &Options::default()).unwrap();
    assert_eq!(
        table.to_string(),
        "200 rows against 1000\n\
         feature    what          effect         p  verdict\n\
         carrier    unseen         1.000    <1e-99  drifted\n\
         carrier    distribution   0.833    <1e-99  drifted\n\
         dep_delay  distribution   0.465     1e-55  drifted\n"
    );
}

#[test]
fn builders_refuse_what_makes_no_profile() {
    let none: [[Cell<'_>; 1]; 0] = [];
    let one = ReferenceProfile::builder().numeric("x");
    assert_eq!(one.build_from(&none).unwrap_err(), BuildProfileError::NoRows);
    let error = one.build_from([vec![Cell::Missing], vec![]]).unwrap_err();
    assert!(matches!(error, BuildProfileError::Row { row: 1, .. }), "{error}");
    let twice = one.clone().categorical("x").build_from([[Cell::Missing; 2]]).unwrap_err();
    assert_eq!(twice, BuildProfileError::Name { feature: "x".to_owned() });
    let empty = ReferenceProfile::builder().build_from([[Cell::Missing; 0]]).unwrap_err();
    assert_eq!(empty, BuildProfileError::Features { found: 0 });
    let missing = one.build_from([[Cell::Missing]]).unwrap();
    assert_eq!(missing.counted().missing("x"), Some(1));
}

#[test]
fn nothing_of_what_was_counted_is_shown_for_debugging() {
    let rows = [[Cell::Text("secret")]];
    let reference = ReferenceProfile::builder().categorical("x").build_from(rows).unwrap();
    let shown = format!("{reference:?} {:?}", reference.profile());
    assert!(!shown.contains("secret"), "{shown}");
}

#[test]
fn profiles_of_a_reference_share_its_bins() {
    let reference = of_numbers(numbers(1_000));
    assert!(Arc::ptr_eq(&reference.profile().layout, &reference.counted().layout));
}
