use super::*;

/// The shipped configuration in a folder of its own, with something in its boundary exchanged.
fn widened(name: &str, from: &str, to: &str) -> String {
    let place = folder(name).join("soc");
    let place = place.to_str().unwrap().to_owned();
    assert_eq!(tipstaff(&["init", &place, "--pipelines", "gitleaks"]).code, DONE);
    let file = format!("{place}/playbooks/boundary.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.contains(from));
    std::fs::write(&file, text.replacen(from, to, 1)).unwrap();
    place
}

const SHIPPED: &str = "playbooks/boundary.yaml";

#[test]
fn everything_that_any_playbook_could_reach_is_a_table_and_json() {
    let ran = tipstaff(&["boundary", "prove"]);
    assert_eq!((ran.code, &*ran.err), (DONE, ""));
    let line = ran.out.lines().find(|line| line.starts_with("disable-key ")).unwrap();
    for part in [
        "exposed_key, token_misuse",
        "development, sandbox, staging",
        "any but person",
        "1 soc-lead",
    ] {
        assert!(line.contains(part), "{part}: {line}");
    }
    assert!(!line.contains("production"));
    for told in [
        "owner.team known, no older than 7d",
        "These rest on values that cannot be listed",
        "deny:base/too-old-to-act-on: age(received_at) > duration(\"1h\")",
    ] {
        assert!(ran.out.contains(told), "{told}\n{}", ran.out);
    }
    let json = tipstaff(&["boundary", "prove", "--json"]);
    let proof: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    let rows = proof["reachable"].as_array().unwrap();
    let of = |action: &str| rows.iter().filter(|row| row["action"] == action).count();
    assert_eq!((of("disable-key"), of("revoke-token")), (1, 1));
    assert!(of("suppress") > 0 && of("suppress not_an_alert") > 0);
    let row = rows.iter().find(|row| row["action"] == "disable-key").unwrap();
    assert_eq!(
        row["at"]["owner.environment"],
        serde_json::json!(["development", "sandbox", "staging"])
    );
    assert_eq!(row["facts"]["owner.team"], serde_json::json!(["known"]));
    assert!(row["needs"].as_array().unwrap().iter().any(|need| need == "approved by 1 soc-lead"));
    assert!(proof.get("changes").is_none());
}

#[test]
fn a_planted_widening_is_named_and_fails_where_none_may_be() {
    let place = widened(
        "prove-wider",
        "[development, sandbox, staging]",
        "[development, sandbox, staging, production]",
    );
    let against = ["boundary", "prove", "--config", &place, "--against", SHIPPED];
    let ran = tipstaff(&against);
    assert_eq!((ran.code, &*ran.err), (DONE, ""));
    let line = ran.out.lines().find(|line| line.contains("disable-key: allowed now")).unwrap();
    assert!(line.contains("owner.environment: production"), "{line}");
    assert!(ran.out.contains("NARROWED: nothing"));
    let ran = tipstaff(&[&against[..], &["--no-widening"]].concat());
    assert_eq!((ran.code, &*ran.err), (FAILED, ""));
    let ran = tipstaff(&[&against[..], &["--no-widening", "--json"]].concat());
    assert_eq!(ran.code, FAILED);
    let told: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    let change = &told["changes"]["widened"][0];
    assert_eq!(
        (&change["action"], &change["what"]),
        (&"disable-key".into(), &"allowed now".into())
    );
    assert_eq!(change["at"]["owner.environment"], serde_json::json!(["production"]));
    // The other way round it is a narrowing, and a directory is as good as a file.
    let ran = tipstaff(&["boundary", "prove", "--against", &place, "--no-widening"]);
    assert_eq!((ran.code, &*ran.err), (DONE, ""));
    assert!(ran.out.contains("WIDENED: nothing") && ran.out.contains("not allowed any more"));
}

#[test]
fn the_same_boundary_has_changed_nothing() {
    let ran = tipstaff(&["boundary", "prove", "--against", SHIPPED, "--no-widening"]);
    assert_eq!((ran.code, &*ran.err), (DONE, ""));
    assert!(ran.out.contains("WIDENED: nothing\nNARROWED: nothing\n"), "{}", ran.out);
}

#[test]
fn what_cannot_be_compared_is_said() {
    let place = folder("prove-wrong");
    let file = |name: &str, text: &str| {
        let file = place.join(name);
        std::fs::write(&file, text).unwrap();
        file.to_str().unwrap().to_owned()
    };
    let other = file("other.yaml", "boundary: payments\nowner: o\n");
    let nameless = file("nameless.yaml", "owner: o\n");
    let broken = file("broken.yaml", "boundary: base\nowner: o\nstopp: true\n");
    for (against, expected) in [
        (&other, "no layer is called `payments`: base"),
        (&nameless, "nameless.yaml:1:1: a boundary says `boundary: <name>` first"),
        (&broken, "broken.yaml:3:1: unknown key `stopp`, did you mean `stop`?"),
        (&"none.yaml".to_owned(), "none.yaml: No such file"),
    ] {
        let ran = tipstaff(&["boundary", "prove", "--against", against]);
        assert_eq!((ran.code, &*ran.out), (WRONG, ""), "{against}");
        for part in expected.split(", ") {
            assert!(ran.err.contains(part), "{expected}: {}", ran.err);
        }
    }
    assert_eq!(tipstaff(&["boundary", "prove", "--no-widening"]).code, WRONG);
}
