use serde::Serialize;

use super::detection::detection_finding;
use super::repair::{Repair, repairs};
use super::{Appended, Hash, Raw, Record, Verified};
use crate::case::{
    Alert, Because, Blocked, BoundaryVerdict, Change, Closing, Decision, Escalate, Excepting,
    Field, Id, Millis, Origin, Priority, Revised, Ruling, Shadow, Spread, Statement, Told,
    Unreadable, Value, Verb, Via, Worked, id_of, write_json,
};

/// Topic names without the prefix that the configuration gives them.
pub const CASES_PREFIX: &str = "cases.";
pub const ACTIONS: &str = "actions";
pub const DEAD_LETTERS: &str = "dead-letters";
pub const FINDINGS: &str = "findings";

/// Something a ruling causes on another topic. A pure function of the record (INV-2), so recovery
/// can write again what a tear lost; void unless the record that it names is on its chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// `cases.<queue>`, `actions`, `dead-letters` or `findings`.
    pub topic: String,
    /// What the topic is partitioned by.
    pub key: String,
    pub value: Vec<u8>,
}

/// The chain record that an output follows from.
#[derive(Debug, Serialize)]
pub(super) struct Named<'r> {
    chain: &'r str,
    seq: u64,
    hash: Hash,
}

impl<'r> Named<'r> {
    pub(super) fn of(record: &'r Record<'_>, appended: Appended) -> Self {
        Self { chain: &record.chain, seq: appended.seq, hash: appended.hash }
    }
}

/// What an analyst gets in the queue.
#[derive(Serialize)]
struct Case<'r> {
    v: u32,
    case_id: &'r str,
    correlation_id: &'r str,
    alert_ids: [&'r str; 1],
    first_seen: Millis,
    last_seen: Millis,
    count: i64,
    detectors: &'r Spread,
    repositories: &'r Spread,
    sources: &'r Spread,
    /// Cases of the same NHI or the same value that are not this one.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    related_cases: &'r [Id],
    summary: String,
    /// From 1, for whatever reason the case comes again; with `case_id` the key of a delivery.
    case_revision: u32,
    /// Why it comes.
    changed: &'r [Change],
    /// From 1, where this takes the place of what the queue had of the alert.
    #[serde(skip_serializing_if = "Option::is_none")]
    revision: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revised: Option<&'r Revised<'r>>,
    /// `moved` in the queue that it left, else [`Told::state`].
    state: &'static str,
    queue: &'r str,
    priority: Priority,
    #[serde(skip_serializing_if = "Option::is_none")]
    ack_by: Option<Millis>,
    #[serde(skip_serializing_if = "Option::is_none")]
    held_until: Option<Millis>,
    #[serde(skip_serializing_if = "Option::is_none")]
    worked: Option<&'r Worked>,
    reason: &'static str,
    playbook: &'r str,
    rule: &'r str,
    alert: &'r Alert<'r>,
    facts: &'r [Raw<'r>],
    /// What to mend so that the alert can be ruled on facts that are known.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    repair: Vec<Repair<'r>>,
    because: &'r [Because<'r>],
    boundary: &'r [BoundaryVerdict<'r>],
    #[serde(skip_serializing_if = "Option::is_none")]
    escalation: Option<&'r Escalate<'r>>,
    blocked_actions: &'r [Blocked<'r>],
    /// Playbooks in shadow that would have ruled otherwise.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    shadow: Vec<&'r Shadow<'r>>,
    origin: &'r Origin<'r>,
    record: Named<'r>,
}

/// What has become of a case that people have; what it does not say is as it was.
#[derive(Serialize)]
struct Notice<'r> {
    v: u32,
    case_id: &'r str,
    #[serde(skip_serializing_if = "Option::is_none")]
    nhi: Option<&'r str>,
    first_seen: Millis,
    last_seen: Millis,
    count: i64,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    related_cases: &'r [Id],
    summary: String,
    case_revision: u32,
    changed: &'r [Change],
    state: &'static str,
    queue: &'r str,
    priority: Priority,
    /// Nothing: there is no deadline any more.
    ack_by: Option<Millis>,
    #[serde(skip_serializing_if = "Option::is_none")]
    worked: Option<&'r Worked>,
    #[serde(skip_serializing_if = "Option::is_none")]
    order: Option<Ordered<'r>>,
    record: Named<'r>,
}

/// The order by which a person changed it.
#[derive(Serialize)]
struct Ordered<'r> {
    order: Verb,
    id: String,
    by: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    via: Option<Box<Via>>,
    role: Option<&'r str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    close: Option<Closing>,
    #[serde(skip_serializing_if = "Option::is_none")]
    except: Option<Excepting>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    verified: &'r [Verified<'r>],
    /// What was looked up for that.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    facts: &'r [Raw<'r>],
}

/// A containment that was ruled and that the boundary permitted. Nothing executes it yet.
#[derive(Serialize)]
struct Action<'r> {
    v: u32,
    action_id: Id,
    case_id: &'r str,
    alert_id: &'r str,
    ruled_at: Millis,
    nhi: &'r str,
    #[serde(flatten)]
    escalate: &'r Escalate<'r>,
    record: Named<'r>,
}

/// Where the unreadable message is; never what was in it (INV-6).
#[derive(Serialize)]
struct DeadLetter<'r> {
    v: u32,
    alert_id: &'r str,
    at: Millis,
    #[serde(skip_serializing_if = "Option::is_none")]
    origin: Option<&'r Origin<'r>>,
    #[serde(flatten)]
    unreadable: &'r Unreadable<'r>,
    record: Named<'r>,
}

/// Everything that follows from one record, in a fixed order; beside it stands its [`finding`].
pub fn outputs(record: &Record<'_>, appended: Appended, emit: &mut dyn FnMut(Output)) {
    let named = || Named::of(record, appended);
    let (Some(decision), Some(alert_id)) = (&record.ruling, &record.alert_id) else {
        emit_notice(record, named(), emit);
        return;
    };
    let mut put = |topic: String, key: &str, value: Result<Vec<u8>, serde_json::Error>| {
        // Our own types always serialize; an empty value would be a tombstone and is never sent.
        if let Ok(value) = value {
            emit(Output { topic, key: key.to_owned(), value });
        }
    };
    if let Ruling::DeadLetter(unreadable) = &decision.fate {
        let origin = record.origin.as_deref();
        let letter =
            DeadLetter { v: 1, alert_id, at: record.at, origin, unreadable, record: named() };
        put(DEAD_LETTERS.to_owned(), alert_id, written(&letter));
        return;
    }
    if let Some(told) = &record.told
        && let Some(mut case) = case(record, told, decision, named())
    {
        put(format!("{CASES_PREFIX}{}", told.queue), told.key(), written(&case));
        if let Some(left) = &told.left {
            case.state = "moved";
            put(format!("{CASES_PREFIX}{left}"), told.key(), written(&case));
        }
    }
    if let (Ruling::Escalate(escalate), Some(counters)) = (&decision.fate, &record.counters) {
        let action = Action {
            v: 1,
            action_id: id_of(
                "action",
                &[alert_id.as_bytes(), escalate.action.as_bytes(), escalate.target.as_bytes()],
            ),
            case_id: &counters.case_id,
            alert_id,
            ruled_at: record.at,
            nhi: nhi(record).unwrap_or(alert_id),
            escalate,
            record: named(),
        };
        put(ACTIONS.to_owned(), &escalate.target, written(&action));
    }
}

/// What people get of a case without an alert.
fn emit_notice(record: &Record<'_>, named: Named<'_>, emit: &mut dyn FnMut(Output)) {
    let Some(told) = &record.told else { return };
    let order = ordered(record);
    let about: Vec<&str> = told.changed.iter().map(|change| change.about()).collect();
    let by = order.as_ref().map_or_else(String::new, |order| format!(" ({})", order.by));
    let nhi = told.nhi.as_deref().unwrap_or("unknown");
    let mut notice = Notice {
        v: 1,
        case_id: &told.case_id,
        nhi: told.nhi.as_deref(),
        first_seen: told.first_seen,
        last_seen: told.last_seen,
        count: told.count,
        related_cases: &told.related,
        summary: format!("{}{by}: {nhi}", about.join(", ")),
        case_revision: told.revision,
        changed: &told.changed,
        state: told.state(),
        queue: &told.queue,
        priority: told.priority,
        ack_by: told.ack_by,
        worked: told.worked.as_deref(),
        order,
        record: named,
    };
    let mut put = |queue: &str, notice: &Notice<'_>| {
        if let Ok(value) = written(notice) {
            let (topic, key) = (format!("{CASES_PREFIX}{queue}"), told.key().to_owned());
            emit(Output { topic, key, value });
        }
    };
    put(&told.queue, &notice);
    if let Some(left) = &told.left {
        notice.state = "moved";
        put(left, &notice);
    }
}

fn ordered<'r>(record: &'r Record<'_>) -> Option<Ordered<'r>> {
    let order = record.order.as_ref()?;
    let statement = Statement::read(order.statement.as_deref()?).ok()?;
    let Statement { order: verb, id, by, via, close, except, .. } = statement;
    let (role, verified, facts) = (order.role.as_deref(), &*order.verified, &*record.facts);
    Some(Ordered { order: verb, id, by, via, role, close, except, verified, facts })
}

/// The OCSF Detection Finding that follows from a record about an alert; dead letters have none.
pub fn finding(record: &Record<'_>, appended: Appended) -> Option<Output> {
    let value = written(&detection_finding(record, appended)?).ok()?;
    let key = nhi(record).or(record.alert_id.as_deref())?.to_owned();
    Some(Output { topic: FINDINGS.to_owned(), key, value })
}

pub fn nhi<'r>(record: &'r Record<'_>) -> Option<&'r str> {
    record.alert.as_deref().and_then(|alert| alert.text(Field::NhiId))
}

/// Large enough that most outputs are written without growing.
const OUTPUT_BYTES: usize = 4096;

pub(super) fn written<T: Serialize>(output: &T) -> Result<Vec<u8>, serde_json::Error> {
    let mut value = Vec::with_capacity(OUTPUT_BYTES);
    write_json(&mut value, output)?;
    Ok(value)
}

fn case<'r>(
    record: &'r Record<'_>,
    told: &'r Told<'_>,
    decision: &'r Decision<'_>,
    named: Named<'r>,
) -> Option<Case<'r>> {
    let alert = record.alert.as_deref()?;
    let held_until = match &decision.fate {
        Ruling::Hold(hold) => Some(hold.until),
        _ => None,
    };
    Some(Case {
        v: 1,
        case_id: &told.case_id,
        correlation_id: record.correlation_id.as_deref().unwrap_or_default(),
        alert_ids: [record.alert_id.as_deref().unwrap_or_default()],
        first_seen: told.first_seen,
        last_seen: told.last_seen,
        count: told.count,
        detectors: &told.detectors,
        repositories: &told.repositories,
        sources: &told.sources,
        related_cases: &told.related,
        summary: summary(alert, decision),
        case_revision: told.revision,
        changed: &told.changed,
        revision: record.revision,
        revised: record.revised.as_ref(),
        state: told.state(),
        queue: &told.queue,
        priority: told.priority,
        ack_by: told.ack_by,
        held_until,
        worked: told.worked.as_deref(),
        reason: decision.reason.code(),
        playbook: &decision.playbook,
        rule: &decision.rule,
        alert,
        facts: &record.facts,
        repair: repairs(record),
        because: &decision.because,
        boundary: &decision.boundary,
        escalation: match &decision.fate {
            Ruling::Escalate(escalate) => Some(escalate),
            _ => None,
        },
        blocked_actions: &decision.blocked,
        shadow: decision.shadow.iter().filter(|shadow| shadow.differs.is_some()).collect(),
        origin: record.origin.as_deref()?,
        record: named,
    })
}

/// One sentence: what, about whom, where, and why it is here.
pub(super) fn summary(alert: &Alert<'_>, decision: &Decision<'_>) -> String {
    let text = |field: Field| alert.text(field).unwrap_or("unknown");
    let what = match text(Field::Kind) {
        "exposed_key" => format!("{} exposed", text(Field::CredentialType)),
        "auth_failure" => format!("failed authentication ({})", text(Field::EventReason)),
        "token_misuse" => format!("possible token misuse ({})", text(Field::EventType)),
        other => other.to_owned(),
    };
    let place = match (alert.text(Field::Repository), alert.get(Field::SourceIp)) {
        (Some(repository), _) => format!(" in {repository}"),
        (None, Value::Text(ip)) => format!(" from {ip}"),
        _ => String::new(),
    };
    let (who, from) = (text(Field::NhiId), text(Field::Detector));
    format!("{what}{place}: {who}, reported by {from}; {}", decision.reason.about())
}
