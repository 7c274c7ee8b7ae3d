//! One ruling, held against what `boundary prove` says can be reached.

use tipstaff::case::{Alert, Body, Decision, Field, Reason, Ruling, Tri, Value};
use tipstaff::clause::Scope;
use tipstaff::policy::{Hours, Need, Policy, Proof};

use crate::second_reading::sources;
use crate::support::{NOW, Situation, schema};

/// A value as the proof names it.
fn name(value: Option<&Value<'_>>) -> String {
    match value {
        None | Some(Value::Unknown(_)) => "(unknown)".to_owned(),
        Some(Value::Absent) => "(absent)".to_owned(),
        Some(Value::Text(text)) => text.to_string(),
        Some(Value::Bool(flag)) => flag.to_string(),
        Some(_) => "known".to_owned(),
    }
}

/// A text that is not listed is any other.
fn is_among(value: &str, listed: &[String], all: &[String]) -> bool {
    let is_told = |values: &[String]| values.iter().any(|each| each == value);
    is_told(listed) || (!is_told(all) && listed.iter().any(|each| each == "(any other)"))
}

/// A ruling, and what its boundary saw.
pub struct Ruled<'r> {
    pub policy: &'r Policy,
    pub situation: &'r Situation,
    pub decision: &'r Decision<'r>,
}

impl Ruled<'_> {
    fn alert(&self) -> &Alert<'static> {
        let Body::Alert(alert) = &self.situation.arrival.body else { panic!("an alert") };
        alert
    }

    pub fn is_no_alert(&self) -> bool {
        self.decision.reason == Reason::NotAnAlert
    }

    fn scope(&self) -> Scope<'_> {
        let ages = match self.is_no_alert() {
            true => &self.policy.boundary().max_age_ms,
            false => self.policy.ages(self.alert()),
        };
        let (facts, counters) = (&*self.situation.facts, Some(&self.situation.counters));
        Scope { alert: self.alert(), facts, counters, now: NOW, max_age_ms: ages }
    }

    fn look_up(&self, path: &str) -> Value<'static> {
        self.scope().read(schema().find(path).unwrap().0).into_owned()
    }

    fn name(&self, path: &str) -> String {
        name(Some(&self.look_up(path)))
    }

    fn holds(&self, need: &Need) -> bool {
        match need {
            Need::Fact { path, max_age_ms } => {
                let (scope, (slot, _)) = (self.scope(), schema().find(path).unwrap());
                let as_of = scope.row(slot).unwrap().as_of.unwrap();
                scope.read(slot).is_present() && NOW.0 - as_of.0 <= *max_age_ms
            }
            Need::Fresh { enricher, max_age_ms } => {
                let (index, _) = self.policy.schema().enricher(enricher).unwrap();
                self.scope().max_age_ms[index].is_some_and(|age| age <= *max_age_ms)
            }
            Need::Not(text) => {
                let denials = self.policy.boundary().layers.iter().flat_map(|layer| &layer.deny);
                let mut denials = denials.filter(|deny| deny.text == *text);
                denials.any(|deny| deny.when.eval(&self.scope()) == Tri::False)
            }
            Need::NotNhi(pattern) => {
                let pattern = format!("^{}$", pattern.replace('*', ".*"));
                let is_like = |nhi| regex::Regex::new(&pattern).unwrap().is_match(nhi);
                self.alert().text(Field::NhiId).map_or(self.is_no_alert(), |nhi| !is_like(nhi))
            }
            Need::NotCredential(_) => {
                !self.alert().text(Field::CredentialId).is_some_and(|id| id.ends_with('3'))
            }
            Need::Sources(count) => sources(self.situation, &self.decision.because) >= *count,
            Need::RuledIn(hours) => Hours::parse(hours).unwrap().hold_at(NOW),
            Need::Expires { max_ms } => match &self.decision.fate {
                Ruling::Suppress(suppress) => suppress.expires_at.0 - NOW.0 <= *max_ms,
                _ => false,
            },
            Need::Approvals { role, count } => self.obliges("approvals", format!("{count} {role}")),
            Need::PerHour(limit) => self.obliges("per_hour", limit.to_string()),
            Need::ChangeTicket => self.obliges("change_ticket", "required".to_owned()),
            other => panic!("{other} is not generated"),
        }
    }

    fn obliges(&self, kind: &str, value: String) -> bool {
        obligations(self.decision).contains(&(kind.to_owned(), value))
    }

    pub fn asked(&self) -> &str {
        match &self.decision.fate {
            Ruling::Escalate(escalate) => &escalate.action,
            _ if self.is_no_alert() => "suppress not_an_alert",
            _ => "suppress",
        }
    }

    /// Whether a row of the proof is about this very ruling.
    pub fn is_inside(&self, proof: &Proof) -> bool {
        let action = self.asked();
        let at = |(place, listed): (&String, &Vec<String>)| {
            is_among(&self.name(place), listed, &proof.vocabulary[action][place])
        };
        let fact = |(place, states): (&String, &Vec<String>)| {
            let value = self.name(place);
            states.contains(&value)
                || (!value.starts_with('(') && states.contains(&"known".to_owned()))
        };
        proof.reachable.iter().any(|row| {
            row.action == action
                && row.at.iter().all(at)
                && row.facts.iter().all(fact)
                && row.needs.iter().all(|need| self.holds(need))
        })
    }
}

pub fn obligations(decision: &Decision<'_>) -> Vec<(String, String)> {
    let Ruling::Escalate(escalate) = &decision.fate else { return Vec::new() };
    let all = escalate.permit.obligations.iter();
    all.map(|each| (each.kind.to_string(), each.value.to_string())).collect()
}
