use crate::case::{Alert, Field};
use crate::clause::{Condition, Slot};
use crate::text::{At, Problems};

use super::hours::Hours;
use super::obligations::Obligations;
use super::orders::{Authority, OrderRules, Role, authority};
use super::read::{Reference, ToQueue, enrichers_of};

/// What no playbook can exceed: layers of which every one must agree (INV-5).
#[derive(Debug)]
pub struct Boundary {
    pub layers: Vec<Layer>,
    /// Where alerts go that no playbook is for.
    pub default: ToQueue,
    /// Where alerts wait that are held because a fact is unknown; nothing: where their playbook's
    /// last rule would route them.
    pub repair_queue: Option<String>,
    /// By enricher: the least of all layers' `facts`.
    pub max_age_ms: Vec<Option<i64>>,
    /// The queues that people read, and who does; nothing where nobody says.
    pub queues: Option<Vec<(String, String)>>,
    /// Who may order what about a case.
    pub authority: Authority,
}

#[derive(Debug)]
pub struct Layer {
    pub name: String,
    /// What the verdict on `stop` is called.
    pub stop_label: String,
    pub owner: String,
    pub at: At,
    /// The one layer with `default_queue`. What it does not allow is not allowed; a layer beside it
    /// that says nothing about a matter does not narrow it. So no added layer can ever widen.
    pub is_base: bool,
    pub stop: bool,
    pub protected: Vec<Protected>,
    pub allow: Option<Vec<Allow>>,
    pub deny: Vec<Deny>,
    pub environment: Option<Reference>,
    pub tier: Option<Reference>,
    pub require_escalate: Require,
    pub require_suppress: Require,
    pub suppress: Option<SuppressLimits>,
    /// Names whose unknown may be passed on the way to an escalation.
    pub pass_unknown: Vec<Reference>,
    /// When rules may escalate at all, and when they may suppress.
    pub escalate_hours: Vec<Hours>,
    pub suppress_hours: Vec<Hours>,
    pub obligations: Obligations,
    pub(super) default: Option<ToQueue>,
    pub(super) repair_queue: Option<String>,
    pub(super) max_age_ms: Vec<Option<i64>>,
    /// The enrichers under `facts`, and where they stand.
    pub(super) declared: Vec<(usize, At)>,
    pub(super) queues: Option<Vec<(String, String)>>,
    pub(super) roles: Vec<Role>,
    pub(super) orders: Option<OrderRules>,
}

#[derive(Debug)]
pub struct Protected {
    pub id: String,
    /// What its verdict is called: `protected:<layer>/<id>`.
    pub label: String,
    /// Exact, or with `*` for any run of characters.
    pub nhi: Vec<String>,
    /// As `nhi`, for the credential's id or fingerprint: where the identity is not resolved.
    pub credential: Vec<String>,
    pub why: String,
}

/// Absent lists do not restrict.
#[derive(Debug)]
pub struct Allow {
    pub id: String,
    pub actions: Vec<String>,
    pub environments: Option<Vec<String>>,
    pub nhi_kinds: Option<Vec<String>>,
    pub kinds: Option<Vec<String>>,
    pub tiers: Option<Vec<String>>,
    /// Beside those of the layer.
    pub obligations: Obligations,
}

#[derive(Debug)]
pub struct Deny {
    pub id: String,
    /// What its verdict is called: `deny:<layer>/<id>`.
    pub label: String,
    pub of: Of,
    pub when: Condition,
    /// `when` in one line, as it is written.
    pub text: String,
    pub why: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Of {
    Suppress,
    Escalate,
    Any,
}

#[derive(Debug, Default)]
pub struct Require {
    /// Each must be present and no older.
    pub facts: Vec<(Reference, i64)>,
    /// Distinct sources of the facts that the winning rule saw: enrichers, or what they combine.
    pub sources: usize,
}

#[derive(Debug)]
pub struct SuppressLimits {
    pub max_expires_ms: i64,
    pub never_severity: Vec<String>,
    /// Of the alerts of one detector, in one partition.
    pub per_hour: Option<i64>,
}

impl Of {
    pub(super) const ALL: [Self; 3] = [Self::Suppress, Self::Escalate, Self::Any];

    pub fn name(self) -> &'static str {
        match self {
            Self::Suppress => "suppress",
            Self::Escalate => "escalate",
            Self::Any => "any",
        }
    }
}

impl Deny {
    /// Whether it stands against this: `of` is what is asked for.
    pub fn is_of(&self, of: Of) -> bool {
        self.of == of || self.of == Of::Any
    }
}

/// What the pipeline runs as, whatever a boundary says: its accounts are called so everywhere.
const OWN_IDENTITIES: &str = "*tipstaff-*";

/// Whether an alert is about an identity that the pipeline itself runs as.
pub fn is_own_identity(nhi_id: &str) -> bool {
    fits(OWN_IDENTITIES, nhi_id)
}

/// Whether whoever is of this kind is a person, or nobody knows that it is none.
pub fn may_be_person(kind: Option<&str>) -> bool {
    matches!(kind, None | Some("person" | "unknown"))
}

impl Protected {
    /// Whether the alert names one of these. Nothing: it names no NHI, and might.
    pub fn holds(&self, alert: &Alert<'_>) -> Option<bool> {
        let any = |patterns: &[String], field| {
            let value = alert.text(field).filter(|value| !value.is_empty());
            value.map(|value| patterns.iter().any(|pattern| fits(pattern, value)))
        };
        let credential = [Field::CredentialId, Field::CredentialFingerprint];
        // What names no credential is about none of them.
        if credential.into_iter().any(|field| any(&self.credential, field) == Some(true)) {
            return Some(true);
        }
        if self.nhi.is_empty() { Some(false) } else { any(&self.nhi, Field::NhiId) }
    }
}

/// `*` stands for any run of characters. Case does not count: the names of AWS, mail addresses and
/// accounts are the same however they are spelled, and detectors spell them as they like.
fn fits(pattern: &str, text: &str) -> bool {
    fits_exactly(&pattern.to_lowercase(), &text.to_lowercase())
}

fn fits_exactly(pattern: &str, text: &str) -> bool {
    let Some((start, mut pattern)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut rest) = text.strip_prefix(start) else { return false };
    while let Some((part, after)) = pattern.split_once('*') {
        let Some((_, behind)) = rest.split_once(part) else { return false };
        rest = behind;
        pattern = after;
    }
    rest.ends_with(pattern)
}

impl Layer {
    /// Enrichers whose facts this layer reads.
    pub(super) fn enrichers(&self) -> impl Iterator<Item = usize> {
        let named = self.deny.iter().flat_map(|deny| enrichers_of(&deny.when));
        let required = self.require_escalate.facts.iter().chain(&self.require_suppress.facts);
        let context = self.environment.iter().chain(&self.tier);
        let referred = required.map(|(fact, _)| fact).chain(context).map(|fact| fact.slot);
        named.chain(referred.filter_map(Slot::enricher))
    }
}

/// The layers as one; nothing without a base.
pub(super) fn boundary(layers: Vec<Layer>, problems: &mut Problems) -> Option<Boundary> {
    for (index, layer) in layers.iter().enumerate() {
        if layers.iter().take(index).any(|earlier| earlier.name == layer.name) {
            problems.add(&layer.at, format!("boundary `{}` is there already", layer.name));
        }
    }
    let default = layers.iter().find_map(|layer| layer.default.clone())?;
    let repair_queue = layers.iter().find_map(|layer| layer.repair_queue.clone());
    let mut max_age_ms: Vec<Option<i64>> = Vec::new();
    for layer in &layers {
        narrow(&mut max_age_ms, &layer.max_age_ms);
    }
    let queues = layers.iter().find_map(|layer| layer.queues.clone());
    let authority = authority(&layers, problems);
    Some(Boundary { layers, default, repair_queue, max_age_ms, queues, authority })
}

/// The lesser age of both, for every enricher.
pub(super) fn narrow(ages: &mut Vec<Option<i64>>, by: &[Option<i64>]) {
    ages.resize(ages.len().max(by.len()), None);
    for (age, other) in ages.iter_mut().zip(by) {
        *age = match (*age, *other) {
            (Some(age), Some(other)) => Some(age.min(other)),
            (age, other) => age.or(other),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::fits;

    #[test]
    fn a_star_stands_for_any_run_of_characters() {
        for (pattern, text, expected) in [
            ("a", "a", true),
            ("a", "ab", false),
            ("a*", "ab", true),
            ("*b", "ab", true),
            ("a*c*e", "abcde", true),
            ("a*c*e", "abde", false),
            ("*", "", true),
            ("a*a", "a", false),
            ("**", "x", true),
            ("*breakglass-*", "arn:aws:iam::1:user/BreakGlass-Admin", true),
            ("Ops@Example.com", "ops@example.COM", true),
        ] {
            assert_eq!(fits(pattern, text), expected, "{pattern} {text}");
        }
    }
}
