use std::borrow::Cow;
use std::net::IpAddr;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::ocsf::{
    Account, Actor, Analytic, Api, Attack, CATEGORY_UID, CLASS_UID, Credential, Data,
    DetectionFinding, Endpoint, Enrichment, Entity, Enum, Evidence, File, FindingInfo, HttpRequest,
    Location, Metadata, Named, Observable, PROFILES, Product, Resource, Tag, Unmapped, User,
    VERSION,
};
use super::outputs::{self, summary};
use super::{Appended, Record};
use crate::case::{
    ATTACK_VERSION, Alert, Decision, FIELDS, Field, Millis, Priority, Reason, Ruling, Why,
    owasp_nhi_name, technique,
};

/// What a record of an alert says as an OCSF Detection Finding. Nothing is guessed: a severity that
/// the detector did not name is unknown, and priority is not severity.
///
/// Errors: nothing for records about no alert, dead letters included.
pub(super) fn detection_finding<'r>(
    record: &'r Record<'_>,
    appended: Appended,
) -> Option<DetectionFinding<'r>> {
    let decision = record.ruling.as_deref()?;
    let alert = record.alert.as_deref()?;
    let (activity_id, activity_name) = activity(record);
    let (severity_id, severity) = severity(alert);
    let (status_id, status) = status(&decision.fate)?;
    let priority = decision.fate.priority().map(priority);
    let occurred_at = alert.get(Field::OccurredAt).time().map(|time| time.0);
    Some(DetectionFinding {
        activity_id,
        activity_name,
        category_uid: CATEGORY_UID,
        category_name: "Findings",
        class_uid: CLASS_UID,
        class_name: "Detection Finding",
        type_uid: CLASS_UID * 100 + activity_id,
        type_name: format!("Detection Finding: {activity_name}"),
        time: received_at(record, alert),
        start_time: occurred_at,
        end_time: occurred_at,
        severity_id,
        severity,
        status_id,
        status,
        status_code: decision.reason.code(),
        status_detail: decision.reason.about(),
        is_alert: decision.reason != Reason::NotAnAlert,
        message: summary(alert, decision),
        priority_id: priority.map(|(id, _)| id),
        priority: priority.map(|(_, name)| name),
        assignee_group: decision.fate.queue().map(|name| Named { name }),
        finding_info: finding_info(record, decision, alert)?,
        resources: resources(alert),
        evidences: [evidence(alert)],
        enrichments: record.facts.iter().filter_map(|fact| enrichment(fact.0, alert)).collect(),
        observables: observables(alert),
        metadata: metadata(record, appended, alert)?,
        unmapped: Unmapped {
            record: outputs::Named::of(record, appended),
            case_id: record.counters.as_ref().map(|counters| &counters.case_id),
            count: record.counters.as_ref().map(|counters| counters.seen),
            pipeline: record.pipeline.as_deref(),
            playbook: &decision.playbook,
            rule: &decision.rule,
            fate: &decision.fate,
        },
    })
}

/// Every alert is a finding of its own; only a later revision of its ruling updates it.
fn activity(record: &Record<'_>) -> Enum {
    if record.revision.is_some() { (2, "Update") } else { (1, "Create") }
}

fn severity(alert: &Alert<'_>) -> Enum {
    match alert.text(Field::Severity) {
        Some("informational") => (1, "Informational"),
        Some("low") => (2, "Low"),
        Some("medium") => (3, "Medium"),
        Some("high") => (4, "High"),
        Some("critical") => (5, "Critical"),
        _ => (0, "Unknown"),
    }
}

fn status(fate: &Ruling<'_>) -> Option<Enum> {
    match fate {
        Ruling::Route(_) | Ruling::Hold(_) => Some((1, "New")),
        Ruling::Escalate(_) => Some((2, "In Progress")),
        Ruling::Suppress(_) => Some((3, "Suppressed")),
        Ruling::DeadLetter(_) => None,
    }
}

fn priority(priority: Priority) -> Enum {
    match priority {
        Priority::Low => (1, "Low"),
        Priority::Medium => (2, "Medium"),
        Priority::High => (3, "High"),
        Priority::Critical => (4, "Critical"),
    }
}

fn received_at(record: &Record<'_>, alert: &Alert<'_>) -> i64 {
    alert.get(Field::ReceivedAt).time().unwrap_or(record.at).0
}

fn finding_info<'r>(
    record: &'r Record<'_>,
    decision: &'r Decision<'_>,
    alert: &'r Alert<'_>,
) -> Option<FindingInfo<'r>> {
    let kind = alert.text(Field::Kind).unwrap_or("unknown");
    let pipeline = record.pipeline.as_deref();
    let analytic = alert.text(Field::EventType).or(pipeline).unwrap_or(kind);
    // Nothing is seen when a ruling is made again.
    let first = record.revision.is_none().then_some(record.at.0);
    let told = record.told.as_ref().map(|told| told.last_seen.0);
    Some(FindingInfo {
        uid: record.alert_id.as_deref()?,
        title: alert.text(Field::Title).unwrap_or(kind),
        types: vec![kind],
        created_time: first,
        modified_time: first.is_none().then_some(record.at.0),
        first_seen_time: record.counters.as_ref().map_or(record.at, |seen| seen.first_seen).0,
        last_seen_time: first.or(told).unwrap_or_else(|| received_at(record, alert)),
        // A detector does not say what kind of analytic its rule is.
        analytic: Analytic {
            name: analytic,
            uid: Cow::Borrowed(analytic),
            type_id: 0,
            r#type: "Unknown",
            version: None,
        },
        related_analytics: [Analytic {
            name: &decision.rule,
            uid: Cow::Owned(format!("{}/{}", decision.playbook, decision.rule)),
            type_id: 1,
            r#type: "Rule",
            version: record.policy.as_ref().map(|policy| &*policy.hash),
        }],
        attacks: alert.text(Field::AttackTechnique).map(|id| [attack(id)]),
        data_sources: [record.origin.as_deref().map(|origin| &*origin.topic)?],
        product: alert.text(Field::Detector).map(|name| Named { name }),
        src_url: alert.text(Field::Url),
        tags: alert.text(Field::OwaspNhi).map_or_else(Vec::new, owasp_nhi),
    })
}

fn attack(id: &str) -> Attack<'_> {
    let entity = |uid| Entity { uid, name: technique(uid).map(|known| known.name) };
    let (family, is_sub) = id.split_once('.').map_or((id, false), |(family, _)| (family, true));
    let tactic = technique(id).and_then(|known| known.tactic());
    Attack {
        tactic: tactic.map(|(uid, name)| Entity { uid, name: Some(name) }),
        technique: entity(family),
        sub_technique: is_sub.then(|| entity(id)),
        version: ATTACK_VERSION,
    }
}

fn owasp_nhi(id: &str) -> Vec<Tag<'_>> {
    let name = owasp_nhi_name(id).map(|value| Tag { name: "owasp_nhi_name", value });
    [Some(Tag { name: "owasp_nhi", value: id }), name].into_iter().flatten().collect()
}

/// The identity first: it acted, or its key lies open.
fn resources<'r>(alert: &'r Alert<'_>) -> Vec<Resource<'r>> {
    let one = |uid, name: Option<&'r str>, of: Option<&'r str>, (role_id, role): Enum| Resource {
        uid,
        name,
        r#type: of,
        role_id,
        role,
    };
    let role = if is_exposure(alert) { (3, "Affected") } else { (2, "Actor") };
    let (name, kind) = (alert.text(Field::NhiName), alert.text(Field::NhiKind));
    let nhi = alert.text(Field::NhiId).map(|id| one(id, name, kind, role));
    let kind = alert.text(Field::ResourceType);
    let touched = alert.text(Field::ResourceId).map(|id| one(id, None, kind, (1, "Target")));
    let repository = alert.text(Field::Repository);
    let place = repository.map(|id| one(id, Some(id), Some("repository"), (4, "Related")));
    [nhi, touched, place].into_iter().flatten().collect()
}

/// Whether nobody is known to have acted yet.
fn is_exposure(alert: &Alert<'_>) -> bool {
    alert.text(Field::Kind) == Some("exposed_key")
}

fn evidence<'r>(alert: &'r Alert<'_>) -> Evidence<'r> {
    let (actor, user) = if is_exposure(alert) {
        (None, user(alert))
    } else {
        (user(alert).map(|user| Actor { user }), None)
    };
    Evidence {
        actor,
        user,
        api: alert.text(Field::EventAction).map(|operation| Api { operation }),
        src_endpoint: source_ip(alert).map(|ip| Endpoint {
            ip,
            location: country(alert).map(|country| Location { country }),
            autonomous_system: alert.text(Field::SourceNetwork).map(|name| Named { name }),
        }),
        http_request: alert
            .text(Field::SourceUserAgent)
            .map(|user_agent| HttpRequest { user_agent }),
        file: alert.text(Field::File).and_then(file),
        data: alert,
    }
}

fn user<'r>(alert: &'r Alert<'_>) -> Option<User<'r>> {
    let kind = alert.text(Field::NhiKind).unwrap_or("unknown");
    let (type_id, r#type) = match kind {
        "person" => (1, "User"),
        "service_account" | "managed_identity" => (4, "Service"),
        "unknown" => (0, "Unknown"),
        other => (99, other),
    };
    Some(User {
        uid: alert.text(Field::NhiId)?,
        name: alert.text(Field::NhiName),
        type_id,
        r#type,
        account: alert.text(Field::NhiAccount).map(|uid| Account { uid }),
        programmatic_credentials: credential(alert)
            .map(|uid| [Credential { uid, r#type: alert.text(Field::CredentialType) }]),
    })
}

/// Its public id, else the keyed fingerprint of the secret.
fn credential<'r>(alert: &'r Alert<'_>) -> Option<&'r str> {
    alert.text(Field::CredentialId).or_else(|| alert.text(Field::CredentialFingerprint))
}

/// Only addresses: an `ip_t` of OCSF is nothing else.
fn source_ip<'r>(alert: &'r Alert<'_>) -> Option<&'r str> {
    alert.text(Field::SourceIp).filter(|ip| ip.parse::<IpAddr>().is_ok())
}

/// Only ISO 3166-1 alpha-2.
fn country<'r>(alert: &'r Alert<'_>) -> Option<&'r str> {
    let is_code = |text: &&str| text.len() == 2 && text.bytes().all(|b| b.is_ascii_uppercase());
    alert.text(Field::SourceCountry).filter(is_code)
}

fn file(path: &str) -> Option<File<'_>> {
    let name = path.rsplit('/').next().filter(|name| !name.is_empty())?;
    Some(File { name, path, type_id: 1, r#type: "Regular File" })
}

fn observables<'r>(alert: &'r Alert<'_>) -> Vec<Observable<'r>> {
    let one = |name, (type_id, r#type): Enum, value: Option<&'r str>| {
        value.map(|value| Observable { name, type_id, r#type, value })
    };
    let credential_place = if is_exposure(alert) {
        "evidences[0].user.programmatic_credentials[0].uid"
    } else {
        "evidences[0].actor.user.programmatic_credentials[0].uid"
    };
    let credential = alert.text(Field::NhiId).and_then(|_| credential(alert));
    let file = alert.text(Field::File).and_then(file).map(|file| file.path);
    [
        one("resources[0].uid", (10, "Resource UID"), alert.text(Field::NhiId)),
        one(credential_place, (19, "User Credential ID"), credential),
        one("evidences[0].src_endpoint.ip", (2, "IP Address"), source_ip(alert)),
        one("evidences[0].file.path", (45, "File Path"), file),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// A fact as records hold it.
#[derive(Deserialize)]
struct Fact<'r> {
    #[serde(borrow)]
    enricher: Cow<'r, str>,
    #[serde(borrow)]
    source: Cow<'r, str>,
    #[serde(borrow)]
    key: Cow<'r, str>,
    #[serde(default)]
    as_of: Option<Millis>,
    #[serde(borrow)]
    state: Cow<'r, str>,
    #[serde(default)]
    why: Option<Why>,
    #[serde(borrow, default)]
    values: Option<&'r RawValue>,
}

fn enrichment<'r>(row: &'r RawValue, alert: &Alert<'_>) -> Option<Enrichment<'r>> {
    let fact: Fact<'r> = serde_json::from_str(row.get()).ok()?;
    let short_desc = match fact.why {
        Some(why) => Cow::Owned(format!("unknown: {}", why.about())),
        None if fact.values.is_some() => Cow::Borrowed("the source has an entry"),
        None => Cow::Borrowed("the source was asked and has no entry"),
    };
    let asked_by = FIELDS.iter().find(|info| alert.text(info.field) == Some(&*fact.key));
    Some(Enrichment {
        name: asked_by.map_or_else(
            || fact.enricher.clone().into_owned(),
            |info| format!("evidences[0].data.{}", info.path),
        ),
        value: fact.key,
        r#type: fact.enricher,
        provider: fact.source,
        short_desc,
        created_time: fact.as_of.map(|time| time.0),
        data: Data { state: fact.state, why: fact.why, values: fact.values },
    })
}

fn metadata<'r>(
    record: &'r Record<'_>,
    appended: Appended,
    alert: &'r Alert<'_>,
) -> Option<Metadata<'r>> {
    let detector = alert.text(Field::Detector);
    Some(Metadata {
        version: VERSION,
        profiles: PROFILES,
        product: Product {
            name: "Tipstaff",
            vendor_name: "Tipstaff",
            version: &record.engine.version,
        },
        uid: appended.hash,
        correlation_uid: record.correlation_id.as_deref(),
        log_name: record.origin.as_deref().map(|origin| &*origin.topic)?,
        log_provider: detector,
        reporter: detector.map(|name| Named { name }),
        original_event_uid: alert.text(Field::NativeId),
        original_time: alert.get(Field::OccurredAt).time().map(|time| time.to_string()),
        logged_time: received_at(record, alert),
        processed_time: record.at.0,
    })
}
