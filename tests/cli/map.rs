use serde_json::{Value, json};

use super::*;

const FINDING: &str = r#"[{"RuleID":"generic-api-key","Secret":"notareal-secret","Match":"k=notareal-secret",
    "Description":"A key: notareal-secret","File":"a.env","Entropy":3.5,"Tags":["x","y"],"Author":"<em>\u001b[31m"}]"#;

#[test]
fn an_alert_is_shown_field_by_field_with_what_it_was_made_of() {
    let ran = fed(&["map", "-"], FINDING.as_bytes());
    assert_eq!((ran.code, &*ran.err), (DONE, ""), "{}", ran.out);
    let line = |name: &str| {
        let found = ran.out.lines().find(|line| line.split_whitespace().next() == Some(name));
        found.unwrap_or_else(|| panic!("{name} in {}", ran.out)).to_owned()
    };
    assert!(ran.out.starts_with("── gitleaks  1 of 1 ──\n"), "{}", ran.out);
    assert!(
        line("location.file")
            .ends_with("a.env                                                    File")
    );
    assert!(line("kind").ends_with("(the pipeline's file)"));
    assert!(line("received_at").ends_with("(intake)"));
    assert!(line("title").contains("A key: fp:examples:"), "{}", line("title"));
    assert!(line("replaced").contains("Secret, Match"), "{}", line("replaced"));
    assert_eq!(line("used"), "used by no path: Entropy, Tags[*]");
    assert!(!ran.out.contains("notareal") && !ran.out.contains('\u{1b}'), "{}", ran.out);
}

#[test]
fn as_json_it_is_one_line_an_alert() {
    let finding = FINDING.trim_start_matches('[').trim_end_matches(']').replace('\n', "");
    let two = format!("[7,{finding},{finding}]");
    let ran = fed(&["map", "--json", "--pipeline", "gitleaks", "-"], two.as_bytes());
    assert_eq!(ran.code, FAILED, "{}", ran.err);
    let lines: Vec<Value> = ran.json();
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[0]["unreadable"]["reason"], "unknown_shape");
    assert_eq!(lines[1]["alert"]["location"]["file"], "a.env");
    assert_eq!(lines[2]["made_of"]["location.file"], json!(["File"]));
    assert_eq!(lines[2]["unused"], json!(["Entropy", "Tags[*]"]));
}

#[test]
fn what_can_not_be_read_is_told_with_its_place() {
    let ran = fed(&["map", "-"], b"[{\"RuleID\":\n]");
    assert_eq!(ran.code, FAILED);
    assert!(ran.out.contains("unreadable: not_json: not JSON at line 2, column 1"), "{}", ran.out);
    let ran = fed(&["map", "--pipeline", "gitleak", "-"], b"[]");
    assert_eq!(ran.code, WRONG);
    assert!(ran.err.contains("did you mean `gitleaks`?"), "{}", ran.err);
    assert_eq!(tipstaff(&["map", "no/such/file"]).code, WRONG);
    assert_eq!(fed(&["map", "--header", "x", "-"], b"[]").code, WRONG);
}

#[test]
fn a_new_pipeline_is_written_and_passes_the_check() {
    let folder = std::env::temp_dir().join(format!("tipstaff-new-{}", std::process::id()));
    let shipped = root();
    for name in ["enrichers", "playbooks"] {
        copy(&shipped.join(name), &folder.join(name));
    }
    let sample = folder.join("sample.json");
    std::fs::write(
        &sample,
        r#"{"id":"e1","time":"2026-03-02T09:00:00Z","token":"notareal-token","rule":"r"}"#,
    )
    .unwrap();
    let (into, sample) = (folder.join("pipelines"), sample.display().to_string());
    let into = into.display().to_string();
    let new = ["pipeline", "new", "my-tool", "--from", &sample, "--into", &into];
    let ran = tipstaff(&new);
    assert_eq!((ran.code, &*ran.err), (DONE, ""), "{}", ran.out);
    let config = folder.display().to_string();
    let ran = tipstaff(&["check", "--config", &config]);
    assert_eq!((ran.code, &*ran.err), (DONE, ""), "{}", ran.out);
    let ran = tipstaff(&["map", "--config", &config, "--json", &sample]);
    assert_eq!(ran.json()[0]["alert"]["native_id"], "e1", "{}", ran.err);
    assert!(!ran.out.contains("notareal"));
    let other = folder.join("other.json");
    std::fs::write(&other, r#"{"id":"e1","rules":["r"]}"#).unwrap();
    let other = other.display().to_string();
    let ran = tipstaff(&["map", "--config", &config, "--pipeline", "my-tool", "--json", &other]);
    assert_eq!(ran.json()[0]["unreadable"]["reason"], "unknown_shape", "{}", ran.out);
    std::fs::write(&sample, r#"{"findings":[{"id":"e1","token":"notareal-token"}]}"#).unwrap();
    let report = ["pipeline", "new", "my-scanner", "--from", &sample, "--into", &into];
    assert_eq!(tipstaff(&report).code, DONE);
    std::fs::write(&sample, r#"{"findings":[]}"#).unwrap();
    let of = ["map", "--config", &config, "--pipeline", "my-scanner", "--json", &sample];
    let ran = tipstaff(&of);
    assert_eq!(ran.json()[0]["alert"]["not_an_alert"], "empty_report", "{}{}", ran.out, ran.err);
    let ran = tipstaff(&["map", "--pipeline", "my-tool", &other]);
    assert!(ran.code == WRONG && ran.err.contains("--config"), "{}", ran.err);
    let again = tipstaff(&new);
    assert_eq!(again.code, WRONG, "a file that is there is never written over");
    assert_eq!(tipstaff(&["pipeline", "new", "My Tool", "--from", &sample]).code, WRONG);
    std::fs::remove_dir_all(&folder).unwrap();
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let (path, name) = entry.map(|entry| (entry.path(), entry.file_name())).unwrap();
        if path.is_dir() {
            copy(&path, &to.join(name));
        } else {
            std::fs::copy(&path, to.join(name)).unwrap();
        }
    }
}
