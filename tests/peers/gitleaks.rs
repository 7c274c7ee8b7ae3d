//! Reports of a real gitleaks, over a repository made here, through the shipped pipeline.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::server::Directory;
use crate::skipped::skipped;

/// Of the environment, of `.ci/run`, or of the path.
fn gitleaks() -> Option<PathBuf> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/go/gitleaks");
    let named = std::env::var_os("TIPSTAFF_TEST_GITLEAKS").map(PathBuf::from);
    let all = [named.unwrap_or(own), PathBuf::from("gitleaks")];
    let works = |program: &PathBuf| Command::new(program).arg("version").output().is_ok();
    let found = all.into_iter().find(works);
    if found.is_none() {
        skipped(
            "there is no gitleaks; `go install github.com/zricethezav/gitleaks/v8@v8.30.1` \
             makes one, and TIPSTAFF_TEST_GITLEAKS or the path names it",
        );
    }
    found
}

fn git(folder: &Path, words: &[&str]) {
    let run = Command::new("git")
        .current_dir(folder)
        .args(["-c", "user.name=Dana Example", "-c", "user.email=dana@example.com"])
        .args(["-c", "commit.gpgsign=false", "-c", "init.defaultBranch=main"])
        .args(words)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .output()
        .unwrap();
    assert!(run.status.success(), "{words:?}: {}", String::from_utf8_lossy(&run.stderr));
}

/// Put together here, so that no scanner finds them in this file; none opens anything.
fn planted() -> [String; 3] {
    let token = ["ghp", "R7mK2vQ9xT4nW8bZ1cY6dF3gH5jL0pS2aE4u"].join("_");
    let slack = ["xoxb", "263594206564", "2343594206574", "FGqddMF8t08v8N7Oq4i57vs1"].join("-");
    let key = ["AKIA", "Y3FDNGQ5TLZ7W2XE"].concat();
    [token, slack, key]
}

/// What gitleaks says of a repository with these files; no report where there is no file yet.
fn report(gitleaks: &Path, folder: &Path, out: &Path) -> Value {
    let run = Command::new(gitleaks)
        .args(["git", "--no-banner", "--exit-code", "0", "--report-format", "json"])
        .arg("--report-path")
        .args([out, folder])
        .output()
        .unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    serde_json::from_str(&std::fs::read_to_string(out).unwrap()).unwrap()
}

/// Decision records as an operator's `tipstaff decide` writes them.
fn decided(file: &Path) -> (String, Vec<Value>) {
    let words = ["decide", "--pipeline", "gitleaks"];
    let run = Command::new(env!("CARGO_BIN_EXE_tipstaff")).args(words).arg(file).output().unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let text = String::from_utf8(run.stdout).unwrap();
    let records = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    (text, records)
}

#[test]
fn what_a_real_gitleaks_finds_becomes_alerts_without_their_secrets() {
    let Some(gitleaks) = gitleaks() else { return };
    let directory = Directory::new("gitleaks");
    let (folder, out) = (directory.0.join("work"), directory.0.join("report.json"));
    std::fs::create_dir_all(&folder).unwrap();
    git(&folder, &["init", "--quiet"]);
    std::fs::write(folder.join("README.md"), "nothing here\n").unwrap();
    git(&folder, &["add", "."]);
    git(&folder, &["commit", "--quiet", "-m", "first"]);
    let clean = report(&gitleaks, &folder, &out);
    assert_eq!(clean, json!([]));
    let (_, records) = decided(&out);
    assert_eq!(records[0]["ruling"]["reason"], "not_an_alert");

    let [token, slack, key] = planted();
    let text = format!("token = \"{token}\"\nslack = \"{slack}\"\naws_access_key_id = \"{key}\"\n");
    std::fs::write(folder.join("deploy.py"), text).unwrap();
    git(&folder, &["add", "."]);
    git(&folder, &["commit", "--quiet", "-m", "second"]);
    let findings = report(&gitleaks, &folder, &out);
    let count = findings.as_array().unwrap().len();
    assert!(count >= 3, "{findings:#}");
    // As the pipeline's README has CI send it.
    let sent = json!({"repository": "acme/billing", "branch": "main", "findings": findings});
    std::fs::write(&out, sent.to_string()).unwrap();
    let (text, records) = decided(&out);
    assert_eq!(records.len(), count, "one fate for each");
    for secret in [&token, &slack] {
        assert!(!text.contains(secret.as_str()), "a secret left intake");
    }
    let mut rules = BTreeSet::new();
    for record in &records {
        let alert = &record["alert"];
        assert_eq!(
            (&record["pipeline"], &alert["kind"]),
            (&json!("gitleaks"), &json!("exposed_key"))
        );
        let location = &alert["location"];
        assert_eq!(location["repository"], "acme/billing");
        assert_eq!(
            (&location["file"], &location["author"]),
            (&json!("deploy.py"), &json!("dana@example.com"))
        );
        assert!(location["commit"].as_str().is_some_and(|commit| commit.len() == 40), "{alert}");
        assert_ne!(record["ruling"]["reason"], "unmapped", "{record:#}");
        rules.insert(alert["event"]["type"].as_str().unwrap().to_owned());
    }
    for rule in ["aws-access-token", "github-pat", "slack-bot-token"] {
        assert!(rules.contains(rule), "{rule}: {rules:?}");
    }
    let aws = records.iter().find(|each| each["alert"]["event"]["type"] == "aws-access-token");
    assert_eq!(aws.unwrap()["alert"]["credential"]["id"], key.as_str());
}
