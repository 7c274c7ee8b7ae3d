//! Each finding by itself: a configuration with that mistake alone, and what `check` says of it.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use tipstaff::policy::{Code, Severity};

use super::*;

fn fixtures() -> PathBuf {
    root().join("tests/cli/findings")
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// A folder of a test's own with what is right, and over it what is not.
fn with_mistake(test: &str, code: &str) -> String {
    let folder = folder(&format!("{test}-{code}"));
    copy(&fixtures().join("base"), &folder);
    std::fs::create_dir_all(folder.join("pipelines")).unwrap();
    if code != "base" {
        copy(&fixtures().join(code), &folder);
    }
    folder.to_str().unwrap().to_owned()
}

/// Without what differs from machine to machine: the folder and the policy's hash.
fn plain(text: &str, folder: &str, object: &serde_json::Value) -> String {
    let text = text.replace(&format!("{folder}/"), "");
    object["policy"].as_str().map_or_else(|| text.clone(), |hash| text.replace(hash, "[hash]"))
}

fn settings() -> insta::Settings {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("findings");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings
}

#[test]
fn what_the_fixtures_rest_on_has_no_mistake() {
    let ran = tipstaff(&["check", "--config", &with_mistake("base", "base"), "--deny", "notes"]);
    assert_eq!((ran.code, ran.out.lines().count(), &*ran.err), (DONE, 1, ""), "{}", ran.out);
    let ran = tipstaff(&["test", "--config", &with_mistake("base", "base")]);
    assert_eq!(ran.code, DONE, "{}", ran.out);
}

#[test]
fn each_mistake_is_found_alone_and_told_as_its_snapshot_says() {
    let mut wrong = Vec::new();
    for code in Code::ALL {
        let id = code.id();
        let folder = with_mistake("finding", id);
        let ran = tipstaff(&["check", "--config", &folder]);
        let text = format!("exit code {}\n{}{}", ran.code, ran.out, ran.err);
        let json = tipstaff(&["check", "--json", "--config", &folder]);
        let object = json.json().remove(0);
        let text = plain(&text, &folder, &object);
        let check = || settings().bind(|| insta::assert_snapshot!(id, text));
        let found = object["findings"].as_array().unwrap();
        let is_alone = !found.is_empty() && found.iter().all(|finding| finding["code"] == id);
        let expected = if code.severity() == Severity::Error { WRONG } else { DONE };
        if catch_unwind(AssertUnwindSafe(check)).is_err()
            || !is_alone
            || ran.code != expected
            || json.code != expected
        {
            wrong.push(format!("{id}\n{text}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_finding_is_explained_and_every_explanation_is_of_a_finding() {
    let page = std::fs::read_to_string(root().join("playbooks/FINDINGS.md")).unwrap();
    let mut sections = page.split("\n### ");
    sections.next();
    let mut explained = BTreeSet::new();
    for section in sections {
        let (heading, text) = section.split_once('\n').unwrap();
        let code = Code::ALL.iter().find(|code| code.id() == heading).expect(heading);
        explained.insert(code.id());
        assert!(
            text.contains(&format!("*{}.* **{}.**", code.severity().name(), code.about())),
            "{heading}: what"
        );
        for part in ["**Why it matters.**", "**Example.**", "**Mend.**", "```yaml\n"] {
            assert!(text.contains(part), "{heading}: {part}");
        }
    }
    let all: BTreeSet<&str> = Code::ALL.iter().map(|code| code.id()).collect();
    assert_eq!(explained, all);
    assert_eq!(all.len(), Code::ALL.len(), "each has a code of its own");
}

#[test]
fn ci_reads_one_object_and_can_refuse_warnings() {
    let folder = with_mistake("ci", "TS-202");
    let ran = tipstaff(&["check", "--json", "--config", &folder]);
    let text = plain(&ran.out, &folder, &ran.json()[0]);
    settings().bind(|| insta::assert_snapshot!("json", text));
    for (code, deny, expected) in [
        ("TS-202", "warnings", FAILED),
        ("TS-202", "notes", FAILED),
        ("TS-206", "warnings", DONE),
        ("TS-206", "notes", FAILED),
        ("TS-101", "warnings", WRONG),
    ] {
        let ran = tipstaff(&["check", "--deny", deny, "--config", &with_mistake("ci", code)]);
        assert_eq!(ran.code, expected, "{code} {deny}");
    }
}
