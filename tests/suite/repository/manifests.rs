//! Manifests of other languages: what the published schema allows is read, and what is no JSON gets a sentence.

use std::fs;

use switchback::repository::{Manifest, Moment};

fn good() -> String {
    fs::read_to_string("tests/corpus/manifest/good_smallest.json").unwrap()
}

/// Bug: `datetime.isoformat()` of Python, with its `+00:00`, was no moment, and so were a small `t` and `z`.
/// Cause: times in UTC with capitals alone were read, though the schema says `date-time`. Fix: all forms of RFC 3339 are.
#[test]
fn times_are_read_as_the_schema_allows_them() {
    let moment = |text: &str| text.parse::<Moment>().map(|moment| moment.to_string());
    let ten = Ok("2026-11-24T10:00:00Z".to_owned());
    for same in [
        "2026-11-24T10:00:00Z",
        "2026-11-24t10:00:00z",
        "2026-11-24T10:00:00+00:00",
        "2026-11-24T10:00:00-00:00",
        "2026-11-24T11:00:00+01:00",
        "2026-11-24T15:30:00+05:30",
        "2026-11-23t22:00:00-12:00",
    ] {
        assert_eq!(moment(same), ten, "{same}");
        let manifest = Manifest::parse(good().replace("2026-11-24T10:00:00Z", same).as_bytes()).unwrap();
        assert_eq!(Ok(manifest.created.to_string()), ten);
    }
    assert_eq!(moment("2026-11-24T11:00:00.250+01:00").unwrap(), "2026-11-24T10:00:00.250000000Z");
    for none in [
        "2026-11-24T10:00:00",
        "2026-11-24T10:00:00+24:00",
        "2026-11-24T10:00:00+01:60",
        "2026-11-24T10:00:00+0100",
        "2026-11-24T10:00:00+1:00",
        "2026-11-24T10:00:00++1:00",
        "2026-11-24T10:00:00Z+01:00",
        "1970-01-01T00:30:00+01:00",
        "+01:00",
        "",
        "2026-11-24T10:00:00\u{2212}01:00",
    ] {
        assert!(moment(none).is_err(), "{none}");
    }
}

/// Bug: a byte-order mark and NaN were "expected value at line 1 column 1". Cause: the words of the parser were all there was.
/// Fix: a sentence each, with what to do.
#[test]
fn what_other_languages_write_and_is_no_json_gets_a_sentence() {
    let refused = |bytes: &[u8]| Manifest::parse(bytes).unwrap_err();
    let marked = refused(&[b"\xef\xbb\xbf", good().as_bytes()].concat());
    assert_eq!(marked, "it begins with a byte-order mark: write it as UTF-8 without one");
    let wide: Vec<u8> = "\u{feff}{}".encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert_eq!(refused(&wide), "it is UTF-16: write it as UTF-8");
    for (value, word) in [("NaN", "NaN"), ("Infinity", "Infinity"), ("-Infinity", "Infinity")] {
        for written in
            [format!("\"auc\":{value}"), format!("\"auc\": {value}"), format!("\n    \"auc\": {value}\n")]
        {
            let text = good().replacen('{', &format!("{{\"metrics\": {{{written}}},"), 1);
            let said = refused(text.as_bytes());
            let told = format!("it has {word} at line ");
            assert!(said.starts_with(&told) && said.contains("leave the field out"), "{written}: {said}");
        }
    }
    // A text that has the word is a text, and what is wrong beside it is told as it is.
    let other = good().replacen('{', "{\"notes\": {\"NaN\": \"NaN\"}, \"nots\": 1,", 1);
    assert!(refused(other.as_bytes()).contains("unknown field `nots`"));
    // Serde's derived code takes a list for an object, by the order of its fields.
    let list = good().replacen('{', "{\"lineage\": [null, \"6165d68\"],", 1);
    for list in [list.as_bytes(), b"[1]"] {
        let said = refused(list);
        assert!(said.contains("a list stands where an object belongs: write {..} with names"), "{said}");
    }
}

/// Bug: sizes that a language with one kind of number writes as `1.0` were refused, which JSON Schema takes for whole.
/// Fix: they are read, and what is not whole is refused as before.
#[test]
fn whole_numbers_may_have_a_point() {
    let with = |size: &str| {
        Manifest::parse(good().replace("\"size\": 1,", &format!("\"size\": {size},")).as_bytes())
    };
    for size in ["1.0", "1e0", "10e-1"] {
        assert_eq!(with(size).unwrap().files[0].size, 1, "{size}");
    }
    for size in ["1.5", "-1.0", "1e300", "\"1\""] {
        let refused = with(size).unwrap_err();
        assert!(refused.contains("invalid type") || refused.contains("invalid value"), "{size}: {refused}");
    }
    assert_eq!(
        Manifest::parse(good().replace("\"schema\": 1,", "\"schema\": 1.0,").as_bytes()).unwrap().schema,
        1
    );
}
