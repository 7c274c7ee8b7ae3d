//! Policies that people have to sign.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::super::kafka::skipped;
use super::super::rig::wait_until;
use super::super::seats;
use super::reload::{are_on_all_chains, edit};
use super::{PATIENCE, Process, Site, drains, ends, says};

/// Two files of signatures: the policy is refused until both people have signed it.
#[test]
fn a_policy_without_its_signatures_is_not_taken_up() {
    if Command::new("ssh-keygen").arg("-?").output().is_err() {
        return skipped("there is no ssh-keygen");
    }
    let Some((_beside, bootstrap)) = seats::shared() else { return };
    let site = Site::beside_others(&bootstrap, "signed");
    site.create("");
    let (directory, port) = site.config("s1", "policy: {allowed_signers: people, required: 2}\n");
    let playbooks = site.own("s1", "playbooks");
    let people: String = ["dana", "sam"].map(|name| public(&directory, name)).concat();
    fs::write(directory.join("people"), people).unwrap();
    sign(&site, &directory, "dana");
    sign(&site, &directory, "sam");
    let mut process = Process::start(&directory, "triage", port);
    site.wait_ready(&mut process);
    let shared = "{allowed_signers: ../s1/people, signatures: ../s1/signatures, required: 2}";
    let (second, port) = site.config("s2", &format!("policy: {shared}\n"));
    site.own("s2", "playbooks");
    let mut intake = Process::start(&second, "intake", port);
    site.wait_ready(&mut intake);
    edit(&playbooks.join("exposed-key.yaml"), "title: A key", "title: One key");
    says(&process, &["must be signed by 2 of the allowed signers, and is by nobody"]);
    says(&process, &["dana.sig:1:1: does not count: it is by dana, and not over this text"]);
    sign(&site, &directory, "dana");
    says(&process, &["must be signed by 2 of the allowed signers, and is by dana"]);
    assert!(are_on_all_chains(&site, &[1]));
    sign(&site, &directory, "sam");
    assert!(wait_until(PATIENCE, || are_on_all_chains(&site, &[1, 2])), "{}", process.log());
    says(&intake, &["their policy is taken up"]);
    for record in site.records("policy") {
        let signers = record["policy"]["signers"].as_array().unwrap();
        let people: Vec<&str> =
            signers.iter().map(|signer| signer["person"].as_str().unwrap()).collect();
        assert_eq!(people, ["dana", "sam"]);
        assert!(signers[0]["signature"].as_str().unwrap().contains("SSH SIGNATURE"));
    }
    // Changed back, signatures and all: only a person at the start may go back.
    edit(&playbooks.join("exposed-key.yaml"), "title: One key", "title: A key");
    sign(&site, &directory, "dana");
    sign(&site, &directory, "sam");
    says(&process, &["is older than the active policy", "--activate"]);
    says(&intake, &["is older than the active policy", "--activate"]);
    let (third, port) = site.config("s3", &format!("policy: {shared}\n"));
    site.own("s3", "playbooks");
    let (code, log) = ends(&mut Process::start(&third, "intake", port));
    assert!(code == 1 && log.contains("is older than the active policy"), "{code}: {log}");
    assert!(are_on_all_chains(&site, &[1, 2]));
    a_half_is_not_taken_up_while_a_refusal_is_tried_again(&site, &directory, &process);
    a_key_that_becomes_valid_needs_no_change_of_a_file(&site, &directory, &process);
    drains(&mut intake);
    drains(&mut process);
}

/// Refused, and so read again every few seconds: but not in the middle of changes, each of which is
/// right as it stands.
fn a_half_is_not_taken_up_while_a_refusal_is_tried_again(
    site: &Site,
    directory: &Path,
    process: &Process,
) {
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (file, people) =
                (directory.join("people"), fs::read(directory.join("people")).unwrap());
            while !is_over.load(Ordering::SeqCst) {
                fs::write(&file, &people).unwrap();
                std::thread::sleep(Duration::from_millis(200));
            }
        });
        let file = site.deployment.directory.join("playbooks/exposed-key.yaml");
        edit(&file, "title: A key", "title: New key 0");
        sign(site, directory, "dana");
        sign(site, directory, "sam");
        process.signal("-HUP");
        // Longer than until a refusal is tried again.
        std::thread::sleep(Duration::from_secs(15));
        let is_unchanged = are_on_all_chains(site, &[1, 2]);
        is_over.store(true, Ordering::SeqCst);
        assert!(is_unchanged, "{}", process.log());
    });
    let is_taken = || are_on_all_chains(site, &[1, 2, 3]);
    assert!(wait_until(PATIENCE, is_taken), "{}", process.log());
}

fn a_key_that_becomes_valid_needs_no_change_of_a_file(
    site: &Site,
    directory: &Path,
    process: &Process,
) {
    let soon = Command::new("date").args(["-u", "-d", "40 seconds", "+%Y%m%d%H%M%SZ"]).output();
    let soon = String::from_utf8(soon.unwrap().stdout).unwrap();
    let option = format!("sam valid-after=\"{}\" ", soon.trim_end());
    edit(&directory.join("people"), "sam ", &option);
    let file = site.deployment.directory.join("playbooks/exposed-key.yaml");
    edit(&file, "title: New key 0", "title: New key 1");
    sign(site, directory, "dana");
    sign(site, directory, "sam");
    says(process, &["sam.sig:1:1: does not count: it is by sam", "which is valid only after"]);
    let is_taken = || are_on_all_chains(site, &[1, 2, 3, 4]);
    assert!(wait_until(PATIENCE, is_taken), "{}", process.log());
}

fn key(directory: &Path, name: &str) -> PathBuf {
    directory.join(format!("{name}.key"))
}

fn public(directory: &Path, name: &str) -> String {
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-C", name, "-f"])
        .arg(key(directory, name))
        .status()
        .unwrap();
    assert!(made.success());
    let public = fs::read_to_string(directory.join(format!("{name}.key.pub"))).unwrap();
    format!("{name} {public}")
}

fn sign(site: &Site, directory: &Path, name: &str) {
    let statement = site.verb(&["policy", "bundle"], "s1");
    assert_eq!(statement.code, Some(0), "{statement:?}");
    let file = directory.join(name);
    let signature = directory.join(format!("{name}.sig"));
    fs::write(&file, statement.out).unwrap();
    fs::remove_file(&signature).ok();
    let key = key(directory, name);
    let made = Command::new("ssh-keygen")
        .args(["-q", "-Y", "sign", "-n", "tipstaff", "-f"])
        .args([&key, &file])
        .status()
        .unwrap();
    assert!(made.success());
    fs::create_dir_all(directory.join("signatures")).unwrap();
    fs::rename(signature, directory.join("signatures").join(format!("{name}.sig"))).unwrap();
}
