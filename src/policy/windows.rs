use sha2::{Digest, Sha256};

use crate::case::{
    Alert, Field, Id, IdOf, Look, Mark, Millis, Sighting, Spans, Tri, Value, WindowId, WindowValue,
    id_of,
};
use crate::clause::{Condition, Part, Schema, Scope, Slot, WindowShape};
use crate::text::{At, Fields, Node, Problems, Source};

use super::playbook::{Playbook, with_key};
use super::read::{alert_fields, duration, require_duration};

/// What a playbook counts over event time.
#[derive(Debug)]
pub struct Window {
    pub name: String,
    pub at: At,
    pub id: WindowId,
    pub(super) counts: Condition,
    by: Vec<Field>,
    distinct: Vec<Field>,
    pub(super) then: Vec<Then>,
    pub(super) spans: Spans,
}

/// What may come after something that was counted.
#[derive(Debug)]
pub(super) struct Then {
    pub name: String,
    pub at: At,
    pub when: Condition,
}

/// LIMIT: each is asked about every alert.
const WINDOWS_MAX: usize = 16;
/// LIMIT: fields whose values one window tells apart, and sequences of one window.
const PARTS_MAX: usize = 4;
const LATENESS_MS: i64 = 5 * 60_000;
const WITHIN_MAX_MS: i64 = 7 * 86_400_000;
const BASELINE_MAX_MS: i64 = 90 * 86_400_000;
/// A sequence within less could not be told by the steps that a window moves in.
const THEN_PARTS: i64 = 60;

impl Window {
    fn shape(&self) -> WindowShape {
        let fixed = [
            ("count", WindowValue::Count),
            ("first", WindowValue::First),
            ("last", WindowValue::Last),
        ];
        let mut provides: Vec<(String, WindowValue)> =
            fixed.map(|(name, of)| (name.to_owned(), of)).to_vec();
        for (place, field) in (0..).zip(&self.distinct) {
            let name = format!("distinct.{}", field.path().replace('.', "_"));
            provides.push((name, WindowValue::Distinct(place)));
        }
        for (place, then) in (0..).zip(&self.then) {
            provides.push((format!("then.{}", then.name), WindowValue::Then(place)));
        }
        if self.spans.baseline_ms.is_some() {
            let past = [("baseline", WindowValue::Baseline), ("rate", WindowValue::Rate)];
            provides.extend(past.map(|(name, of)| (name.to_owned(), of)));
        }
        WindowShape { name: self.name.as_str().into(), id: self.id, provides }
    }

    /// INVARIANT (INV-11): nothing when a key is missing.
    fn key(&self, alert: &Alert<'_>) -> Option<Id> {
        let mut id = IdOf::new("window");
        for field in &self.by {
            with_key(alert.get(*field), |key| id.part(key))?;
        }
        Some(id.id())
    }

    /// Nothing where the alert is nothing to it.
    fn look(&self, alert: &Alert<'_>, now: Millis, is_read: bool) -> Option<Look> {
        let scope = Scope { alert, facts: &[], counters: None, now, max_age_ms: &[] };
        let holds = |when: &Condition| when.eval(&scope) == Tri::True;
        let counts = holds(&self.counts);
        let then: Vec<bool> = self.then.iter().map(|then| holds(&then.when)).collect();
        if !is_read && !counts && !then.contains(&true) {
            return None;
        }
        let sighting = self.key(alert).map(|key| {
            let (at, received_at, late) = self.placed(alert, now);
            let marks = self.distinct.iter().map(|field| mark(alert.get(*field)));
            Sighting {
                window: self.id,
                key,
                at,
                received_at,
                counts,
                then,
                distinct: marks.collect(),
                late,
                spans: self.spans.clone(),
            }
        });
        Some(Look { window: self.id, is_read, sighting })
    }

    /// Where in event time it stands, when it was received, and whether it is too old to count.
    fn placed(&self, alert: &Alert<'_>, now: Millis) -> (Millis, Millis, bool) {
        let time = |field| alert.get(field).time();
        let received_at = time(Field::ReceivedAt).map_or(now, |at| at.min(now));
        let claimed = time(Field::OccurredAt).or_else(|| time(Field::ObservedAt));
        let earliest = received_at.plus(-self.spans.within_ms).plus(-self.spans.lateness_ms);
        let claimed = claimed.unwrap_or(received_at);
        (claimed.max(earliest).min(received_at), received_at, claimed < earliest)
    }
}

/// An empty text is as good as none.
fn mark(value: &Value<'_>) -> Option<Mark> {
    let hash: [u8; 32] = with_key(value, |key| Sha256::digest(key))?.into();
    let bytes = hash.first_chunk::<8>()?;
    Some(Mark(u64::from_be_bytes(*bytes)))
}

/// What an alert is to the windows of all playbooks, equal ones asked once. Those that `ruling`
/// have are read.
pub(super) fn looks(
    playbooks: &[Playbook],
    ruling: &[&Playbook],
    alert: &Alert<'_>,
    now: Millis,
) -> Vec<Look> {
    let mut looks: Vec<Look> = Vec::new();
    for window in playbooks.iter().flat_map(|playbook| &playbook.windows) {
        if looks.iter().any(|look| look.window == window.id) {
            continue;
        }
        let has = |playbook: &&Playbook| playbook.windows.iter().any(|each| each.id == window.id);
        looks.extend(window.look(alert, now, ruling.iter().any(has)));
    }
    looks
}

/// `windows: {failures: {where: […], by: [nhi.id], within: 15m, …}, …}`
pub(super) fn windows(
    node: Option<&Node>,
    source: &Source,
    schema: &Schema,
    problems: &mut Problems,
) -> Vec<Window> {
    let Some(mut named) = node.and_then(|node| Fields::of(node, "`windows`", problems)) else {
        return Vec::new();
    };
    let mut windows = Vec::new();
    for (place, (key, node)) in named.rest().into_iter().enumerate() {
        let name = key.text().unwrap_or_default();
        if place == WINDOWS_MAX {
            problems.add(&key.at, format!("more than {WINDOWS_MAX} windows in one playbook"));
        }
        if let Some(problem) = Schema::enricher_name_problem(name) {
            problems.add(&key.at, problem);
        } else if schema.enricher(name).is_some() {
            let message = format!("`{name}` is the name of an enricher, choose another");
            problems.add(&key.at, message);
        }
        let mut reader = Reader { source, schema, problems };
        windows.extend(reader.window(name, &key.at, node));
    }
    windows
}

/// The schema with what the windows are called.
pub(super) fn with_windows(schema: &Schema, windows: &[Window]) -> Schema {
    let shapes = windows.iter().map(Window::shape).collect();
    Schema { windows: shapes, ..schema.clone() }
}

struct Reader<'r> {
    source: &'r Source,
    schema: &'r Schema,
    problems: &'r mut Problems,
}

impl Reader<'_> {
    fn window(&mut self, name: &str, at: &At, node: &Node) -> Option<Window> {
        let mut fields = Fields::of(node, &format!("`{name}`"), self.problems)?;
        let counts = self.condition(&mut fields);
        let by = self.by(&mut fields);
        let within_ms = require_duration(&mut fields, "within", self.problems);
        self.at_most(&mut fields, "within", within_ms, WITHIN_MAX_MS);
        let lateness_ms = duration(&mut fields, "lateness", self.problems);
        self.at_most(&mut fields, "lateness", lateness_ms, WITHIN_MAX_MS);
        let distinct = self.distinct(&mut fields);
        let (then, then_ms) = self.then(&mut fields, within_ms.unwrap_or(WITHIN_MAX_MS));
        let baseline_ms = self.baseline(&mut fields, within_ms.unwrap_or(0));
        fields.finish(self.problems);
        let spans = Spans {
            within_ms: within_ms?,
            lateness_ms: lateness_ms.unwrap_or(LATENESS_MS),
            distinct: distinct.len(),
            then_ms,
            baseline_ms,
        };
        let (counts, by) = (counts?, by?);
        let id = identity(&counts, &by, &distinct, &then, &spans);
        Some(Window {
            name: name.to_owned(),
            at: at.clone(),
            id,
            counts,
            by,
            distinct,
            then,
            spans,
        })
    }

    /// About the alert's own fields alone: what a window holds is a matter of what came, not of
    /// what was known or ruled.
    fn condition(&mut self, fields: &mut Fields<'_>) -> Option<Condition> {
        let node = fields.require("where", self.problems)?;
        let when = Condition::read(node, self.source, self.schema, self.problems)?;
        let clauses = when.clauses().into_iter();
        let others: Vec<_> = clauses
            .flat_map(|clause| clause.names())
            .filter(|name| !matches!(name.slot, Slot::Field(_)))
            .collect();
        for name in &others {
            let message = format!(
                "`{}` is no field of the alert: a window counts by what alerts say themselves",
                name.path
            );
            self.problems.add(&name.at, message);
        }
        others.is_empty().then_some(when)
    }

    fn by(&mut self, fields: &mut Fields<'_>) -> Option<Vec<Field>> {
        let at = fields.require("by", self.problems)?.at.clone();
        let by = alert_fields(fields, "by", self.problems);
        if !by.contains(&Field::NhiId) {
            let message = "`by` must have `nhi.id`: alerts are spread over partitions by it, and a window sees those of one";
            self.problems.add(&at, message);
        }
        Some(by)
    }

    fn distinct(&mut self, fields: &mut Fields<'_>) -> Vec<Field> {
        let found = alert_fields(fields, "distinct", self.problems);
        if found.len() > PARTS_MAX {
            let message = format!("a window tells the values of at most {PARTS_MAX} fields apart");
            self.problems.add(&fields.at, message);
        }
        found
    }

    fn then(&mut self, fields: &mut Fields<'_>, window_ms: i64) -> (Vec<Then>, Vec<i64>) {
        let node = fields.get("then");
        let Some(mut named) = node.and_then(|node| Fields::of(node, "`then`", self.problems))
        else {
            return (Vec::new(), Vec::new());
        };
        let (mut found, mut spans) = (Vec::new(), Vec::new());
        for (key, node) in named.rest() {
            let name = key.text().unwrap_or_default().to_owned();
            if let Some(problem) = Schema::word_problem(&name) {
                self.problems.add(&key.at, problem);
            }
            let Some(mut fields) = Fields::of(node, &format!("`{name}`"), self.problems) else {
                continue;
            };
            let when = self.condition(&mut fields);
            let within_ms = duration(&mut fields, "within", self.problems).unwrap_or(window_ms);
            let least_ms = window_ms.div_euclid(THEN_PARTS);
            if within_ms > window_ms || within_ms <= least_ms {
                let message = "`within` of a `then` is at most the window's own, and more than a sixtieth of it";
                self.problems.add(&key.at, message);
            }
            fields.finish(self.problems);
            let Some(when) = when else { continue };
            found.push(Then { name, at: key.at.clone(), when });
            spans.push(within_ms);
        }
        if found.len() > PARTS_MAX {
            let message = format!("a window has at most {PARTS_MAX} `then`");
            self.problems.add(&fields.at, message);
        }
        (found, spans)
    }

    fn baseline(&mut self, fields: &mut Fields<'_>, within_ms: i64) -> Option<i64> {
        let node = fields.get("baseline")?;
        let mut fields = Fields::of(node, "`baseline`", self.problems)?;
        let over_ms = require_duration(&mut fields, "over", self.problems);
        self.at_most(&mut fields, "over", over_ms, BASELINE_MAX_MS);
        if over_ms.is_some_and(|over_ms| over_ms < within_ms.saturating_mul(2)) {
            let message = "a baseline is taken over at least twice the window";
            self.problems.add(&node.at, message);
        }
        fields.finish(self.problems);
        over_ms
    }

    fn at_most(
        &mut self,
        fields: &mut Fields<'_>,
        key: &'static str,
        ms: Option<i64>,
        max_ms: i64,
    ) {
        if let Some(node) = fields.get(key).filter(|_| ms.is_some_and(|ms| ms > max_ms)) {
            let days = max_ms / 86_400_000;
            self.problems.add(&node.at, format!("`{key}` is at most {days}d"));
        }
    }
}

fn identity(
    counts: &Condition,
    by: &[Field],
    distinct: &[Field],
    then: &[Then],
    spans: &Spans,
) -> WindowId {
    let paths = |fields: &[Field]| {
        let paths: Vec<&str> = fields.iter().map(|field| field.path()).collect();
        paths.join(",")
    };
    let mut parts = vec![text(counts.root()), paths(by), paths(distinct)];
    parts.extend(then.iter().map(|then| text(then.when.root())));
    parts.push(serde_json::to_string(spans).unwrap_or_default());
    let parts: Vec<&[u8]> = parts.iter().map(String::as_bytes).collect();
    let id = id_of("window definition", &parts);
    WindowId(id.get(..16).and_then(|id| u64::from_str_radix(id, 16).ok()).unwrap_or_default())
}

fn text(part: &Part) -> String {
    let all = |parts: &[Part]| parts.iter().map(text).collect::<Vec<_>>().join("\n");
    match part {
        Part::Clause(clause) => clause.text.to_string(),
        Part::All(parts) => format!("all({})", all(parts)),
        Part::Any(parts) => format!("any({})", all(parts)),
    }
}
