//! Cases against a slow and simple reading of their rules: a list of everything that ever came, read
//! from its beginning each time.

use std::borrow::Cow;
use std::collections::BTreeSet;

use proptest::prelude::*;
use tipstaff::audit::{Actor, Engine, Folded, Hash, Kind, Record};
use tipstaff::case::{
    Alert, BreakOut, CaseState, Change, Decision, Escalate, Evidence, Field, Grouping, Hold, Id,
    Millis, PermitRecord, Priority, Reason, Route, Ruling, Suppress, Told, Value, id_of,
};
use tipstaff::correlate::{News, State};

const WINDOW_MS: i64 = 1000;
const OUT: BreakOut = BreakOut { distinct: Field::Repository, over: 2 };
const FATES: [(CaseState, Priority, &str); 4] = [
    (CaseState::New, Priority::Medium, "one"),
    (CaseState::New, Priority::High, "two"),
    (CaseState::Held, Priority::High, "data"),
    (CaseState::Escalated, Priority::High, "one"),
];

/// One alert: small numbers, so that they meet.
#[derive(Debug, Clone)]
struct Event {
    after_ms: i64,
    nhi: Option<u8>,
    credential: Option<u8>,
    fingerprint: Option<u8>,
    detector: u8,
    repository: Option<u8>,
    source: u8,
    severity: usize,
    /// Place in [`FATES`]; suppressed when there is none.
    fate: usize,
    rule: u8,
    restarts: bool,
}

fn event() -> impl Strategy<Value = Event> {
    let some = |max: u8| prop::option::weighted(0.8, 0..max);
    let what = (some(2), some(3), some(3), 0_u8..3, some(5), 0_u8..40);
    let then = (0_usize..5, 0_usize..5, 0_u8..3, prop::bool::weighted(0.1));
    let after = prop_oneof![8 => 0_i64..200, 1 => 900_i64..1200];
    (after, what, then).prop_map(|(after_ms, what, then)| {
        let (nhi, credential, fingerprint, detector, repository, source) = what;
        let (severity, fate, rule, restarts) = then;
        Event {
            after_ms,
            nhi,
            credential,
            fingerprint,
            detector,
            repository,
            source,
            severity,
            fate,
            rule,
            restarts,
        }
    })
}

fn alert(event: &Event) -> Alert<'static> {
    const SEVERITIES: [&str; 5] = ["informational", "low", "medium", "high", "critical"];
    let mut alert = Alert::default();
    let mut set = |field, name: &str, value: Option<u8>| {
        if let Some(value) = value {
            alert.set(field, Value::Text(format!("{name}{value}").into()));
        }
    };
    set(Field::NhiId, "nhi", event.nhi);
    set(Field::CredentialId, "id", event.credential);
    set(Field::CredentialFingerprint, "fp", event.fingerprint);
    set(Field::Detector, "d", Some(event.detector));
    set(Field::Repository, "r", event.repository);
    set(Field::SourceIp, "ip", Some(event.source));
    alert.set(Field::Severity, Value::Text(SEVERITIES[event.severity].into()));
    alert
}

fn grouping(event: &Event) -> Option<Grouping> {
    let key = |kind: &str, value: Option<u8>| Some(format!("{}/{kind}{}", event.nhi?, value?));
    let (by_id, by_value) = (key("id", event.credential), key("fp", event.fingerprint));
    let also = by_id.as_ref().and(by_value.clone());
    Some(Grouping { id: by_id.or(by_value)?, also, window_ms: WINDOW_MS, break_out: None })
}

fn fate(event: &Event) -> Ruling<'static> {
    let Some((state, priority, queue)) = FATES.get(event.fate).copied() else {
        return Ruling::Suppress(Suppress {
            evidence: Vec::<Evidence<'_>>::new(),
            expires_at: Millis(0),
            on_expiry: tipstaff::case::OnExpiry::Recheck,
            authorized_by: "o".into(),
        });
    };
    let queue: Cow<'static, str> = queue.into();
    match state {
        CaseState::New => Ruling::Route(Route { queue, priority, ack_by: None }),
        CaseState::Held => Ruling::Hold(Hold { queue, priority, until: Millis(0) }),
        CaseState::Escalated => Ruling::Escalate(Escalate {
            action: "disable".into(),
            target: "t".into(),
            rollback: "enable".into(),
            queue,
            priority,
            expires_at: Millis(0),
            ack_by: None,
            permit: PermitRecord { id: "p".into(), allowed_by: "b".into(), obligations: vec![] },
        }),
    }
}

fn decision(event: &Event) -> Decision<'static> {
    Decision::new(fate(event), Reason::RuleMatched, "p", event.rule.to_string())
}

/// What was ruled, in order, with the case it went to and what people were told.
struct Past {
    at: i64,
    event: Event,
    case: Id,
    told: Option<Told<'static>>,
}

/// The rules, read off the list.
#[derive(Default)]
struct Slow {
    past: Vec<Past>,
    /// Which case a key leads to, newest last.
    leads: Vec<(Id, Id)>,
}

impl Slow {
    fn last_seen(&self, case: &Id) -> i64 {
        self.past.iter().rev().find(|past| past.case == *case).unwrap().at
    }

    fn is_open(&self, case: &Id, at: i64) -> bool {
        at - self.last_seen(case) <= WINDOW_MS
    }

    fn lead(&self, key: &Id) -> Option<&Id> {
        self.leads.iter().rev().find(|(known, _)| known == key).map(|(_, case)| case)
    }

    fn case(&self, alert_id: &Id, keys: &[Id], at: i64) -> Id {
        let known = keys.iter().filter_map(|key| self.lead(key));
        let open = known.into_iter().find(|case| self.is_open(case, at));
        open.cloned().unwrap_or_else(|| id_of("case", &[alert_id.as_bytes()]))
    }

    fn changes(&self, case: &Id, event: &Event, seen: i64) -> Vec<Change> {
        let Some((state, priority, _)) = FATES.get(event.fate).copied() else { return vec![] };
        let all: Vec<&Past> = self.past.iter().filter(|past| past.case == *case).collect();
        let told: Vec<&Past> = all.iter().copied().filter(|past| past.told.is_some()).collect();
        let Some(last) = told.last().and_then(|past| past.told.as_ref()) else {
            return vec![Change::Opened];
        };
        let is_new = |of: &dyn Fn(&Event) -> Option<u8>| {
            let known: BTreeSet<u8> = all.iter().filter_map(|past| of(&past.event)).collect();
            let before = known.len();
            (of(event).is_some_and(|value| !known.contains(&value)) && before <= 16, before)
        };
        let (detector, _) = is_new(&|event| Some(event.detector));
        let (repository, repositories) = is_new(&|event| event.repository);
        let (source, sources) = is_new(&|event| Some(event.source));
        let severity = told.iter().map(|past| past.event.severity).max();
        let rules: BTreeSet<u8> = told.iter().map(|past| past.event.rule).collect();
        let acted = told.iter().any(|past| FATES[past.event.fate].0 == CaseState::Escalated);
        let last_sources = last.sources.count as usize;
        let found = [
            (Change::State, state > last.state || (state == CaseState::Escalated && !acted)),
            (Change::Priority, priority > last.priority),
            (Change::Severity, Some(event.severity) > severity),
            (
                Change::Rule,
                !rules.contains(&event.rule) && (state, priority) >= (last.state, last.priority),
            ),
            (Change::Detector, detector),
            (Change::Repository, repository),
            (Change::Sources, source && sources + 1 >= last_sources * 2),
            (Change::Count, [10, 100, 1000].contains(&seen)),
            (Change::BreakOut, repository && repositories == 2),
        ];
        found.into_iter().filter(|(_, is_so)| *is_so).map(|(change, _)| change).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// INV-11: whatever comes, an alert is in the case that its keys say, counted once, and people
    /// are told when and only when the rules say so; a restart in between changes nothing.
    #[test]
    fn cases_are_what_a_simple_reading_of_all_that_came_says(
        events in prop::collection::vec(event(), 1..120),
    ) {
        let (mut state, mut slow, mut at) = (State::default(), Slow::default(), 0);
        for (n, event) in events.iter().enumerate() {
            at += event.after_ms;
            if event.restarts {
                let parts = state.snapshot(Millis(at));
                let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
                let restored = State::restore(&parts).unwrap();
                prop_assert_eq!(restored.cases(), state.cases());
                state = restored;
            }
            let (alert_id, alert, decision) = (format!("{n:05}"), alert(event), decision(event));
            let grouping = grouping(event);
            let keys: Vec<Id> = grouping.iter().flat_map(|g| [Some(&g.id), g.also.as_ref()]).flatten().cloned().collect();
            let counters = state.counters(&alert_id, Some(&alert), grouping, Millis(at));
            let case = slow.case(&alert_id, &keys, at);
            prop_assert_eq!(&counters.case_id, &case, "alert {}", n);
            let of_case = || slow.past.iter().filter(|past| past.case == case);
            prop_assert_eq!(counters.seen, i64::try_from(of_case().count()).unwrap() + 1);
            prop_assert_eq!(counters.first_seen.0, of_case().next().map_or(at, |past| past.at));
            let news = News { alert_id: &alert_id, alert: &alert, counters: &counters, decision: &decision,
                break_out: Some(OUT), revised: None, now: Millis(at) };
            let told = state.cases().told(&news);
            let changed = told.as_ref().map_or(vec![], |told| told.changed.clone());
            prop_assert_eq!(changed, slow.changes(&case, event, counters.seen), "alert {}", n);
            if let Some(told) = &told {
                let before = of_case().filter_map(|past| past.told.as_ref()).next_back();
                prop_assert_eq!(told.revision, before.map_or(0, |told| told.revision) + 1);
                prop_assert!(before.is_none_or(|b| told.priority >= b.priority && told.state >= b.state));
                prop_assert!(!told.related.contains(&case));
                let same_nhi = |id: &Id| slow.past.iter().any(|past| past.case == *id
                    && (past.event.nhi == event.nhi && event.nhi.is_some()
                        || past.event.fingerprint == event.fingerprint && event.fingerprint.is_some()));
                prop_assert!(told.related.iter().all(same_nhi));
            }
            let engine = Engine { version: "1".into(), build: "test".into() };
            let actor = Actor { service: "t".into(), instance: "t".into() };
            let record = Record {
                alert_id: Some(alert_id), alert: Some(Cow::Owned(alert)), counters: Some(Cow::Owned(counters)),
                ruling: Some(Cow::Owned(decision)), told: told.clone(),
                ..Record::new(Kind::Ruling, Millis(at), engine, actor)
            };
            state.apply(&record, Hash::NONE);
            let is_kept = record.told.is_some() || !keys.is_empty();
            for key in &keys {
                let other = slow.lead(key).filter(|other| **other != case);
                if slow.lead(key) != Some(&case) && !other.is_some_and(|other| slow.is_open(other, at)) {
                    slow.leads.push((key.clone(), case.clone()));
                }
            }
            if is_kept {
                slow.past.push(Past { at, event: event.clone(), case, told });
            }
        }
    }
}
