use std::collections::BTreeMap;

use crate::text::{Fields, Node, Problems};

use super::hours::{Hours, hours};
use super::read::{one_or_more, require_name};

/// What containment has to see to before it acts. Triage can hold none of it: it looks at one alert
/// at a time and acts on nothing, so it writes them into the permit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Obligations {
    /// By role: how many of it must approve.
    pub approvals: BTreeMap<String, i64>,
    pub per_hour: Option<i64>,
    pub per_owner: Option<i64>,
    /// Of all NHIs that are known.
    pub share_percent: Option<i64>,
    /// All of them must hold.
    pub hours: Vec<Hours>,
    pub change_ticket: bool,
}

impl Obligations {
    /// Both at once: the strictest of each.
    #[must_use]
    pub fn and(mut self, other: &Self) -> Self {
        for (role, count) in &other.approvals {
            let needed = self.approvals.entry(role.clone()).or_default();
            *needed = (*needed).max(*count);
        }
        let least = |one: Option<i64>, other: Option<i64>| one.into_iter().chain(other).min();
        self.per_hour = least(self.per_hour, other.per_hour);
        self.per_owner = least(self.per_owner, other.per_owner);
        self.share_percent = least(self.share_percent, other.share_percent);
        for hours in &other.hours {
            if !self.hours.contains(hours) {
                self.hours.push(hours.clone());
            }
        }
        self.change_ticket |= other.change_ticket;
        self
    }

    /// Kind and value, as they travel in a permit.
    pub fn listed(&self) -> Vec<(&'static str, String)> {
        let approvals =
            self.approvals.iter().map(|(role, count)| ("approvals", format!("{count} {role}")));
        let mut listed: Vec<(&'static str, String)> = approvals.collect();
        for (kind, limit) in [
            ("per_hour", self.per_hour),
            ("per_owner", self.per_owner),
            ("share_percent", self.share_percent),
        ] {
            listed.extend(limit.map(|limit| (kind, limit.to_string())));
        }
        listed.extend(self.hours.iter().map(|hours| ("hours", hours.text.clone())));
        if self.change_ticket {
            listed.push(("change_ticket", "required".to_owned()));
        }
        listed
    }
}

pub(super) fn obligations(node: &Node, problems: &mut Problems) -> Obligations {
    let mut found = Obligations::default();
    let Some(mut fields) = Fields::of(node, "`obligations`", problems) else { return found };
    if let Some(node) = fields.get("approvals") {
        found.approvals = approvals(node, problems);
    }
    let mut limit = |key| {
        let limit = fields.int(key, problems);
        if limit.is_some_and(|limit| limit < 0 || (key == "share_percent" && limit > 100)) {
            problems.add(&fields.at, format!("`{key}` is out of range"));
        }
        limit
    };
    found.per_hour = limit("per_hour");
    found.per_owner = limit("per_owner");
    found.share_percent = limit("share_percent");
    found.hours = fields.get("hours").map(|node| hours(node, problems)).unwrap_or_default();
    found.change_ticket = fields.bool("change_ticket", problems).unwrap_or(false);
    fields.finish(problems);
    found
}

/// One role and how many of it, or a list: all of them must approve.
fn approvals(node: &Node, problems: &mut Problems) -> BTreeMap<String, i64> {
    let mut found = BTreeMap::new();
    for item in one_or_more(node, "`approvals`", problems) {
        let Some(mut fields) = Fields::of(item, "`approvals`", problems) else { continue };
        let role = require_name(&mut fields, "role", problems);
        fields.require("count", problems);
        let count = fields.int("count", problems).filter(|count| *count > 0);
        if count.is_none() {
            problems.add(&fields.at, "`count` must be a whole number above zero");
        }
        fields.finish(problems);
        let Some((role, count)) = role.zip(count) else { continue };
        if found.insert(role, count).is_some() {
            problems.add(&item.at, "this role is there already");
        }
    }
    found
}
