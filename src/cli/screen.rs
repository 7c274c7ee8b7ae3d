#![expect(clippy::indexing_slicing, reason = "a JSON value that is not there reads as null")]

use serde::Deserialize;
use serde_json::Value;

use super::lines::shown;
use crate::case::{
    Again, CacheState, Change, FIELDS, Millis, Why, duration_text, owasp_nhi_name, technique,
};

const WIDTH: usize = 100;
const NAME_WIDTH: usize = 16;

/// Of the terminal, if there is one and it is not too wide to read.
pub(super) fn terminal_width() -> usize {
    let found = super::is_terminal().then(terminal_size::terminal_size).flatten();
    found.map_or(WIDTH, |(width, _)| usize::from(width.0)).clamp(60, 140)
}

/// One case as an analyst wants to read it: what and why first, then who, then every fact with its
/// source and age, unknowns in plain words.
pub(super) fn case_text(case: &Value, now: Millis) -> String {
    let mut page = Page { lines: Vec::new() };
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    page.rule(&format!("case {}", text(&case["case_id"])));
    page.wrap(&text(&case["summary"]));
    page.blank();
    let [priority, queue, state] = ["priority", "queue", "state"].map(|name| text(&case[name]));
    page.pair("priority", &format!("{priority}, queue {queue}, {state}"));
    for (name, key) in [("acknowledge by", "ack_by"), ("held until", "held_until")] {
        page.pair_if(name, &case[key]);
    }
    page.pair(
        "seen",
        &format!(
            "{} time(s), first {}, last {}",
            case["count"],
            text(&case["first_seen"]),
            text(&case["last_seen"])
        ),
    );
    page.spread(case);
    // Of a case that began without a ruling nothing of this is there.
    if case["playbook"].is_string() {
        let [playbook, rule, reason] = ["playbook", "rule", "reason"].map(|name| text(&case[name]));
        page.pair("ruled by", &format!("playbook {playbook}, rule {rule} ({reason})"));
    }
    if let Ok(why) = Again::deserialize(&case["revised"]["why"]) {
        page.pair("ruled again", &format!("{} time(s): {}", case["revision"], why.about()));
    }
    page.worked(&case["worked"]);
    page.verified(&case["order"], now);
    page.label("technique", &case["alert"]["attack_technique"], technique_name);
    page.label("nhi top 10", &case["alert"]["owasp_nhi"], owasp_nhi_name);
    page.because(case);
    page.containment(case);
    page.shadow(case);
    for group in ["nhi", "credential"] {
        page.group(group, &case["alert"][group]);
    }
    page.repair(case);
    page.facts("facts", &case["facts"], now);
    for group in ["location", "event", "source", "resource"] {
        page.group(group, &case["alert"][group]);
    }
    page.heading("record");
    let record = &case["record"];
    page.pair("chain", &text(&record["chain"]));
    page.pair("number, hash", &format!("{}, {}", record["seq"], text(&record["hash"])));
    page.origin(&case["origin"]);
    page.lines.join("\n")
}

struct Page {
    lines: Vec<String>,
}

impl Page {
    fn blank(&mut self) {
        self.lines.push(String::new());
    }

    fn rule(&mut self, title: &str) {
        let dashes = "─".repeat(WIDTH.saturating_sub(title.len() + 4));
        self.lines.push(format!("── {title} {dashes}"));
    }

    fn heading(&mut self, title: &str) {
        self.blank();
        self.lines.push(title.to_uppercase());
    }

    /// A name and its value; a long value goes on below itself, cut nowhere.
    fn pair(&mut self, name: &str, value: &str) {
        let mut name = name;
        for line in wrapped(value, WIDTH - NAME_WIDTH - 2) {
            self.lines.push(format!("  {name:<NAME_WIDTH$}{line}"));
            name = "";
        }
    }

    fn pair_if(&mut self, name: &str, value: &Value) {
        if let Some(text) = value.as_str() {
            self.pair(name, text);
        }
    }

    /// What makes it more than one alert.
    fn spread(&mut self, case: &Value) {
        for name in ["detectors", "repositories", "sources"] {
            let (spread, count) = (&case[name], case[name]["count"].as_u64().unwrap_or(0));
            let names = spread["some"].as_array().into_iter().flatten().filter_map(Value::as_str);
            let names: Vec<&str> = names.collect();
            if count > 1 {
                let more = if spread["is_more"] == true { " or more" } else { "" };
                self.pair(name, &format!("{count}{more}: {}", names.join(", ")));
            }
        }
        let related: Vec<String> =
            case["related_cases"].as_array().into_iter().flatten().map(plain).collect();
        if !related.is_empty() {
            self.pair("related", &related.join(", "));
        }
        let changed: Vec<&str> = case["changed"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|change| Change::deserialize(change).ok())
            .map(Change::about)
            .collect();
        if case["case_revision"].as_u64() > Some(1) {
            let told = format!("told {} times, now because", case["case_revision"]);
            self.pair("news", &format!("{told} {}", changed.join("; ")));
        }
    }

    /// What people have done to it.
    fn worked(&mut self, worked: &Value) {
        let act = |act: &Value| {
            let (by, at, order) = (plain(&act["by"]), plain(&act["at"]), plain(&act["order"]));
            let (via, mut through) = (&act["via"], String::new());
            if via.is_object() {
                let (sink, user) = (plain(&via["sink"]), plain(&via["user"]));
                through = format!(" through sink {sink}, there {user}");
            }
            format!("by {by}{through}, {at} (order {order})")
        };
        if worked["acked"].is_object() {
            self.pair("acknowledged", &act(&worked["acked"]));
        }
        self.pair_if("assigned to", &worked["assignee"]);
        let parts = [("risk closed", "risk_closed"), ("finding closed", "finding_closed")];
        for (name, part) in parts.into_iter().filter(|(_, part)| worked[*part].is_object()) {
            let closed = &worked[part];
            let of = closed["of"].as_str().map_or_else(String::new, |of| format!(" of case {of}"));
            let (verdict, reason) = (plain(&closed["verdict"]), plain(&closed["reason"]));
            self.pair(name, &format!("{verdict}{of} ({reason}), {}", act(&closed["act"])));
        }
        let excepted = &worked["excepted"];
        if excepted.is_object() {
            let approvers = excepted["approvers"].as_array().into_iter().flatten().map(plain);
            let approvers: Vec<String> = approvers.collect();
            let approved = match approvers.is_empty() {
                true => "an emergency, approved by nobody".to_owned(),
                false => format!("approved by {}", approvers.join(", ")),
            };
            let until = plain(&excepted["ends_at"]);
            let asked = act(&excepted["act"]);
            self.pair("risk accepted", &format!("until {until}, {asked}; {approved}"));
        }
        if let Some(count) = worked["reopened"].as_u64() {
            self.pair("reopened", &format!("{count} time(s)"));
        }
    }

    /// What was looked up when they closed it.
    fn verified(&mut self, order: &Value, now: Millis) {
        let verified = order["verified"].as_array().map_or(&[][..], Vec::as_slice);
        for each in verified {
            self.heading(&format!("closed on: {}", plain(&each["requirement"])));
            self.clauses(&each["because"]);
        }
        self.facts("looked up for that", &order["facts"], now);
    }

    fn origin(&mut self, origin: &Value) {
        if origin.is_object() {
            let (topic, partition, offset) =
                (plain(&origin["topic"]), &origin["partition"], &origin["offset"]);
            let (alert, of) = (origin["index"].as_u64().unwrap_or(0) + 1, &origin["of"]);
            let alert = format!("alert {alert} of {of}");
            self.pair("origin", &format!("{topic}/{partition} offset {offset}, {alert}"));
        }
    }

    fn label(&mut self, name: &str, id: &Value, known: fn(&str) -> Option<&'static str>) {
        if let Some(id) = id.as_str() {
            self.pair(name, &known(id).map_or(id.to_owned(), |known| format!("{id} {known}")));
        }
    }

    fn wrap(&mut self, text: &str) {
        self.lines.extend(wrapped(text, WIDTH));
    }

    fn because(&mut self, case: &Value) {
        if case["because"].as_array().is_some_and(|clauses| !clauses.is_empty()) {
            self.heading("because");
            self.clauses(&case["because"]);
        }
    }

    fn clauses(&mut self, clauses: &Value) {
        for clause in clauses.as_array().map_or(&[][..], Vec::as_slice) {
            let seen = clause["seen"].as_array().map_or(&[][..], Vec::as_slice);
            let seen: Vec<String> = seen
                .iter()
                .map(|seen| format!("{} = {}", plain(&seen["name"]), plain(&seen["value"])))
                .collect();
            self.pair(&plain(&clause["verdict"]), &plain(&clause["clause"]));
            if !seen.is_empty() {
                self.pair("", &format!("saw {}", seen.join(", ")));
            }
        }
    }

    fn containment(&mut self, case: &Value) {
        let escalation = &case["escalation"];
        if escalation.is_object() {
            self.heading("containment (permitted, not executed)");
            self.pair(
                "action",
                &format!("{} on {}", plain(&escalation["action"]), plain(&escalation["target"])),
            );
            self.pair(
                "undone by",
                &format!(
                    "{}, at the latest {}",
                    plain(&escalation["rollback"]),
                    plain(&escalation["expires_at"])
                ),
            );
            self.pair(
                "permit",
                &format!(
                    "{} by {}",
                    plain(&escalation["permit"]["id"]),
                    plain(&escalation["permit"]["allowed_by"])
                ),
            );
            for duty in
                escalation["permit"]["obligations"].as_array().map_or(&[][..], Vec::as_slice)
            {
                self.pair(
                    "must hold first",
                    &format!("{} {}", plain(&duty["kind"]), plain(&duty["value"])),
                );
            }
        }
        let blocked = case["blocked_actions"].as_array().map_or(&[][..], Vec::as_slice);
        if !blocked.is_empty() {
            self.heading("blocked by the boundary");
        }
        for blocked in blocked {
            self.pair(
                &plain(&blocked["action"]),
                &format!("{} (rule {})", plain(&blocked["why"]), plain(&blocked["rule"])),
            );
        }
    }

    fn shadow(&mut self, case: &Value) {
        let shadows = case["shadow"].as_array().map_or(&[][..], Vec::as_slice);
        if !shadows.is_empty() {
            self.heading("would have been otherwise (in shadow, without effect)");
        }
        for shadow in shadows {
            let words = ["fate", "action", "queue", "priority"].map(|name| &shadow[name]);
            let words = words.into_iter().filter(|word| word.is_string()).map(plain);
            let said = words.collect::<Vec<_>>().join(", ");
            let (rule, reason) = (plain(&shadow["rule"]), plain(&shadow["reason"]));
            self.pair(&plain(&shadow["playbook"]), &format!("{said} (rule {rule}, {reason})"));
            let blocked = &shadow["blocked"];
            if blocked.is_object() {
                let words = ["action", "rule", "why"].map(|name| plain(&blocked[name]));
                let [action, rule, why] = words;
                self.pair("", &format!("not permitted: {action} (rule {rule}), {why}"));
            }
        }
    }

    fn group(&mut self, group: &str, values: &Value) {
        if !values.is_object() {
            return;
        }
        self.heading(if group == "nhi" { "identity" } else { group });
        for info in FIELDS.iter().filter(|info| info.group == group) {
            if let Some(value) = values.get(info.name) {
                self.pair(info.name, &plain(value));
            }
        }
    }

    fn facts(&mut self, title: &str, facts: &Value, now: Millis) {
        let facts = facts.as_array().map_or(&[][..], Vec::as_slice);
        if !facts.is_empty() {
            self.heading(title);
        }
        for fact in facts {
            let age = fact["as_of"].as_str().and_then(Millis::parse).map_or_else(
                || "age unknown".to_owned(),
                |as_of| format!("{} old", age_text(now.since(as_of))),
            );
            let state = match plain(&fact["state"]).as_str() {
                "known" => {
                    let values = fact["values"].as_object();
                    let values = values.into_iter().flatten();
                    let values = values.map(|(name, value)| match value.get("unknown") {
                        Some(why) => format!("{name} UNKNOWN: {}", why_text(why)),
                        None => format!("{name} {}", plain(value)),
                    });
                    values.collect::<Vec<_>>().join(", ")
                }
                "absent" => "the source was asked and has no entry".to_owned(),
                _ => format!("UNKNOWN: {}", why_text(&fact["why"])),
            };
            self.pair(&plain(&fact["enricher"]), &state);
            let cache = CacheState::deserialize(&fact["cache"]).map_or("", CacheState::about);
            self.pair("", &format!("from {}, {age}{cache}", plain(&fact["source"])));
            if let Some(detail) = fact["detail"].as_str() {
                self.pair("", detail);
            }
        }
    }

    fn repair(&mut self, case: &Value) {
        let repair = case["repair"].as_array().map_or(&[][..], Vec::as_slice);
        if !repair.is_empty() {
            self.heading("to repair");
        }
        for entry in repair {
            self.pair(&plain(&entry["enricher"]), &plain(&entry["what"]));
        }
    }
}

/// Lines of at most `width` characters, broken at spaces, and inside a word only when it is longer.
pub(super) fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in shown(text, usize::MAX).split(' ') {
        let mut rest: Vec<char> = word.chars().collect();
        while let Some(line) = lines.last_mut() {
            let used = line.chars().count();
            let gap = usize::from(used > 0);
            if used + gap + rest.len() <= width {
                line.push_str(if gap == 1 { " " } else { "" });
                line.extend(rest);
                break;
            }
            if used == 0 {
                let head: Vec<char> = rest.drain(..width.min(rest.len())).collect();
                line.extend(head);
            }
            lines.push(String::new());
        }
    }
    lines
}

fn technique_name(id: &str) -> Option<&'static str> {
    technique(id).map(|known| known.name)
}

fn why_text(why: &Value) -> &'static str {
    Why::deserialize(why).unwrap_or(Why::Error).about()
}

pub(super) fn age_text(age_ms: i64) -> String {
    let rounded = match age_ms {
        ..60_000 => age_ms.max(0) / 1000 * 1000,
        60_000..3_600_000 => age_ms / 60_000 * 60_000,
        3_600_000..172_800_000 => age_ms / 3_600_000 * 3_600_000,
        _ => age_ms / 86_400_000 * 86_400_000,
    };
    if rounded == 0 { "0s".to_owned() } else { duration_text(rounded) }
}

pub(super) fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "-".to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_case_has_not_is_not_shown() {
        let notice = serde_json::json!({
            "case_id": "c", "summary": "s", "priority": "low", "queue": "q", "state": "new",
            "count": 1, "first_seen": "f", "last_seen": "l",
            "record": {"chain": "x", "seq": 7, "hash": "h"},
        });
        let shown = case_text(&notice, Millis(0));
        assert!(shown.contains("number, hash    7, h"), "{shown}");
        let empty = ["ruled by", "origin", "null"].iter().find(|word| shown.contains(**word));
        assert_eq!(empty, None, "{shown}");
    }
}
