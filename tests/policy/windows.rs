//! Windows that a playbook declares: what may be written, what a rule sees, and that a ruling made
//! again sees the same.

use tipstaff::case::{Count, Field, Millis, Ruling, Tri, Value};
use tipstaff::correlate::State;
use tipstaff::decide::{Inputs, Tested, decide, explain};
use tipstaff::policy::{Code, Policy, findings};
use tipstaff::replay::{Progress, Stored, compare};
use tipstaff::trial::run_tests;

use crate::replayed::{Written, record};
use crate::support::{NOW, Situation, policy, text};

const BASE: &str = "\
boundary: base
owner: o
default_queue: {queue: triage, priority: medium}
suppress: {max_expires: 30d}
";

fn playbook(windows: &str, rules: &str) -> String {
    format!(
        "playbook: p\ntitle: t\nowner: o\nmode: live\non: {{kind: exposed_key}}\nfacts: {{}}\n\
         windows:\n  seen: {{{windows}}}\nrules:\n{rules}  - id: otherwise\n    route: {{queue: q, priority: low}}\n"
    )
}

const SEEN: &str = "where: has(kind), by: [nhi.id], within: 15m, distinct: [source.ip], \
                    then: {more: {where: severity == \"high\"}}, baseline: {over: 7d}";

fn of(windows: &str, when: &str) -> Result<Policy, Vec<String>> {
    let rules =
        format!("  - id: r\n    when: ['{when}']\n    route: {{queue: r, priority: high}}\n");
    policy(&[&playbook(windows, &rules)], &[BASE])
}

fn problem(windows: &str, when: &str) -> String {
    of(windows, when).map(|_| ()).unwrap_err().join("\n")
}

#[test]
fn what_is_wrong_with_a_window_is_told_where_it_stands() {
    for (from, to, expected) in [
        ("by: [nhi.id]", "by: [credential.id]", "`by` must have `nhi.id`"),
        (
            "by: [nhi.id]",
            "by: [nhi.id, nhi.nmae]",
            "no field of an alert is called `nhi.nmae`, did you mean `nhi.name`?",
        ),
        ("has(kind)", "owner.tier == \"1\"", "`owner.tier` is no field of the alert"),
        ("has(kind)", "now > received_at", "`now` is no field of the alert"),
        ("has(kind)", "knid == \"x\"", "unknown name `knid`, did you mean `kind`?"),
        ("within: 15m", "within: 8d", "`within` is at most 7d"),
        ("over: 7d", "over: 20m", "at least twice the window"),
        (
            "{where: severity == \"high\"}",
            "{where: severity == \"high\", within: 16m}",
            "at most the window's own",
        ),
        (
            "{where: severity == \"high\"}",
            "{where: severity == \"high\", within: 15s}",
            "more than a sixtieth",
        ),
        ("within: 15m", "within: 15m, windw: 1", "unknown key `windw`"),
    ] {
        let wrong = SEEN.replacen(from, to, 1);
        assert_ne!(wrong, SEEN, "{from}");
        let found = problem(&wrong, "seen.count > 1");
        assert!(found.contains(expected), "{found}");
        assert!(found.starts_with("playbook1.yaml:"), "{found}");
    }
}

#[test]
fn a_name_of_a_window_is_typed_and_mended() {
    for (when, expected) in [
        ("seen.cuont > 1", "window `seen` has no `seen.cuont`, did you mean `seen.count`?"),
        (
            "seen.distinct.nhi_id > 1",
            "window `seen` has no `seen.distinct.nhi_id`: seen.count, seen.first",
        ),
        ("seen.count == \"1\"", "int can't be compared with text"),
        ("seen.first > 1", "time can't be compared with int"),
        ("sen.count > 1", "unknown name `sen.count`, did you mean `seen.count`?"),
        ("seen", "window `seen` has no `seen`"),
    ] {
        let found = problem(SEEN, when);
        assert!(found.contains(expected), "{found}");
    }
    let without = "where: has(kind), by: [nhi.id], within: 15m";
    assert!(problem(without, "seen.rate > 1").contains("window `seen` has no `seen.rate`"));
}

#[test]
fn a_window_is_called_like_nothing_else() {
    for (name, expected) in [
        ("owner", "is the name of an enricher"),
        ("counters", "is the name of a part of every alert"),
        ("event", "is the name of a part of every alert"),
        ("not", "has a meaning in conditions"),
        ("Seen", "use lower-case letters"),
    ] {
        let text = playbook(SEEN, "").replace("  seen:", &format!("  {name}:"));
        let found = policy(&[&text], &[BASE]).map(|_| ()).unwrap_err().join("\n");
        assert!(found.contains(expected), "{found}");
    }
}

#[test]
fn the_boundary_knows_no_windows() {
    let deny = format!("{BASE}deny:\n  - {{id: d, of: any, when: [seen.count > 1], why: w}}\n");
    let found = policy(&[&playbook(SEEN, "")], &[&deny]).map(|_| ()).unwrap_err().join("\n");
    assert!(found.contains("unknown name `seen.count`"), "{found}");
}

/// Rules one alert after the other, each received a minute later.
fn ruled(policy: &Policy, situations: &mut [Situation]) -> Vec<(String, String)> {
    let mut state = State::default();
    let mut fates = Vec::new();
    for (minute, situation) in (0..).zip(situations) {
        let tipstaff::case::Body::Alert(alert) = &mut situation.arrival.body else { continue };
        alert.set(Field::ReceivedAt, Value::Time(NOW.plus(minute * 60_000)));
        let now = NOW.plus(minute * 60_000);
        let (readings, sightings) = state.windows().look(policy.looks(alert, now, None));
        situation.counters.windows = readings;
        state.see(&sightings);
        let inputs = Inputs {
            arrival: &situation.arrival,
            facts: &situation.facts,
            counters: &situation.counters,
            now,
        };
        let decision = decide(policy, &inputs).decision;
        fates.push((decision.rule.to_string(), decision.fate.name().to_owned()));
    }
    fates
}

fn alerts(count: usize, nhi: Option<&str>) -> Vec<Situation> {
    let alert = || {
        let mut alert = crate::support::plain_alert();
        alert.set(Field::NhiId, nhi.map_or(Value::Absent, text));
        alert.set(Field::OccurredAt, Value::Absent);
        alert.set(Field::ObservedAt, Value::Absent);
        alert
    };
    (0..count).map(|_| Situation::new(alert(), vec![None; 4])).collect()
}

#[test]
fn a_rule_sees_the_window_the_alert_at_hand_included_and_nothing_without_a_key() {
    let policy = of(SEEN, "seen.count >= 3").unwrap();
    let rules = |mut alerts: Vec<Situation>| -> Vec<String> {
        ruled(&policy, &mut alerts).into_iter().map(|(rule, _)| rule).collect()
    };
    assert_eq!(rules(alerts(4, Some("x"))), ["otherwise", "otherwise", "r", "r"]);
    assert_eq!(rules(alerts(4, None)), ["otherwise"; 4]);
    assert_eq!(rules(alerts(4, Some(""))), ["otherwise"; 4]);
}

#[test]
fn a_ruling_made_again_from_its_record_sees_the_window_as_it_was() {
    let policy = of(SEEN, "seen.count >= 3").unwrap();
    let mut situations = alerts(4, Some("x"));
    ruled(&policy, &mut situations);
    let records: Vec<Vec<u8>> = (0..)
        .zip(&situations)
        .map(|(number, situation)| {
            let written = Written { policy: "", number, at: NOW, revised: None };
            record(situation, &situation.decide(&policy).decision, &written)
        })
        .collect();
    let stored: Vec<Stored<'_>> =
        (0..).zip(&records).map(|(offset, bytes)| (0, offset, bytes.as_slice())).collect();
    let same = compare(&policy, &policy, &stored, &Progress::default()).unwrap();
    assert_eq!((same.alerts, same.changed, same.rested[1].rulings), (4, 0, 0));
    let other = of(&SEEN.replacen("15m", "20m", 1), "seen.count >= 3").unwrap();
    let report = compare(&policy, &other, &stored, &Progress::default()).unwrap();
    assert_eq!(report.rested[1].rulings, 4, "a window that is another was not recorded");
    assert_eq!(report.rested[1].by_enricher["seen"], 4);
}

#[test]
fn what_a_window_does_not_hold_any_more_suppresses_nothing() {
    let rules = "  - id: few\n    when: [seen.count <= 5]\n    on_unknown: next\n    suppress: {reason: test_fixture, evidence: [seen.count], expires: 1d, on_expiry: recheck}\n";
    let policy = policy(&[&playbook(SEEN, rules)], &[BASE]).unwrap();
    let mut situations = alerts(1, Some("x"));
    ruled(&policy, &mut situations);
    let fate = |situation: &Situation| situation.decide(&policy).decision.fate.name();
    assert_eq!(fate(&situations[0]), "suppress");
    let Ruling::Suppress(found) = situations[0].decide(&policy).decision.fate else { panic!() };
    assert_eq!((&*found.evidence[0].name, &*found.evidence[0].source), ("seen.count", "window"));
    let seen = situations[0].counters.windows[0].seen.as_mut().unwrap();
    seen.count = Count::AtLeast { at_least: 1 };
    assert_eq!(fate(&situations[0]), "route", "it may be more than five");
    situations[0].counters.windows.clear();
    assert_eq!(fate(&situations[0]), "route", "nobody counted");
}

#[test]
fn a_count_that_may_be_more_settles_what_it_can() {
    let truth = |when: &str, count: Count| {
        let policy = of(SEEN, when).unwrap();
        let mut situations = alerts(1, Some("x"));
        ruled(&policy, &mut situations);
        situations[0].counters.windows[0].seen.as_mut().unwrap().count = count;
        let alert = crate::support::plain_alert();
        let scope = tipstaff::clause::Scope {
            alert: &alert,
            facts: &[],
            counters: Some(&situations[0].counters),
            now: Millis(0),
            max_age_ms: &[],
        };
        policy.playbooks()[0].rules[0].when.eval(&scope)
    };
    let five = Count::AtLeast { at_least: 5 };
    for (when, expected) in [
        ("seen.count >= 5", Tri::True),
        ("seen.count > 5", Tri::Unknown),
        ("seen.count > 4", Tri::True),
        ("seen.count < 5", Tri::False),
        ("seen.count <= 5", Tri::Unknown),
        ("seen.count == 4", Tri::False),
        ("seen.count == 5", Tri::Unknown),
        ("seen.count != 4", Tri::True),
        ("5 <= seen.count", Tri::True),
        ("!(seen.count < 5)", Tri::True),
        ("seen.count >= 4.5", Tri::True),
        ("seen.count in [3, 4]", Tri::Unknown),
        ("has(seen.count)", Tri::True),
        ("unknown(seen.count)", Tri::False),
        ("seen.first < now", Tri::Unknown),
        ("unknown(seen.first)", Tri::True),
        ("seen.rate > 2", Tri::False),
    ] {
        assert_eq!(truth(when, five), expected, "{when}");
        let exact = truth(when, Count::Exactly(5));
        assert!(
            expected == Tri::Unknown || exact == expected || when.starts_with("unknown"),
            "{when}"
        );
    }
}

#[test]
fn an_explanation_says_what_a_window_rests_on() {
    let policy = of(SEEN, "seen.count >= 3").unwrap();
    let mut situations = alerts(3, Some("x"));
    ruled(&policy, &mut situations);
    let inputs = Inputs {
        arrival: &situations[2].arrival,
        facts: &situations[2].facts,
        counters: &situations[2].counters,
        now: NOW,
    };
    let explanation = explain(&policy, &inputs, None);
    let Tested::Clause { seen, .. } = &explanation.playbooks[0].rules[0].when[0] else { panic!() };
    assert_eq!(seen[0].value, Value::Int(3));
    let detail = seen[0].detail.as_deref().unwrap();
    assert!(detail.starts_with("window with 3 counted from "), "{detail}");
    assert!(matches!(explanation.ruling.fate, Ruling::Route(_)));
}

#[test]
fn a_window_that_nobody_reads_or_that_never_counts_is_found() {
    let codes = |windows: &str, when: &str| -> Vec<Code> {
        let policy = of(windows, when).unwrap();
        let found = findings(&policy).into_iter().map(|finding| finding.code);
        found
            .filter(|code| !matches!(code, Code::NoTest | Code::OpenQueues | Code::IdleAction))
            .collect()
    };
    assert_eq!(codes(SEEN, "seen.count > 3"), []);
    assert_eq!(codes(SEEN, "has(nhi.id)"), [Code::Unused]);
    let never = SEEN.replacen("has(kind)", "[has(kind), \"!has(kind)\"]", 1);
    assert_eq!(codes(&never, "seen.count > 3"), [Code::NeverTrue]);
    let strange = SEEN.replacen("has(kind)", "kind == \"auth_fail\"", 1);
    assert_eq!(codes(&strange, "seen.count > 3"), [Code::NoSuchValue]);
    let contradiction = codes(SEEN, "seen.count > 3 && seen.count < 3");
    assert_eq!(contradiction, [Code::NeverTrue]);
    assert_eq!(codes(SEEN, "seen.count >= 0"), [], "without a key it is absent");
}

#[test]
fn several_playbooks_share_a_window_that_says_the_same() {
    let other = playbook(SEEN, "")
        .replace("playbook: p", "playbook: other")
        .replace("kind: exposed_key", "kind: activity");
    let policy =
        policy(&[&playbook(SEEN, ""), &other.replace("  seen:", "  differently_called:")], &[BASE])
            .unwrap();
    let alert = crate::support::plain_alert();
    assert_eq!(policy.looks(&alert, NOW, None).len(), 1);
}

#[test]
fn a_window_whose_definition_changes_begins_anew() {
    let id = |windows: &str| of(windows, "has(nhi.id)").unwrap().playbooks()[0].windows()[0].id;
    let mut ids = vec![id(SEEN)];
    for (from, to) in [
        ("15m", "16m"),
        ("has(kind)", "has(severity)"),
        ("has(kind)", "[has(kind), has(severity)]"),
        ("has(kind)", "{any: [has(kind), has(severity)]}"),
        ("[nhi.id]", "[nhi.id, kind]"),
        ("source.ip", "source.network"),
        ("severity == \"high\"", "severity == \"low\""),
        ("over: 7d", "over: 8d"),
        (", baseline", ", lateness: 1m, baseline"),
    ] {
        let changed = SEEN.replacen(from, to, 1);
        assert_ne!(changed, SEEN, "{from}");
        ids.push(id(&changed));
    }
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), count);
}

#[test]
fn a_window_may_be_as_large_as_its_limits_and_no_larger() {
    let then = |count: usize| -> String {
        let each = (0..count).map(|n| format!("t{n}: {{where: has(kind)}}"));
        format!("then: {{{}}}", each.collect::<Vec<_>>().join(", "))
    };
    let fields = "source.ip, source.network, source.country, severity";
    let of_two = |within: &str, rest: &str| -> Result<(), Vec<String>> {
        let text = format!("where: has(kind), by: [nhi.id], within: {within}, {rest}");
        of(&text, "has(nhi.id)").map(|_| ())
    };
    for (within, most, more) in [
        ("7d", "lateness: 7d".to_owned(), "lateness: 8d".to_owned()),
        ("15m", "baseline: {over: 30m}".to_owned(), "baseline: {over: 29m}".to_owned()),
        ("15m", "baseline: {over: 90d}".to_owned(), "baseline: {over: 91d}".to_owned()),
        ("15m", format!("distinct: [{fields}]"), format!("distinct: [{fields}, kind]")),
        ("15m", format!("distinct: [{fields}]"), format!("distinct: [{fields}, kind, nhi.id]")),
        ("15m", then(4), then(5)),
        ("15m", then(4), then(6)),
        (
            "15m",
            then(1).replace("kind)", "kind), within: 16s"),
            then(1).replace("kind)", "kind), within: 15s"),
        ),
    ] {
        assert_eq!(of_two(within, &most), Ok(()), "{most}");
        assert!(of_two(within, &more).is_err(), "{more}");
    }
}

#[test]
fn what_ends_as_no_alert_is_counted_all_the_same_and_read_by_nobody() {
    let policy = of(SEEN, "seen.count > 1").unwrap();
    let mut alert = crate::support::plain_alert();
    alert.set(Field::NotAnAlert, text("routine"));
    let looks = policy.looks(&alert, NOW, None);
    assert_eq!((looks.len(), looks[0].is_read), (1, false));
    assert!(looks[0].sighting.as_ref().unwrap().counts);
}

#[test]
fn a_window_is_read_by_an_alert_that_it_does_not_count_and_by_none_that_nothing_asks_about() {
    let counts_low = SEEN.replacen("has(kind)", "severity == \"low\"", 1);
    let policy = of(&counts_low.replace("\"high\"", "\"medium\""), "seen.count > 1").unwrap();
    let look = |kind: &str, severity: &str| {
        let mut alert = crate::support::plain_alert();
        alert.set(Field::Kind, text(kind));
        alert.set(Field::Severity, text(severity));
        let looks = policy.looks(&alert, NOW, None);
        let first = looks.first().cloned();
        first.map(|look| (look.is_read, look.sighting.is_some_and(|sighting| sighting.counts)))
    };
    assert_eq!(look("exposed_key", "high"), Some((true, false)));
    assert_eq!(look("exposed_key", "low"), Some((true, true)));
    assert_eq!(look("activity", "low"), Some((false, true)));
    assert_eq!(look("activity", "medium"), Some((false, false)), "what may come after");
    assert_eq!(look("activity", "high"), None);
}

#[test]
fn where_an_alert_is_placed() {
    let policy = of(SEEN, "seen.count > 1").unwrap();
    let placed = |occurred_at: Option<i64>| {
        let mut alert = crate::support::plain_alert();
        alert.set(Field::ReceivedAt, Value::Time(NOW));
        alert.set(Field::ObservedAt, Value::Absent);
        let occurred_at = occurred_at.map_or(Value::Absent, |after| Value::Time(NOW.plus(after)));
        alert.set(Field::OccurredAt, occurred_at);
        let sighting = policy.looks(&alert, NOW.plus(5000), None)[0].sighting.clone().unwrap();
        (sighting.at.since(NOW), sighting.late)
    };
    let minute = 60_000;
    assert_eq!(placed(None), (0, false));
    assert_eq!(placed(Some(-3 * minute)), (-3 * minute, false));
    assert_eq!(placed(Some(3 * minute)), (0, false), "what is to come happens now");
    assert_eq!(placed(Some(-20 * minute)), (-20 * minute, false), "window and lateness");
    assert_eq!(placed(Some(-20 * minute - 1)), (-20 * minute, true));
}

#[test]
fn tests_of_a_playbook_fill_its_windows_for_real() {
    let rules = "  - id: r\n    when: ['seen.count >= 3']\n    route: {queue: r, priority: high}\n";
    let tests = "tests:\n  - name: n\n    now: 2026-01-01T00:00:00Z\n    alert: {nhi.id: x}\n    alerts:\n      - {times: 2, every: 1m, expect: {route: q}}\n      - {at: 1m, expect: {route: r}}\n      - {at: 16m, expect: {route: q}}\n";
    let policy = policy(&[&(playbook(SEEN, rules) + tests)], &[BASE]).unwrap();
    let outcomes = run_tests(&policy, |_, _| true);
    assert!(outcomes[0].passed(), "{outcomes:?}");
}
