use serde_json::{Value, json};

use super::Page;
use super::sides::Side;
use crate::replay::{CHANGES, Change, Rested, Told};

/// One object.
pub(super) fn page(page: &Page<'_>) -> String {
    let report = page.report;
    let counts = CHANGES.iter().map(|change| (change.code().to_owned(), report.count(*change)));
    let counts: serde_json::Map<String, Value> =
        counts.map(|(code, count)| (code, count.into())).collect();
    let changes = CHANGES.iter().flat_map(|change| groups(page, *change));
    let budget = page.budget.lines(report).into_iter().map(|line| {
        json!({"what": line.code, "found": line.found, "max": line.max, "kept": line.is_kept()})
    });
    json!({
        "diff": 1,
        "old": side(&page.sides.old),
        "new": side(&page.sides.new),
        "from": page.from,
        "alerts": report.alerts,
        "ruled_from": report.from,
        "ruled_to": report.to,
        "changed": report.changed,
        "counts": counts,
        "changes": changes.collect::<Vec<_>>(),
        "other_rule": report.other_rule,
        "unreadable": report.unreadable,
        "revisions": report.revisions,
        "unpaired": report.unpaired,
        "foreign": report.foreign,
        "failed": report.failed,
        "unread": report.unread,
        "unrecorded": by_side(report.rested.each_ref().map(rested)),
        "regrouped": by_side(report.regrouped.map(Value::from)),
        "other_files": page.sides.other_files,
        "budget": budget.collect::<Vec<_>>(),
    })
    .to_string()
}

fn by_side([old, new]: [Value; 2]) -> Value {
    json!({"old": old, "new": new})
}

fn side(side: &Side) -> Value {
    json!({"name": side.name, "policy": side.policy.hash})
}

fn rested(rested: &Rested) -> Value {
    json!({"rulings": rested.rulings, "by_enricher": rested.by_enricher})
}

fn groups(page: &Page<'_>, change: Change) -> Vec<Value> {
    let groups = page.report.groups_of(change).into_iter().map(|(old, new, group)| {
        let examples = group.examples.iter().take(page.examples).map(|example| {
            json!({
                "alert_id": example.alert_id, "nhi": example.nhi,
                "detector": example.detector, "ruled_at": example.ruled_at,
            })
        });
        json!({
            "change": change.code(), "count": group.count,
            "old": told(old), "new": told(new), "examples": examples.collect::<Vec<_>>(),
        })
    });
    groups.collect()
}

fn told(told: &Told) -> Value {
    json!({
        "ruling": told.ruling, "playbook": told.playbook,
        "rule": told.rule, "reason": told.reason,
    })
}
