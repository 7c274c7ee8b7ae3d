//! A case is closed only on what its playbook asks for, looked up when the order comes.

use std::sync::Arc;

use tipstaff::audit::Record;
use tipstaff::case::{
    Alert, Closing, FactRow, Field, Judgement, Part, Statement, Value, Verb, Verdict,
};
use tipstaff::clause::Scope;
use tipstaff::config::Files;
use tipstaff::text::Source;

use crate::rig::{BOUNDARY, HOUR, NOW, Rig, checked, files, statement};

const NHI: &str = "aws:iam:1:user:ci";
const PLAYBOOK: &str = r#"playbook: p
title: t
owner: p
mode: live
on: {kind: exposed_key}
group: {by: [nhi.id, credential.id], window: 30d}
closing:
  verdicts: [true_positive, accepted_risk]
  facts: {keys: {max_age: 1h}, rotation: {max_age: 1d}}
  require:
    - id: old-dead
      when:
        - keys.state == "revoked"
    - id: new-live
      part: finding
      link: new_credential
      of: link
      when:
        - keys.state == "active"
    - id: rotated
      part: finding
      link: rotation_record
      when:
        - rotation.last > counters.first_seen
rules:
  - {id: rest, route: {queue: triage, priority: high, ack_within: 1h}}
"#;
const KEYS: &str = "enrichers/keys/keys.csv";
const ROTATION: &str = "enrichers/rotation/rotation.csv";

fn with(playbook: &str) -> Files {
    let mut files = files(&[BOUNDARY], playbook);
    for (path, text) in [
        (
            "enrichers/keys/enricher.yaml",
            "enricher: keys\ntitle: t\nowner: o\nprovides: {state: text}\nkey: credential.id\n\
             source: {table: {file: keys.csv, key: id, as_of: seen}}\n",
        ),
        (
            "enrichers/rotation/enricher.yaml",
            "enricher: rotation\ntitle: t\nowner: o\nprovides: {last: time}\nkey: nhi.id\n\
             source: {table: {file: rotation.csv, key: id}}\n",
        ),
        (
            "enrichers/place/enricher.yaml",
            "enricher: place\ntitle: t\nowner: o\nprovides: {visibility: text}\n\
             key: location.repository\nsource: {table: {file: place.csv, key: id}}\n",
        ),
        (KEYS, "id,state,seen\nkey-1,active,2026-01-01T00:00:00Z\n"),
        (ROTATION, "id,last\n"),
        ("enrichers/place/place.csv", "id,visibility\n"),
    ] {
        files.insert(path, Source::new(path, text), None);
    }
    files
}

fn rig() -> (Rig, String) {
    let mut rig = Rig::of(with(PLAYBOOK), NHI, true);
    let case = rig.alert(NHI, "high");
    (rig, case)
}

fn closing(case: &str, part: Option<Part>, links: &[(&str, &str)]) -> Statement {
    let mut close = statement(case, NHI, Verb::Close, "dana");
    let links = links.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
    close.close = Some(Closing {
        verdict: Judgement::TruePositive,
        reason: "rotated_and_revoked".to_owned(),
        evidence: Vec::new(),
        of: None,
        part,
        links: links.collect(),
    });
    close
}

const BOTH: [(&str, &str); 2] =
    [("new_credential", "key-2"), ("rotation_record", "https://tickets.example.com/rotations/7")];

/// Each requirement of the last order, with what came of it.
fn verified(rig: &Rig) -> Vec<(String, Verdict, Option<String>)> {
    let order = rig.last().order.unwrap();
    let each = order.verified.iter();
    each.map(|it| (it.requirement.to_string(), it.verdict, it.why.as_deref().map(str::to_owned)))
        .collect()
}

#[test]
fn a_case_is_closed_when_all_that_is_asked_for_is_so() {
    let (mut rig, case) = rig();
    assert_eq!(rig.order(&closing(&case, None, &BOTH), &["dana"]), "not_verified");
    let found = verified(&rig);
    let named = |id: &str, verdict| (id.to_owned(), verdict, None);
    assert_eq!(
        found,
        [
            named("old-dead", Verdict::False),
            named("new-live", Verdict::False),
            named("rotated", Verdict::False),
        ]
    );
    let detail = rig.detail();
    let says = "`old-dead` of playbook p is not so: `keys.state == \"revoked\"`, saw keys.state = \"active\" (table:keys.csv, 0ms old)";
    assert!(detail.contains(says), "{detail}");
    rig.now = NOW.plus(HOUR / 2);
    let keys =
        "id,state,seen\nkey-1,revoked,2026-01-01T00:20:00Z\nkey-2,active,2026-01-01T00:20:00Z\n";
    rig.put(KEYS, keys);
    rig.put(ROTATION, "id,last\naws:iam:1:user:ci,2026-01-01T00:10:00Z\n");
    assert_eq!(rig.order(&closing(&case, None, &BOTH), &["dana"]), "accepted", "{}", rig.detail());
    assert!(verified(&rig).iter().all(|(_, verdict, _)| *verdict == Verdict::True));
    let (_, told) = rig.outputs.last().unwrap();
    assert_eq!(told["state"], "closed");
    assert_eq!(told["order"]["verified"][1]["because"][0]["seen"][0]["value"], "\"active\"");
    assert_eq!(told["order"]["facts"][1]["key"], "key-2");
    assert_eq!(told["order"]["facts"][1]["as_of"], "2026-01-01T00:20:00.000Z");
    rig.is_whole();
}

#[test]
fn the_risk_alone_needs_less_than_the_finding() {
    let (mut rig, case) = rig();
    rig.put(KEYS, "id,state,seen\nkey-1,revoked,2026-01-01T00:00:00Z\n");
    let of = |part| closing(&case, Some(part), &[]);
    assert_eq!(rig.order(&of(Part::Finding), &["dana"]), "not_verified");
    let not_linked = |id: &str| (id.to_owned(), Verdict::False, Some("not_linked".to_owned()));
    assert_eq!(verified(&rig)[1..], [not_linked("new-live"), not_linked("rotated")]);
    assert!(rig.detail().contains("the order links nothing as `rotation_record`"));
    assert_eq!(rig.order(&of(Part::Risk), &["dana"]), "accepted");
    assert_eq!(rig.outputs.last().unwrap().1["state"], "risk_closed");
    rig.is_whole();
}

/// INV-4: whatever keeps a fact from being known keeps the case open.
#[test]
fn what_is_not_known_closes_nothing() {
    for keys in [
        "id,state,seen\nkey-1,revoked,2025-12-31T22:59:59Z\n",
        "id,state,seen\nkey-1,,2026-01-01T00:00:00Z\n",
        "id,state,seen\n",
    ] {
        let (mut rig, case) = rig();
        rig.put(KEYS, keys);
        let risk = closing(&case, Some(Part::Risk), &[]);
        assert_eq!(rig.order(&risk, &["dana"]), "not_verified", "{keys}");
        rig.is_whole();
    }
    let (mut rig, case) = rig();
    rig.put(KEYS, "id,state,seen\nkey-1,revoked,2025-12-31T22:59:59Z\n");
    assert_eq!(rig.order(&closing(&case, Some(Part::Risk), &[]), &["dana"]), "not_verified");
    assert_eq!(verified(&rig)[0].1, Verdict::Unknown);
    let says = "`old-dead` of playbook p is not known: `keys.state == \"revoked\"`, saw keys.state = {\"unknown\":\"stale\"} (table:keys.csv, 3601s old)";
    assert!(rig.detail().contains(says), "{}", rig.detail());
}

/// A new credential is another one, and it is asked about by itself.
#[test]
fn the_new_credential_is_not_the_old_one() {
    let (mut rig, case) = rig();
    rig.put(ROTATION, "id,last\naws:iam:1:user:ci,2026-01-01T00:10:00Z\n");
    let links = [("new_credential", "key-1"), BOTH[1]];
    assert_eq!(rig.order(&closing(&case, None, &links), &["dana"]), "not_verified");
    let own = ("new-live".to_owned(), Verdict::False, Some("own_credential".to_owned()));
    assert_eq!(verified(&rig)[1], own);
    rig.is_whole();
}

#[test]
fn other_verdicts_need_nothing_that_the_playbook_does_not_say() {
    for (verdict, expected) in [
        (Judgement::Benign, "accepted"),
        (Judgement::FalsePositive, "accepted"),
        (Judgement::AcceptedRisk, "not_verified"),
        (Judgement::TruePositive, "not_verified"),
    ] {
        let (mut rig, case) = rig();
        let mut close = closing(&case, None, &BOTH);
        close.close.as_mut().unwrap().verdict = verdict;
        assert_eq!(rig.order(&close, &["dana"]), expected, "{verdict:?}");
        assert_eq!(verified(&rig).is_empty(), expected == "accepted");
        rig.is_whole();
    }
}

/// Nobody is asked for somebody who may not order it.
#[test]
fn only_whoever_may_close_has_anything_looked_up() {
    let (mut rig, case) = rig();
    let mut close = closing(&case, None, &BOTH);
    close.by = "sam".to_owned();
    assert_eq!(rig.order(&close, &["sam"]), "wrong_role");
    assert!(rig.last().facts.is_empty() && verified(&rig).is_empty());
}

/// INV-6: neither as a link nor as its name.
#[test]
fn a_link_that_holds_a_token_is_not_on_record() {
    let token = format!("ghp_{}", "0123456789abcdefghijABCDEFGHIJ012345");
    let (mut rig, case) = rig();
    for link in [("new_credential", &*token), (&*token, "key-2")] {
        assert_eq!(rig.order(&closing(&case, None, &[link]), &["dana"]), "holds_secret");
        assert!(!String::from_utf8_lossy(rig.written.last().unwrap()).contains(&token));
    }
    rig.is_whole();
}

/// INV-7: what the record says follows from the facts on it and the policy that it names.
#[test]
fn what_is_on_record_gives_the_same_again() {
    let (mut rig, case) = rig();
    rig.put(ROTATION, "id,last\naws:iam:1:user:ci,2026-01-01T00:10:00Z\n");
    rig.order(&closing(&case, None, &BOTH), &["dana"]);
    let policy = checked(&with(PLAYBOOK)).unwrap().policy;
    let rules = policy.playbooks()[0].closing.as_ref().unwrap();
    let record = rig.last();
    let order = record.order.as_ref().unwrap();
    let counted = rig.lane.state().cases().get(&case).unwrap();
    let counters = tipstaff::case::Counters {
        group: Some(case.clone()),
        seen: counted.seen,
        window_ms: counted.window_ms,
        ..tipstaff::case::Counters::alone(case.clone(), counted.first_seen)
    };
    assert_eq!(order.verified.len(), 3);
    for (requirement, verified) in rules.requirements.iter().zip(&order.verified) {
        let shapes = &policy.schema().enrichers;
        let mut rows: Vec<Option<Arc<FactRow>>> = vec![None; shapes.len()];
        for place in &verified.facts {
            let found = shapes.iter().enumerate().find_map(|(index, shape)| {
                Some((index, FactRow::read(record.facts[*place].0, shape)?))
            });
            let (index, row) = found.unwrap();
            rows[index] = Some(Arc::new(row));
        }
        let mut alert = Alert::default();
        alert.set(Field::NhiId, Value::Text(NHI.into()));
        let scope = Scope {
            alert: &alert,
            facts: &rows,
            counters: Some(&counters),
            now: record.at,
            max_age_ms: &rules.max_age_ms,
        };
        assert_eq!(verified.because, requirement.when.because(&scope));
        assert_eq!(verified.verdict, Verdict::of(requirement.when.eval(&scope)));
    }
}

/// Whoever changes the program to accept it anyway is found by `verify`.
#[test]
fn an_accepted_closing_whose_requirement_was_not_met_is_a_finding() {
    let (mut rig, case) = rig();
    rig.put(KEYS, "id,state,seen\nkey-1,revoked,2026-01-01T00:00:00Z\n");
    assert_eq!(rig.order(&closing(&case, Some(Part::Risk), &[]), &["dana"]), "accepted");
    let text = String::from_utf8(rig.written.pop().unwrap()).unwrap();
    let forged = text.replacen("\"verdict\":\"true\"", "\"verdict\":\"false\"", 1);
    assert_ne!(text, forged);
    assert!(Record::parse(forged.as_bytes()).is_some());
    rig.written.push(forged.into_bytes());
    let report = format!("{:?}", rig.verified().findings);
    assert!(report.contains("accepted, and requirement `old-dead` was not met"), "{report}");
}

/// What the shipped playbook asks for, with the shipped lookups and no service to ask: the value was
/// tried, the next one is in the vault, and the rotation is on record.
#[test]
fn the_shipped_playbook_closes_a_rotated_key() {
    let mut shipped = Files::shipped();
    let boundary = shipped.get("playbooks/boundary.yaml").unwrap().source.text.clone();
    let may = BOUNDARY.split_once("roles:").unwrap().1;
    let boundary = boundary.replacen("stop: false\n", &format!("stop: false\nroles:{may}"), 1);
    shipped.insert("playbooks/boundary.yaml", Source::new("b.yaml", boundary), None);
    let mut rig = Rig::of(shipped, NHI, true);
    let case = rig.alert(NHI, "high");
    let ids = |rig: &Rig| -> Vec<(String, Verdict)> {
        verified(rig).into_iter().map(|(id, verdict, _)| (id, verdict)).collect()
    };
    let named = |id: &str, verdict| (id.to_owned(), verdict);
    assert_eq!(rig.order(&closing(&case, None, &BOTH), &["dana"]), "not_verified");
    let none = [
        named("old-credential-dead", Verdict::Unknown),
        named("new-credential-live", Verdict::Unknown),
        named("rotation-recorded", Verdict::False),
    ];
    assert_eq!(ids(&rig), none, "{}", rig.detail());
    let tried = "- {credential: key-1, inert: true, purpose: rotated, approved_by: appsec}\n";
    rig.add("enrichers/registry/fixtures.yaml", tried);
    let held =
        "{\"credential\":\"key-2\",\"managed\":true,\"path\":\"kv/a\",\"state\":\"active\"}\n";
    rig.add("enrichers/vault/vault.ndjson", held);
    let rotated = "aws:iam:1:user:ci,2026-01-01T00:10:00Z,90,false,false\n";
    rig.add("enrichers/rotation/rotations.csv", rotated);
    assert_eq!(rig.order(&closing(&case, None, &BOTH), &["dana"]), "accepted", "{}", rig.detail());
    assert!(ids(&rig).iter().all(|(_, verdict)| *verdict == Verdict::True));
    rig.is_whole();
}

fn problems(change: impl Fn(&str) -> String) -> String {
    checked(&with(&change(PLAYBOOK))).err().unwrap_or_default().join("\n")
}

#[test]
fn mistakes_are_found_before_anything_starts() {
    let change = |from: &str, to: &str| {
        assert!(PLAYBOOK.contains(from), "{from}");
        problems(|text| text.replacen(from, to, 1))
    };
    for (from, to, says) in [
        ("keys.state == \"revoked\"", "keys.stat == \"revoked\"", "`keys` provides no `keys.stat`"),
        ("keys.state == \"revoked\"", "severity == \"low\"", "`severity` is what one alert said"),
        ("keys.state == \"revoked\"", "unknown(keys.state)", "nothing is closed because a fact is"),
        ("keys.state == \"revoked\"", "counters.seen > 1", "it must name a fact"),
        ("keys: {max_age: 1h}, ", "", "`keys` is not declared under `facts`"),
        (
            "keys: {max_age: 1h}",
            "keys: {max_age: 1h}, place: {max_age: 1h}",
            "`place` is looked up by location.repository",
        ),
        ("      link: new_credential\n", "", "`of: link` needs `link`"),
        ("id: rotated", "id: old-dead", "requirement `old-dead` is there already, in line 11"),
        ("true_positive, accepted_risk", "true_negative", "unknown verdict `true_negative`"),
        (
            "[nhi.id, credential.id]",
            "[nhi.id]",
            "`group.by` must name `nhi.id` and `credential.id`",
        ),
    ] {
        let found = change(from, to);
        assert!(found.contains(says), "{from} -> {to}: {found}");
    }
    assert_eq!(problems(str::to_owned), "");
}

#[test]
fn what_can_never_be_met_or_asks_for_nothing_is_said() {
    let found = |from: &str, to: &str| -> Vec<String> {
        let text = PLAYBOOK.replacen(from, to, 1);
        let checked = checked(&with(&text)).unwrap();
        let found = tipstaff::policy::findings(&checked.policy);
        found.into_iter().map(|it| format!("{} {}", it.code.id(), it.message)).collect()
    };
    let says = |all: &[String], what: &str| all.iter().any(|line| line.contains(what));
    let never = "keys.state == \"revoked\"\n        - keys.state == \"active\"";
    let all = found("keys.state == \"revoked\"", never);
    assert!(says(&all, "TS-201 requirement `old-dead` can never be true"), "{all:?}");
    let always = "keys.state == \"revoked\" || !has(keys.state) || has(keys.state)";
    let all = found("keys.state == \"revoked\"", always);
    assert!(says(&all, "TS-203"), "{all:?}");
    let unused = found("rotation.last > counters.first_seen", "has(keys.state)");
    assert!(
        says(&unused, "TS-301 `rotation` is declared, and nothing that is required"),
        "{unused:?}"
    );
}
