//! Signatures of the policy, made by the real `ssh-keygen`.

use std::process::Child;
use std::time::{Duration, Instant};

use tipstaff::case::Millis;
use tipstaff::pipeline::AllowedSigners;
use tipstaff::text::{Problems, Source};

use super::skipped::skipped;
use super::*;

/// Made once with `ssh-keygen -t ed25519` and `ssh-keygen -Y sign -n tipstaff` over `STATEMENT`.
const PUBLIC: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEUISh/5Qt8uhDbmeP56xS1IpGMtcF18O3k4cScwbKZu";
const SIGNATURE: &str = "\
-----BEGIN SSH SIGNATURE-----\n\
U1NIU0lHAAAAAQAAADMAAAALc3NoLWVkMjU1MTkAAAAgRQhKH/lC3y6ENuZ4/nrFLUikYy\n\
1wXXw7eThxJzBspm4AAAAIdGlwc3RhZmYAAAAAAAAABnNoYTUxMgAAAFMAAAALc3NoLWVk\n\
MjU1MTkAAABAtbHhY+fU9RoPKIGY2Bi8mvKMKawkGmaXkdPnaFAiWM4tuX4cQ4GK3YkoDE\n\
PQGixrAlOh46hAtL/8raTkvAP/DA==\n\
-----END SSH SIGNATURE-----\n";
const STATEMENT: &str = "tipstaff policy 1\nhash 00\n";

fn allowed(text: &str) -> Result<AllowedSigners, Vec<String>> {
    let mut problems = Problems::default();
    let signers = AllowedSigners::read(&Source::new("allowed_signers", text), &mut problems);
    let problems: Vec<String> = problems.into_sorted().iter().map(ToString::to_string).collect();
    if problems.is_empty() { Ok(signers) } else { Err(problems) }
}

fn at(text: &str) -> Millis {
    Millis::parse(text).unwrap()
}

#[test]
fn a_signature_counts_for_its_person_namespace_time_and_statement_alone() {
    let now = at("2026-06-01T00:00:00Z");
    let signer =
        |line: &str, statement: &str| allowed(line).unwrap().signer(statement, SIGNATURE, now);
    let of =
        |options: &str| format!("# people\n\ndana@example.com,dana {options} {PUBLIC} laptop\n");
    for options in [
        "",
        "namespaces=\"git,tipstaff\"",
        "valid-after=\"20260101\",valid-before=\"202612312359Z\"",
    ] {
        let signer = signer(&of(options), STATEMENT).unwrap();
        assert_eq!(signer.person, "dana@example.com");
        assert!(signer.key.starts_with("SHA256:") && signer.signature == SIGNATURE.trim_end());
    }
    // What nobody verified is not on record.
    let noted = format!("a note that is no part of it\n{}", SIGNATURE.replace('\n', "\r\n"));
    let signer_of = allowed(&of("")).unwrap().signer(STATEMENT, &noted, now).unwrap();
    assert_eq!(signer_of.signature, SIGNATURE.trim_end());
    for (options, statement, why) in [
        ("", "tipstaff policy 1\nhash 01\n", "is by dana@example.com, and not over this text"),
        ("namespaces=\"git\"", STATEMENT, "which is not allowed for namespace `tipstaff`"),
        ("valid-before=\"20260601Z\"", STATEMENT, "was valid only before 2026-06-01T00:00:00.000Z"),
        ("valid-after=\"20260602\"", STATEMENT, "is valid only after 2026-06-02T00:00:00.000Z"),
    ] {
        let found = signer(&of(options), statement).unwrap_err().why;
        assert!(found.contains(why), "{found}");
    }
    let nobody = allowed("").unwrap().signer(STATEMENT, SIGNATURE, now).unwrap_err().why;
    assert!(nobody.contains("which no allowed signer has"), "{nobody}");
    for broken in ["", "dana", &SIGNATURE.replacen("AAAA", "AAAB", 1)] {
        let signer = allowed(&of("")).unwrap().signer(STATEMENT, broken, now);
        assert!(signer.unwrap_err().why.starts_with("is no signature of ssh-keygen"), "{broken}");
    }
}

#[test]
fn an_allowed_signers_file_says_what_is_wrong_with_it() {
    let text = format!(
        "dana@example.com {PUBLIC}\nsam@example.com {PUBLIC}\n*@example.com {PUBLIC}\nkim {PUBLIC}\n\
         lee cert-authority {PUBLIC}\nalex valid-after=\"soon\" {PUBLIC}\nmax\nrob ssh-ed25519 AAAA\n\
         ann colour=\"red\" {PUBLIC}\ndana@example.com,kim {PUBLIC}\n\
         dana@example.com namespaces=\"!tipstaff,*\" {PUBLIC}\n\
         dana@example.com valid-after=\"20260101\",valid-after=\"20270101\" {PUBLIC}\n\
         dana@example.com valid-after=\"20260101\",valid-before=\"20260101\" {PUBLIC}\n\
         dana@example.com namespaces=tipstaff {PUBLIC}\n"
    );
    let problems = allowed(&text).unwrap_err();
    for (problem, expected) in problems.iter().zip([
        "allowed_signers:2:1: the same key is `dana@example.com`'s in line 1: a key is one person's",
        "allowed_signers:3:1: a person is named in full here, without patterns",
        "allowed_signers:4:1: the same key is `dana@example.com`'s in line 1",
        "allowed_signers:5:1: certificates are not taken",
        "allowed_signers:6:1: `soon` is no time such as 20260131",
        "allowed_signers:7:1: a line is a person, then options, then a key",
        "allowed_signers:8:1: no key can be read",
        "allowed_signers:9:1: unknown option `colour`",
        "allowed_signers:10:1: these names are of different people in the lines before",
        "allowed_signers:11:1: a namespace is named in full here, without patterns",
        "allowed_signers:12:1: `valid-after` stands here twice",
        "allowed_signers:13:1: `valid-before` is not after `valid-after`",
        "allowed_signers:14:1: an option is written `name=\"value\"`, and this is not: `namespaces=tips",
    ]) {
        assert!(problem.starts_with(expected), "{problem}");
    }
    assert_eq!(problems.len(), 13, "{problems:#?}");
}

/// Someone with a key of their own, made by `ssh-keygen`.
struct Person {
    name: &'static str,
    key: PathBuf,
}

impl Person {
    /// Nothing where there is no `ssh-keygen`.
    fn new(folder: &Path, name: &'static str, kind: &str) -> Option<Self> {
        let first = name.split('@').next().unwrap();
        let key = folder.join(format!("{first}-{kind}"));
        let made = Command::new("ssh-keygen")
            .args(["-q", "-t", kind, "-N", "", "-C", name, "-f"])
            .arg(&key)
            .output();
        let Ok(made) = made else {
            skipped("there is no ssh-keygen");
            return None;
        };
        assert!(made.status.success(), "{made:?}");
        Some(Self { name, key })
    }

    fn line(&self) -> String {
        let public = std::fs::read_to_string(self.key.with_extension("pub")).unwrap();
        format!("{} namespaces=\"tipstaff\" {public}", self.name)
    }

    fn sign(&self, statement: &str, namespace: &str, to: &Path) {
        let file = self.key.with_extension("statement");
        std::fs::write(&file, statement).unwrap();
        let signed = self.key.with_extension("statement.sig");
        std::fs::remove_file(&signed).ok();
        let made = Command::new("ssh-keygen")
            .args(["-Y", "sign", "-n", namespace, "-f"])
            .args([&self.key, &file])
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::copy(signed, to).unwrap();
    }
}

/// Nothing counts here that `ssh-keygen -Y verify` would refuse; less than there does.
#[test]
fn an_option_never_allows_more_than_it_does_for_ssh_keygen() {
    let folder = folder("signing_options");
    let Some(dana) = Person::new(&folder, "dana@example.com", "ed25519") else { return };
    let signature = folder.join("signature");
    dana.sign(STATEMENT, "tipstaff", &signature);
    let public = std::fs::read_to_string(dana.key.with_extension("pub")).unwrap();
    let people = folder.join("people");
    let for_ssh_keygen = |signature: &Path| {
        let statement = std::fs::File::open(dana.key.with_extension("statement")).unwrap();
        let mut verify = Command::new("ssh-keygen");
        verify.args(["-Y", "verify", "-n", "tipstaff", "-I", dana.name, "-f"]).arg(&people);
        verify.arg("-s").arg(signature).stdin(statement).output().unwrap().status.success()
    };
    let signature_text = std::fs::read_to_string(&signature).unwrap();
    let now = tipstaff::app::system_clock()();
    for (options, counts, counts_there) in [
        ("", true, true),
        ("namespaces=\"tipstaff\"", true, true),
        ("NameSpaces=\"git,tipstaff\",valid-after=\"20200101\"", true, true),
        ("valid-after=\"20200101\",valid-before=\"20990101\"", true, true),
        ("namespaces=\"*\"", false, true),
        ("namespaces=\"tip????f\"", false, true),
        ("namespaces=\"git\\\",tipstaff\"", false, true),
        ("namespaces=\"!tipstaff,*\"", false, false),
        ("namespaces=\"*,!tipstaff\"", false, false),
        ("namespaces=\"tipstaff,!tip*\"", false, false),
        ("namespaces=\"git, tipstaff\"", false, false),
        ("namespaces=\"git\"", false, false),
        ("namespaces=\"\"", false, false),
        ("namespaces=tipstaff", false, false),
        ("namespaces", false, false),
        ("namespaces=\"tipstaff\",", false, false),
        ("namespaces=\"tipstaff", false, false),
        ("namespaces=\"tipstaff\"valid-after=\"20200101\"", false, false),
        ("namespaces=\"tipstaff\",namespaces=\"tipstaff\"", false, false),
        ("valid-after=\"20990101\",valid-after=\"20200101\"", false, false),
        ("valid-before=\"20200101\",valid-before=\"20990101\"", false, false),
        ("valid-after=\"20200102\",valid-before=\"20200101\"", false, false),
        ("valid-after=\"20990101\"", false, false),
        ("valid-before=\"20200101\"", false, false),
        ("colour=\"red\"", false, false),
    ] {
        let line = format!("{} {options} {public}", dana.name);
        std::fs::write(&people, &line).unwrap();
        let signer = allowed(&line).ok();
        let signer = signer.and_then(|all| all.signer(STATEMENT, &signature_text, now).ok());
        assert_eq!(
            (signer.is_some(), for_ssh_keygen(&signature)),
            (counts, counts_there),
            "{line}"
        );
        assert!(counts_there || !counts, "{line}");
        if let Some(signer) = signer {
            let recorded = folder.join("recorded");
            std::fs::write(&recorded, format!("{}\n", signer.signature)).unwrap();
            assert!(for_ssh_keygen(&recorded), "{}", signer.signature);
        }
    }
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[test]
fn a_policy_is_started_when_two_people_signed_it_and_not_before() {
    let keys = folder("signing_keys");
    let Some(dana) = Person::new(&keys, "dana@example.com", "ed25519") else { return };
    let sam = Person::new(&keys, "sam@example.com", "ecdsa").unwrap();
    let second = Person::new(&keys, "dana@example.com", "ecdsa").unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let service = format!(
        "kafka: {{bootstrap.servers: \"127.0.0.1:1\"}}\nlisten: 127.0.0.1:{port}\n\
         fingerprint: {{id: k1, key: {{file: key}}}}\n\
         policy: {{allowed_signers: people, required: 2}}\n"
    );
    let playbook = "playbook: a\ntitle: A\nowner: o\nmode: live\non: {kind: exposed_key}\nrules:\n  - id: r\n    route: {queue: q, priority: low}\n";
    let people = [dana.line(), sam.line(), second.line()].concat();
    let files = [
        ("tipstaff.yaml", service.as_str()),
        ("key", &"ab".repeat(32)),
        ("people", &people),
        ("playbooks/a.yaml", playbook),
    ];
    let configuration = configuration("signing", &files);
    let root = Path::new(&configuration);
    let statement = tipstaff(&["policy", "bundle", "--config", &configuration]);
    assert_eq!((statement.code, &*statement.err), (DONE, ""));
    let statement = statement.out;
    let hash = statement.lines().nth(1).unwrap().strip_prefix("hash ").unwrap();
    assert!(statement.contains("  playbooks/a.yaml\n"), "{statement}");
    // `sha256sum` agrees with each line.
    let shown =
        Command::new("sha256sum").arg("playbooks/a.yaml").current_dir(root).output().unwrap();
    assert!(statement.contains(&String::from_utf8(shown.stdout).unwrap()), "{statement}");

    let refused = |expected: &[&str]| {
        let ran = tipstaff(&["run", "--config", &configuration]);
        assert_eq!((ran.code, &*ran.out), (WRONG, ""), "{}", ran.err);
        let problems = ran.problems(&configuration);
        assert_eq!(problems.len(), expected.len(), "{problems:#?}");
        for (problem, expected) in problems.iter().zip(expected) {
            assert!(problem.starts_with(expected), "{problems:#?}");
        }
    };
    let by = |who: &str| {
        format!(
            "tipstaff.yaml:4:9: policy {hash} must be signed by 2 of the allowed signers, and is by {who}: `tipstaff policy bundle` prints what to sign"
        )
    };
    let at = |name: &str| root.join("signatures").join(name);
    refused(&[&by("nobody")]);
    dana.sign(&statement, "tipstaff", &at("dana.sig"));
    refused(&[&by("dana@example.com")]);
    // The same person with another key, another namespace, another statement: nobody more.
    second.sign(&statement, "tipstaff", &at("dana2.sig"));
    refused(&[&by("dana@example.com")]);
    sam.sign(&statement, "file", &at("sam.sig"));
    let of = |why: &str| format!("signatures/sam.sig:1:1: does not count: it {why}");
    refused(&[&of("is for namespace `file`: sign with `-n tipstaff`"), &by("dana@example.com")]);
    sam.sign("something else", "tipstaff", &at("sam.sig"));
    let other = of("is by sam@example.com, and not over this text: another was signed");
    refused(&[&other, &by("dana@example.com")]);
    let junk = "x".repeat(16 * 1024 + 1);
    std::fs::write(at("sam.sig"), junk).unwrap();
    refused(&[&of("cannot be read: file too large"), &by("dana@example.com")]);
    sam.sign(&statement, "tipstaff", &at("sam.sig"));

    let mut command = program(&["run", "--config", &configuration]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let _process = Killed(command.spawn().unwrap());
    let until = Instant::now() + Duration::from_secs(30);
    let status = loop {
        let status = tipstaff(&["policy", "status", "--config", &configuration]);
        if status.code == DONE || Instant::now() > until {
            break status;
        }
        std::thread::sleep(Duration::from_millis(100));
    };
    let lines: Vec<&str> = status.out.lines().collect();
    let waits =
        format!("policy {hash}, generation 0, not in force yet: the process waits for Kafka");
    assert_eq!(lines[0], waits);
    assert!(lines[1].starts_with("signed by dana@example.com with SHA256:"), "{}", status.out);
    assert!(lines[2].starts_with("signed by sam@example.com with SHA256:"), "{}", status.out);
    assert!(status.out.contains("0  never since it began      a/r"), "{}", status.out);
}

#[test]
fn what_the_section_asks_for_is_checked_with_the_other_files() {
    let service = "kafka: {bootstrap.servers: \"127.0.0.1:1\"}\n\
         fingerprint: {id: k1, key: {env: TIPSTAFF_FINGERPRINT_KEY}}\n\
         policy: {allowed_signer: people, required: 3}\n";
    let playbook = "playbook: a\ntitle: A\nowner: o\nmode: live\non: {kind: exposed_key}\nrules:\n  - id: r\n    route: {queue: q, priority: low}\n";
    let files = [("tipstaff.yaml", service), ("playbooks/a.yaml", playbook)];
    let configuration = configuration("signing_section", &files);
    let ran = tipstaff(&["check", "--config", &configuration]);
    assert_eq!(ran.code, WRONG);
    let problems = ran.problems(&configuration);
    for expected in [
        "`allowed_signers` is missing",
        "`required` must be from 0 to 2",
        "unknown key `allowed_signer`",
    ] {
        assert!(problems.iter().any(|problem| problem.contains(expected)), "{problems:#?}");
    }
}
