use super::*;

#[test]
fn a_fact_is_shown_with_where_it_is_from_and_how_old_it_is() {
    let ran = tipstaff(&["lookup", "threat", "203.0.113.200"]);
    assert_eq!((ran.code, &*ran.err), (DONE, ""));
    let lines: Vec<&str> = ran.out.lines().collect();
    assert_eq!(lines[0], "threat           known");
    assert!(lines[1].starts_with("from             lists:3 version "), "{}", ran.out);
    assert!(lines[1].ends_with(", 0s old"), "{}", ran.out);
    assert_eq!(
        lines[2..5],
        ["  listed         true", "  lists          attackers", "  label          brute-force",]
    );
    let row = tipstaff(&["lookup", "--json", "owner", "nobody"]);
    let row: serde_json::Value = serde_json::from_str(&row.out).unwrap();
    assert_eq!((&row["state"], &row["key"]), (&"absent".into(), &"nobody".into()));
}

#[test]
fn an_unknown_fact_fails_and_a_wrong_argument_looks_nothing_up() {
    let ran = tipstaff(&["lookup", "threat", "nowhere"]);
    assert_eq!(ran.code, FAILED);
    assert!(ran.out.starts_with("threat           unknown (error): the source failed\n"));
    for (arguments, told) in [
        (&["treat", "x"][..], "there is no enricher `treat`, did you mean `threat`?"),
        (&["owner", "a", "b"], "`owner` is looked up by nhi.id"),
        (&["vault", "a", "b"], "by credential.id or credential.fingerprint or nhi.id"),
        (&["owner"], "required"),
    ] {
        let ran = tipstaff(&[&["lookup"], arguments].concat());
        assert_eq!((ran.code, &*ran.out), (WRONG, ""), "{arguments:?}");
        assert!(ran.err.contains(told), "{}", ran.err);
    }
}
