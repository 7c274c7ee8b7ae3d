use std::collections::BTreeMap;

use super::change::{Change, changes};
use crate::case::{Alert, Decision, Field, Millis, Ruling, duration_text};

/// What two policies rule about the same alerts.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Report {
    /// Alerts ruled under both.
    pub alerts: u64,
    /// Those that nothing could be read of: no policy rules them.
    pub unreadable: u64,
    /// Rulings made again on later facts; they count as the end of their alerts' stories.
    pub revisions: u64,
    /// Alerts whose ruling failed inside the program: a defect to report.
    pub failed: u64,
    /// Alerts of which a record can't be read whole: left out, and perhaps tampered with.
    pub unread: u64,
    /// Alerts that were ruled by neither of the two policies.
    pub foreign: u64,
    /// Alerts that one side has and the other does not; with native events alone.
    pub unpaired: u64,
    /// When the first and the last were ruled.
    pub from: Option<Millis>,
    pub to: Option<Millis>,
    /// Alerts whose fate is another one.
    pub changed: u64,
    /// Alerts whose fate is the same and comes from another playbook, rule or reason.
    pub other_rule: u64,
    /// Alerts whose playbook groups them otherwise than their counters were counted.
    pub regrouped: [u64; 2],
    pub rested: [Rested; 2],
    /// Alerts of each change. One alert can stand under several.
    pub counts: BTreeMap<Change, u64>,
    pub groups: BTreeMap<(Change, Told, Told), Group>,
}

/// Rulings that rest on facts which were not recorded.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Rested {
    pub rulings: u64,
    /// Or by window.
    pub by_enricher: BTreeMap<String, u64>,
}

/// A ruling in a line, and the rule responsible.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Told {
    pub ruling: String,
    pub playbook: String,
    pub rule: String,
    pub reason: &'static str,
}

#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Group {
    pub count: u64,
    pub examples: Vec<Example>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Example {
    pub alert_id: String,
    pub nhi: String,
    pub detector: String,
    pub ruled_at: Millis,
}

/// What an example is told of.
#[derive(Debug, Clone, Copy)]
pub struct About<'a, 'r> {
    pub alert_id: &'a str,
    pub alert: &'a Alert<'r>,
    pub now: Millis,
    /// Whether it is a later ruling on one of the two sides.
    pub is_revised: bool,
}

/// LIMIT: kept of each group; who wants fewer shows fewer.
const EXAMPLES_MAX: usize = 20;

impl Report {
    /// One alert under both policies.
    pub fn add(&mut self, old: &Decision<'_>, new: &Decision<'_>, about: &About<'_, '_>) {
        self.alerts += 1;
        self.seen(about.now);
        let changes = changes(old, new);
        if changes.is_empty() {
            let is_same =
                (old.reason, &old.playbook, &old.rule) == (new.reason, &new.playbook, &new.rule);
            self.other_rule += u64::from(!is_same);
            return;
        }
        self.changed += 1;
        let received_at = about.alert.get(Field::ReceivedAt).time().unwrap_or(about.now);
        for change in changes {
            *self.counts.entry(change).or_default() += 1;
            // Of a later ruling they begin whenever it was made: each alert would be a group.
            let is_moved = change == Change::OtherDeadline && about.is_revised;
            let received_at = Some(received_at).filter(|_| !is_moved);
            let told = |decision| Told::new(decision, change, received_at);
            let (old_told, mut new_told) = (told(old), told(new));
            if is_moved {
                new_told.ruling.push_str(moved(&old.fate, &new.fate));
            }
            let group = self.groups.entry((change, old_told, new_told)).or_default();
            group.count += 1;
            if group.examples.len() < EXAMPLES_MAX {
                group.examples.push(Example::new(about));
            }
        }
    }

    pub fn seen(&mut self, now: Millis) {
        self.from = Some(self.from.map_or(now, |from| from.min(now)));
        self.to = Some(self.to.map_or(now, |to| to.max(now)));
    }

    pub fn count(&self, change: Change) -> u64 {
        self.counts.get(&change).copied().unwrap_or(0)
    }

    /// Adds what was found in the records behind these.
    pub fn merge(&mut self, more: Self) {
        self.alerts += more.alerts;
        self.unreadable += more.unreadable;
        self.revisions += more.revisions;
        self.failed += more.failed;
        self.unread += more.unread;
        self.foreign += more.foreign;
        self.unpaired += more.unpaired;
        self.changed += more.changed;
        self.other_rule += more.other_rule;
        more.from.into_iter().chain(more.to).for_each(|at| self.seen(at));
        for (count, more) in self.regrouped.iter_mut().zip(more.regrouped) {
            *count += more;
        }
        for (rested, more) in self.rested.iter_mut().zip(more.rested) {
            rested.rulings += more.rulings;
            for (enricher, count) in more.by_enricher {
                *rested.by_enricher.entry(enricher).or_default() += count;
            }
        }
        for (change, count) in more.counts {
            *self.counts.entry(change).or_default() += count;
        }
        for (key, more) in more.groups {
            let group = self.groups.entry(key).or_default();
            group.count += more.count;
            let room = EXAMPLES_MAX.saturating_sub(group.examples.len());
            group.examples.extend(more.examples.into_iter().take(room));
        }
    }

    /// The groups of one change, the largest first.
    pub fn groups_of(&self, change: Change) -> Vec<(&Told, &Told, &Group)> {
        let groups = self.groups.iter().filter(|((of, ..), _)| *of == change);
        let mut groups: Vec<_> = groups.map(|((_, old, new), group)| (old, new, group)).collect();
        groups.sort_by_key(|(.., group)| std::cmp::Reverse(group.count));
        groups
    }
}

impl Told {
    /// Its times count from `received_at`, or are not told.
    fn new(decision: &Decision<'_>, change: Change, received_at: Option<Millis>) -> Self {
        // Times are told where they are what differs: otherwise they would only tell groups apart.
        let is_deadline = change == Change::OtherDeadline;
        let with_times =
            is_deadline || matches!(change, Change::OtherSuppression | Change::OtherContainment);
        let received_at = received_at.filter(|_| with_times);
        let time = |what: &str, at: Option<Millis>| match at.zip(received_at) {
            Some((at, received_at)) => {
                format!(", {what} {}", duration_text(at.since(received_at)))
            }
            None => String::new(),
        };
        let people = |queue: &str, priority: &str| format!("{queue} ({priority})");
        let ruling = match &decision.fate {
            Ruling::Route(route) => {
                let to = people(&route.queue, route.priority.name());
                format!("route {to}{}", time("within", route.ack_by))
            }
            Ruling::Hold(hold) => {
                let to = people(&hold.queue, hold.priority.name());
                format!("hold {to}{}", time("for", Some(hold.until)))
            }
            Ruling::Suppress(suppress) => {
                let ends = time("for", Some(suppress.expires_at));
                format!("suppress {}{ends}", decision.reason)
            }
            Ruling::Escalate(escalate) => {
                let to = people(&escalate.queue, escalate.priority.name());
                let within = time("within", escalate.ack_by.filter(|_| is_deadline));
                let ends = time("for", Some(escalate.expires_at));
                format!("escalate {}, {to}{within}{ends}", escalate.action)
            }
            Ruling::DeadLetter(letter) => format!("dead letter {}", letter.reason),
        };
        Self {
            ruling,
            playbook: decision.playbook.to_string(),
            rule: decision.rule.to_string(),
            reason: decision.reason.code(),
        }
    }
}

fn moved(old: &Ruling<'_>, new: &Ruling<'_>) -> &'static str {
    match (due(old), due(new)) {
        (Some(old), Some(new)) if new < old => ", sooner",
        (None, Some(_)) => ", sooner",
        _ => ", later",
    }
}

fn due(fate: &Ruling<'_>) -> Option<Millis> {
    match fate {
        Ruling::Route(route) => route.ack_by,
        Ruling::Hold(hold) => Some(hold.until),
        Ruling::Escalate(escalate) => escalate.ack_by,
        Ruling::Suppress(_) | Ruling::DeadLetter(_) => None,
    }
}

impl Example {
    fn new(about: &About<'_, '_>) -> Self {
        let text = |field| about.alert.text(field).unwrap_or("-").to_owned();
        Self {
            alert_id: about.alert_id.to_owned(),
            nhi: text(Field::NhiId),
            detector: text(Field::Detector),
            ruled_at: about.now,
        }
    }
}
