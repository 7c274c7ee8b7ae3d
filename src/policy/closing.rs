use crate::case::{Field, Judgement, Part};
use crate::clause::{Condition, Name, Schema, Slot};
use crate::text::{At, Fields, Node, Problems, Source};

use super::read::{
    declared, enrichers_of, max_ages, one_of, one_or_more, refuse_unknown, require_name,
};
use super::rule::Names;

/// What must be so before people can close a case that a playbook ruled.
#[derive(Debug)]
pub struct Closing {
    verdicts: Vec<Judgement>,
    /// By enricher; nothing where no requirement may ask.
    pub max_age_ms: Vec<Option<i64>>,
    /// The enrichers under `facts`, and where they stand.
    pub declared: Vec<(usize, At)>,
    pub requirements: Vec<Requirement>,
}

#[derive(Debug)]
pub struct Requirement {
    pub id: String,
    pub at: At,
    /// Nothing: to close either.
    part: Option<Part>,
    /// What the order must link.
    pub link: Option<String>,
    /// Whether its facts are those of the credential that is linked, and not of the case's.
    pub is_of_link: bool,
    pub when: Condition,
}

impl Closing {
    /// What a case is looked up by. All else that an alert says is the alert's.
    pub const OF_CASE: [Field; 3] =
        [Field::NhiId, Field::CredentialId, Field::CredentialFingerprint];

    /// What this closing has to meet.
    pub fn asks(
        &self,
        verdict: Judgement,
        part: Option<Part>,
    ) -> impl Iterator<Item = &Requirement> {
        let is_for = self.verdicts.contains(&verdict);
        let of_part =
            move |each: &&Requirement| part.is_none() || each.part.is_none() || each.part == part;
        self.requirements.iter().filter(move |_| is_for).filter(of_part)
    }
}

impl Requirement {
    /// Indexes of the enrichers that it asks, in ascending order.
    pub fn wanted(&self) -> Vec<usize> {
        let mut wanted: Vec<usize> = enrichers_of(&self.when).collect();
        wanted.sort_unstable();
        wanted.dedup();
        wanted
    }
}

/// Whose facts: the case's, or those of what the order links.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    Case,
    Link,
}

impl Whose {
    const ALL: [Self; 2] = [Self::Case, Self::Link];

    fn name(self) -> &'static str {
        match self {
            Self::Case => "case",
            Self::Link => "link",
        }
    }
}

pub(super) fn closing(
    node: &Node,
    source: &Source,
    schema: &Schema,
    problems: &mut Problems,
) -> Option<Closing> {
    let mut fields = Fields::of(node, "`closing`", problems)?;
    let verdicts = match fields.get("verdicts") {
        None => vec![Judgement::TruePositive],
        Some(node) => {
            let nodes = one_or_more(node, "`verdicts`", problems).iter();
            let read =
                |node| one_of(node, "verdict", &Judgement::ALL, Judgement::name, &mut *problems);
            nodes.filter_map(read).collect()
        }
    };
    let facts = fields.get("facts");
    let max_age_ms = max_ages(facts, schema, problems);
    let declared = declared(facts, schema);
    let require = fields.require("require", problems);
    let nodes = fields.list("require", problems);
    fields.finish(problems);
    if require.is_some() && nodes.is_empty() {
        problems.add(&node.at, "`require` is empty: name what must be so, or leave `closing` out");
    }
    let names = Names { source, schema, max_age_ms: &max_age_ms, is_grouped: true };
    let mut requirements: Vec<Requirement> = Vec::new();
    for node in nodes {
        let Some(requirement) = requirement(node, &names, problems) else { continue };
        if let Some(first) = requirements.iter().find(|known| known.id == requirement.id) {
            let (id, line) = (&requirement.id, first.at.line);
            let message = format!("requirement `{id}` is there already, in line {line}");
            problems.add(&requirement.at, message);
        }
        requirements.push(requirement);
    }
    Some(Closing { verdicts, max_age_ms, declared, requirements })
}

fn requirement(node: &Node, names: &Names<'_>, problems: &mut Problems) -> Option<Requirement> {
    let mut fields = Fields::of(node, "a requirement", problems)?;
    let id = require_name(&mut fields, "id", problems);
    let part =
        fields.get("part").map(|node| one_of(node, "part", &Part::ALL, Part::name, problems));
    let link = fields.get("link").map(|_| require_name(&mut fields, "link", problems));
    let whose = fields.get("of").map(|node| one_of(node, "of", &Whose::ALL, Whose::name, problems));
    if whose == Some(Some(Whose::Link)) && link.is_none() {
        problems.add(&node.at, "`of: link` needs `link`: what the order calls the credential");
    }
    let when = fields.require("when", problems);
    let when = when.and_then(|when| Condition::read(when, names.source, names.schema, problems));
    fields.finish(problems);
    let clauses = when.as_ref().map(Condition::clauses).unwrap_or_default();
    for name in clauses.iter().flat_map(|clause| clause.names()) {
        check(name, names, problems);
    }
    // INVARIANT (INV-4): what is unknown closes nothing.
    if let Some(when) = &when {
        refuse_unknown(when, "nothing is closed because a fact is unknown", problems);
        if enrichers_of(when).next().is_none() {
            let message = "nothing is looked up for this requirement: it must name a fact";
            problems.add(&node.at, message);
        }
    }
    Some(Requirement {
        id: id?,
        at: node.at.clone(),
        part: match part {
            Some(part) => Some(part?),
            None => None,
        },
        link: match link {
            Some(link) => Some(link?),
            None => None,
        },
        is_of_link: whose.unwrap_or(Some(Whose::Case))? == Whose::Link,
        when: when?,
    })
}

fn check(name: &Name, names: &Names<'_>, problems: &mut Problems) {
    match name.slot {
        Slot::Field(field) if !Closing::OF_CASE.contains(&field) => {
            let known = Closing::OF_CASE.map(Field::path).join(", ");
            let path = &name.path;
            let message = format!(
                "a case is closed on what is looked up then, and `{path}` is what one alert said: beside facts there are {known}, `counters.…` and `now`"
            );
            problems.add(&name.at, message);
        }
        slot if slot.enricher().is_some() && slot.enricher() == names.schema.exceptions() => {
            let message = "a risk that is accepted is not gone: nothing is closed because of it";
            problems.add(&name.at, message);
        }
        slot => names.check(slot, &name.path, &name.at, problems),
    }
}
