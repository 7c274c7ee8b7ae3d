use std::collections::BTreeMap;

use crate::case::Verb;
use crate::text::{At, Fields, Node, Problems, suggestion};

use super::boundary::Layer;
use super::read::{duration, one_or_more, require_duration};

/// People, named as the `allowed_signers` file names them, by role.
#[derive(Debug)]
pub(super) struct Role {
    name: String,
    at: At,
    people: Vec<String>,
}

type Names = Vec<(String, At)>;

/// What one layer says of orders. Silence allows nothing in the base and narrows nothing elsewhere.
#[derive(Debug, Default)]
pub(super) struct OrderRules {
    may: BTreeMap<Verb, Names>,
    except: Option<ExceptRules>,
    callback: Option<Names>,
}

#[derive(Debug)]
struct ExceptRules {
    requester: Names,
    approver: Names,
    max_ms: i64,
    emergency_max_ms: Option<i64>,
}

/// Who may order what: by person the role that lets them, in every layer at once.
#[derive(Debug, Default)]
pub struct Authority {
    may: BTreeMap<Verb, BTreeMap<String, String>>,
    pub except: Option<ExceptAuthority>,
    vouchers: BTreeMap<String, String>,
}

#[derive(Debug)]
pub struct ExceptAuthority {
    approvers: BTreeMap<String, String>,
    pub max_ms: i64,
    /// Nothing: there is no emergency in which one person is enough.
    pub emergency_max_ms: Option<i64>,
}

impl Authority {
    /// The role by which this person may order it.
    pub fn role(&self, person: &str, verb: Verb) -> Option<&str> {
        self.may.get(&verb)?.get(person).map(String::as_str)
    }

    /// Whether this signer's word counts that a sink's user acknowledged a case.
    pub fn is_voucher(&self, person: &str) -> bool {
        self.vouchers.contains_key(person)
    }

    fn orders_something(&self, person: &str) -> bool {
        let approves = self.except.as_ref().is_some_and(|except| except.is_approver(person));
        approves || self.may.values().any(|people| people.contains_key(person))
    }
}

impl ExceptAuthority {
    pub fn is_approver(&self, person: &str) -> bool {
        self.approvers.contains_key(person)
    }
}

/// `{<role>: [<person>, …]}`
pub(super) fn roles(node: &Node, problems: &mut Problems) -> Vec<Role> {
    let Some(mut named) = Fields::of(node, "`roles`", problems) else { return Vec::new() };
    let mut roles = Vec::new();
    for (key, value) in named.rest() {
        let Some(name) = key.text().filter(|name| !name.is_empty()) else {
            problems.add(&key.at, "a role has a name: `analyst: [sam, dana]`");
            continue;
        };
        let people = names(value, &format!("role `{name}`"), "a person", problems);
        let people = people.into_iter().map(|(person, _)| person).collect();
        roles.push(Role { name: name.to_owned(), at: key.at.clone(), people });
    }
    roles
}

/// `orders: {ack: [<role>, …], …, except: {requester, approver, max, emergency_max?}, callback: …}`
pub(super) fn orders(node: &Node, problems: &mut Problems) -> OrderRules {
    let mut rules = OrderRules::default();
    let Some(mut fields) = Fields::of(node, "`orders`", problems) else { return rules };
    for verb in Verb::ALL.into_iter().filter(|verb| *verb != Verb::Except) {
        if let Some(node) = fields.get(verb.name()) {
            let roles = names(node, &format!("`{}`", verb.name()), "a role", problems);
            rules.may.insert(verb, roles);
        }
    }
    rules.except = fields.get("except").and_then(|node| except(node, problems));
    rules.callback =
        fields.get("callback").map(|node| names(node, "`callback`", "a role", problems));
    fields.finish(problems);
    rules
}

fn except(node: &Node, problems: &mut Problems) -> Option<ExceptRules> {
    let mut fields = Fields::of(node, "`except`", problems)?;
    let requester = fields.require("requester", problems);
    let requester = requester.map(|node| names(node, "`requester`", "a role", problems));
    let approver = fields.require("approver", problems);
    let approver = approver.map(|node| names(node, "`approver`", "a role", problems));
    let max_ms = require_duration(&mut fields, "max", problems);
    let emergency_at = fields.get("emergency_max").map(|node| node.at.clone());
    let emergency_max_ms = duration(&mut fields, "emergency_max", problems);
    if let (Some(at), Some(emergency), Some(max)) = (emergency_at, emergency_max_ms, max_ms)
        && emergency > max
    {
        problems.add(&at, "`emergency_max` is longer than `max`, which two people answer for");
    }
    fields.finish(problems);
    let (requester, approver) = (requester?, approver?);
    Some(ExceptRules { requester, approver, max_ms: max_ms?, emergency_max_ms })
}

fn names(node: &Node, what: &str, of: &str, problems: &mut Problems) -> Names {
    let mut found: Names = Vec::new();
    for item in one_or_more(node, what, problems) {
        match item.text().filter(|text| !text.trim().is_empty()) {
            None => {
                problems.add(&item.at, format!("must be the name of {of}, not {}", item.kind()))
            }
            Some(name) if found.iter().any(|(known, _)| known == name) => {
                problems.add(&item.at, format!("`{name}` is there already"));
            }
            Some(name) => found.push((name.to_owned(), item.at.clone())),
        }
    }
    found
}

/// The layers as one. A person may what every layer that speaks of it lets one of their roles do,
/// and is in a role where every layer that names the role has them: so an added layer only narrows.
pub(super) fn authority(layers: &[Layer], problems: &mut Problems) -> Authority {
    let Some(base) = layers.iter().find(|layer| layer.is_base) else { return Authority::default() };
    let members = members(base, layers, problems);
    for rules in layers.iter().filter_map(|layer| layer.orders.as_ref()) {
        rules.check(&members, problems);
    }
    let mut authority = Authority::default();
    for verb in Verb::ALL {
        let people = allowed(base, layers, &members, |rules| rules.requesters(verb));
        authority.may.insert(verb, people);
    }
    let rules = layers.iter().filter_map(|layer| layer.orders.as_ref()?.except.as_ref());
    let emergencies: Vec<Option<i64>> = rules.clone().map(|rules| rules.emergency_max_ms).collect();
    let is_in_base = base.orders.as_ref().is_some_and(|rules| rules.except.is_some());
    authority.except = rules.map(|rules| rules.max_ms).min().filter(|_| is_in_base).map(|max_ms| {
        let least = emergencies.iter().flatten().min().copied();
        ExceptAuthority {
            approvers: allowed(base, layers, &members, |rules| {
                rules.except.as_ref().map(|except| &except.approver)
            }),
            max_ms,
            emergency_max_ms: least.filter(|_| emergencies.iter().all(Option::is_some)),
        }
    });
    authority.vouchers = allowed(base, layers, &members, |rules| rules.callback.as_ref());
    check_vouchers(base, &authority, problems);
    authority
}

/// A key that a service holds must not do what a person's does.
fn check_vouchers(base: &Layer, authority: &Authority, problems: &mut Problems) {
    let named = base.orders.as_ref().and_then(|rules| rules.callback.as_ref());
    for (role, at) in named.into_iter().flatten() {
        let is_both =
            |(person, of): &(&String, &String)| *of == role && authority.orders_something(person);
        for (person, _) in authority.vouchers.iter().filter(is_both) {
            let message = format!("`{person}` vouches for others, and so may order nothing itself");
            problems.add(at, message);
        }
    }
}

type Members = BTreeMap<String, Vec<String>>;

fn members(base: &Layer, layers: &[Layer], problems: &mut Problems) -> Members {
    let of = |role: &Role| (role.name.clone(), role.people.clone());
    let mut members: Members = base.roles.iter().map(of).collect();
    for role in layers.iter().filter(|layer| !layer.is_base).flat_map(|layer| &layer.roles) {
        match members.get_mut(&role.name) {
            Some(people) => people.retain(|person| role.people.contains(person)),
            None => {
                problems.add(&role.at, no_role(&role.name, base.roles.iter().map(|r| &*r.name)))
            }
        }
    }
    members
}

fn no_role<'n>(name: &str, known: impl Iterator<Item = &'n str>) -> String {
    let hint = suggestion(name, known);
    format!("there is no role `{name}` in the boundary with the `default_queue`{hint}")
}

/// The people that every layer which speaks of it lets do something, each with a role of the base.
fn allowed(
    base: &Layer,
    layers: &[Layer],
    members: &Members,
    of: impl Fn(&OrderRules) -> Option<&Names>,
) -> BTreeMap<String, String> {
    let has = |(role, _): &(String, At), person: &String| {
        members.get(role).is_some_and(|people| people.contains(person))
    };
    let mut people = BTreeMap::new();
    for (role, _) in base.orders.as_ref().and_then(&of).into_iter().flatten() {
        for person in members.get(role).into_iter().flatten() {
            people.entry(person.clone()).or_insert_with(|| role.clone());
        }
    }
    let others = layers.iter().filter(|layer| !layer.is_base);
    for roles in others.filter_map(|layer| layer.orders.as_ref().and_then(&of)) {
        people.retain(|person, _| roles.iter().any(|role| has(role, person)));
    }
    people
}

impl OrderRules {
    fn requesters(&self, verb: Verb) -> Option<&Names> {
        match verb {
            Verb::Except => self.except.as_ref().map(|except| &except.requester),
            _ => self.may.get(&verb),
        }
    }

    fn check(&self, members: &Members, problems: &mut Problems) {
        let except = self.except.iter().flat_map(|rules| [&rules.requester, &rules.approver]);
        for (role, at) in self.may.values().chain(except).chain(&self.callback).flatten() {
            if !members.contains_key(role) {
                problems.add(at, no_role(role, members.keys().map(String::as_str)));
            }
        }
    }
}
