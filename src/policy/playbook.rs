use crate::case::{Alert, BreakOut, Field, Grouping, Id, IdOf, Millis, Value};
use crate::clause::Schema;
use crate::text::{At, Data, Fields, Node, Problems, Source, suggestion};

use super::canary::{Canary, canary};
use super::closing::{Closing, closing};
use super::findings::Code;
use super::read::{
    ToQueue, alert_fields, declared, max_ages, one_of, owner, require_duration, require_name,
    strings,
};
use super::rule::{Names, Outcome, Rule, rule};
use super::windows::{Window, windows, with_windows};

#[derive(Debug)]
pub struct Playbook {
    pub name: String,
    pub title: String,
    pub owner: String,
    pub mode: Mode,
    pub kinds: Vec<String>,
    /// Empty: any detector.
    pub detectors: Vec<String>,
    /// Lower goes first where two live playbooks are for the same alert.
    pub order: Option<i64>,
    pub controls: Vec<(String, Vec<String>)>,
    /// By enricher; nothing where the playbook does not ask.
    pub max_age_ms: Vec<Option<i64>>,
    /// As above, narrowed by the boundary's own ages: what the boundary is checked with.
    pub boundary_max_age_ms: Vec<Option<i64>>,
    pub rules: Vec<Rule>,
    /// Whether `rules` has all that are written: those with a mistake in them are not there.
    pub(super) has_all_rules: bool,
    /// The last rule, which takes everything to people: its id and where.
    pub fallback: (String, ToQueue),
    pub at: At,
    pub(super) on_at: At,
    /// The enrichers under `facts`, and where they stand.
    pub(super) declared: Vec<(usize, At)>,
    pub(super) windows: Vec<Window>,
    pub closing: Option<Closing>,
    group: Option<Group>,
    /// There exactly in canary mode.
    canary: Option<Canary>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Live,
    Canary,
    Shadow,
}

#[derive(Debug)]
struct Group {
    by: Vec<Field>,
    window_ms: i64,
    break_out: Option<BreakOut>,
}

impl Mode {
    const ALL: [Self; 3] = [Self::Live, Self::Canary, Self::Shadow];

    pub fn name(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Canary => "canary",
            Self::Shadow => "shadow",
        }
    }
}

impl Playbook {
    pub fn is_for(&self, kind: &str, detector: Option<&str>) -> bool {
        let detected = |wanted: &String| detector == Some(wanted.as_str());
        self.kinds.iter().any(|wanted| wanted == kind)
            && (self.detectors.is_empty() || self.detectors.iter().any(detected))
    }

    /// Whether one in canary mode rules this alert already.
    pub(super) fn takes(&self, alert: &Alert<'_>) -> bool {
        self.canary.as_ref().is_some_and(|canary| canary.has(&self.name, alert))
    }

    pub fn windows(&self) -> &[Window] {
        &self.windows
    }

    /// The same for all playbooks that group by the same fields: one problem is one case, whichever
    /// rules it.
    pub fn grouping(&self, alert: &Alert<'_>) -> Option<Grouping> {
        // What is no alert is no part of a problem.
        let group = self.group.as_ref().filter(|_| alert.text(Field::NotAnAlert).is_none())?;
        let by_id = group.id(alert, Field::CredentialId);
        let by_value = group.id(alert, Field::CredentialFingerprint);
        let (id, also) = match (by_id, by_value) {
            (Some(by_id), by_value) => (by_id.clone(), by_value.filter(|other| *other != by_id)),
            (None, by_value) => (by_value?, None),
        };
        Some(Grouping { id, also, window_ms: group.window_ms, break_out: group.break_out })
    }

    pub fn break_out(&self) -> Option<BreakOut> {
        self.group.as_ref()?.break_out
    }
}

impl Group {
    /// `credential` stands for the credential's id.
    fn id(&self, alert: &Alert<'_>, credential: Field) -> Option<Id> {
        let mut id = IdOf::new("group");
        for field in &self.by {
            let field = if *field == Field::CredentialId { credential } else { *field };
            id.part(field.path().as_bytes());
            with_key(alert.get(field), |key| id.part(key))?;
        }
        Some(id.id())
    }
}

/// Shows the bytes of a key, if it is one. An empty text is none: it would merge strangers.
pub(super) fn with_key<R>(value: &Value<'_>, then: impl FnOnce(&[u8]) -> R) -> Option<R> {
    match value {
        Value::Text(text) if text.is_empty() => None,
        Value::Text(text) => Some(then(text.as_bytes())),
        Value::Int(number) | Value::Duration(number) | Value::Time(Millis(number)) => {
            Some(then(&number.to_be_bytes()))
        }
        Value::Bool(flag) => Some(then(&[u8::from(*flag)])),
        Value::Decimal(number) => Some(then(number.to_string().as_bytes())),
        Value::Absent | Value::Unknown(_) | Value::AtLeast(_) | Value::List(_) => None,
    }
}

/// Everything but its `tests`, which are returned to be read when all playbooks are known.
pub(super) fn playbook<'n>(
    node: &'n Node,
    source: &Source,
    schema: &Schema,
    problems: &mut Problems,
) -> (Option<Playbook>, &'n [Node]) {
    let Some(mut fields) = Fields::of(node, "a playbook", problems) else { return (None, &[]) };
    let name = require_name(&mut fields, "playbook", problems);
    let title = fields.require_text("title", problems).map(str::to_owned);
    let owner = owner(&mut fields, problems);
    let (mode, canary) = mode(&mut fields, problems);
    let on = on(&mut fields, problems);
    let order = fields.int("order", problems);
    let controls = controls(&mut fields, problems);
    let facts = fields.get("facts");
    let mut max_age_ms = max_ages(facts, schema, problems);
    let declared = declared(facts, schema);
    let group = fields.get("group").map(|node| group(node, problems));
    let closing = closing_of(&mut fields, group.as_ref(), (source, schema), problems);
    let windows = windows(fields.get("windows"), source, schema, problems);
    let schema = &with_windows(schema, &windows);
    let names = Names { source, schema, max_age_ms: &max_age_ms, is_grouped: group.is_some() };
    let (rules, written) = rules(&mut fields, &names, problems);
    // What people have accepted holds until it ends, however old.
    for rule in &rules {
        let reads = |place: &usize| rule.enrichers().any(|enricher| enricher == *place);
        if let Some(age) = schema.exceptions().filter(reads).and_then(|at| max_age_ms.get_mut(at)) {
            *age = Some(i64::MAX);
        }
    }
    let tests = fields.list("tests", problems);
    let at = fields.at.clone();
    fields.finish(problems);
    let read = || {
        let (kinds, detectors, on_at) = on?;
        let last = rules.last()?;
        let Outcome::Route(to) = &last.outcome else { return None };
        Some(Playbook {
            name: name?,
            title: title?,
            owner: owner?,
            mode: mode?,
            kinds,
            detectors,
            order,
            controls,
            boundary_max_age_ms: max_age_ms.clone(),
            max_age_ms,
            declared,
            fallback: (last.id.clone(), to.clone()),
            has_all_rules: rules.len() == written,
            rules,
            at,
            on_at,
            windows,
            closing: match closing {
                Some(closing) => Some(closing?),
                None => None,
            },
            canary,
            group: match group {
                Some(group) => Some(group?),
                None => None,
            },
        })
    };
    (read(), tests)
}

fn mode(fields: &mut Fields<'_>, problems: &mut Problems) -> (Option<Mode>, Option<Canary>) {
    let canary = fields.get("canary").map(|node| (&node.at, canary(node, problems)));
    let Some(node) = fields.require("mode", problems) else { return (None, None) };
    let mode = one_of(node, "mode", &Mode::ALL, Mode::name, problems);
    match (mode, &canary) {
        (Some(Mode::Canary), None) => {
            let message = "mode `canary` needs `canary`: for whom, such as {percent: 5}";
            problems.add(&node.at, message);
        }
        (Some(Mode::Live | Mode::Shadow), Some((at, _))) => {
            problems.add(at, "`canary` is for `mode: canary` alone");
        }
        _ => {}
    }
    (mode, canary.and_then(|(_, canary)| canary))
}

fn on(fields: &mut Fields<'_>, problems: &mut Problems) -> Option<(Vec<String>, Vec<String>, At)> {
    let node = fields.require("on", problems)?;
    let mut on = Fields::of(node, "`on`", problems)?;
    on.require("kind", problems);
    let kinds = strings(&mut on, "kind", problems);
    let detectors = strings(&mut on, "detector", problems);
    on.finish(problems);
    Some((kinds, detectors, node.at.clone()))
}

fn controls(fields: &mut Fields<'_>, problems: &mut Problems) -> Vec<(String, Vec<String>)> {
    let Some(node) = fields.get("controls") else { return Vec::new() };
    let Some(mut named) = Fields::of(node, "`controls`", problems) else { return Vec::new() };
    let mut controls = Vec::new();
    for (key, value) in named.rest() {
        let items = match &value.data {
            Data::List(items) => items.as_slice(),
            _ => std::slice::from_ref(value),
        };
        let texts = items.iter().filter_map(|item| {
            if item.text().is_none() {
                problems.add(&item.at, format!("must be text, not {}", item.kind()));
            }
            item.text().map(str::to_owned)
        });
        controls.push((key.text().unwrap_or_default().to_owned(), texts.collect()));
    }
    controls
}

/// What is closed is one credential: where alerts are grouped, they are grouped by it.
fn closing_of(
    fields: &mut Fields<'_>,
    group: Option<&Option<Group>>,
    (source, schema): (&Source, &Schema),
    problems: &mut Problems,
) -> Option<Option<Closing>> {
    let node = fields.get("closing")?;
    let has =
        |group: &Group| [Field::NhiId, Field::CredentialId].iter().all(|f| group.by.contains(f));
    if group.is_some_and(|group| group.as_ref().is_some_and(|group| !has(group))) {
        let message = "`closing` is about one credential of one identity: `group.by` must name `nhi.id` and `credential.id`";
        problems.add(&node.at, message);
    }
    Some(closing(node, source, schema, problems))
}

fn group(node: &Node, problems: &mut Problems) -> Option<Group> {
    let mut fields = Fields::of(node, "`group`", problems)?;
    fields.require("by", problems);
    let by = alert_fields(&mut fields, "by", problems);
    let window_ms = require_duration(&mut fields, "window", problems);
    let break_out = fields.get("break_out").map(|node| break_out(node, problems));
    fields.finish(problems);
    if by.is_empty() {
        problems.add(&node.at, "a group needs at least one field in `by`");
    }
    let break_out = match break_out {
        Some(break_out) => Some(break_out?),
        None => None,
    };
    Some(Group { by, window_ms: window_ms?, break_out })
}

/// What a case counts apart, and how far.
fn break_out(node: &Node, problems: &mut Problems) -> Option<BreakOut> {
    const COUNTED: [Field; 3] = [Field::Detector, Field::Repository, Field::SourceIp];
    let mut fields = Fields::of(node, "`break_out`", problems)?;
    let path = fields.require_text("distinct", problems);
    let distinct = path.and_then(|path| COUNTED.into_iter().find(|field| field.path() == path));
    if let Some(path) = path.filter(|_| distinct.is_none()) {
        let counted = COUNTED.map(Field::path);
        let hint = suggestion(path, counted.iter().copied());
        let message = format!("`distinct` is one of {}, never `{path}`{hint}", counted.join(", "));
        problems.add(&node.at, message);
    }
    let at = fields.require("over", problems).map(|node| &node.at);
    let over = fields.int("over", problems).and_then(|over| u32::try_from(over).ok());
    let over = over.filter(|over| (1..16).contains(over));
    if let (Some(at), None) = (at, over) {
        problems.add(at, "`over` is a number from 1 to 15");
    }
    fields.finish(problems);
    Some(BreakOut { distinct: distinct?, over: over? })
}

/// Those that can be read, and how many are written.
fn rules(
    fields: &mut Fields<'_>,
    names: &Names<'_>,
    problems: &mut Problems,
) -> (Vec<Rule>, usize) {
    let Some(at) = fields.require("rules", problems).map(|node| &node.at) else {
        return (Vec::new(), 0);
    };
    let nodes = fields.list("rules", problems);
    let mut rules: Vec<Rule> = Vec::new();
    for (index, node) in nodes.iter().enumerate() {
        let is_last = index + 1 == nodes.len();
        let Some(rule) = rule(node, names, problems) else { continue };
        if let Some(first) = rules.iter().find(|known| known.id == rule.id) {
            let line = first.at.line;
            problems.add(&rule.at, format!("rule `{}` is there already, in line {line}", rule.id));
        }
        let unconditional = rule.when.clauses().is_empty();
        if unconditional && !is_last {
            problems.add(&rule.at, "only the last rule may have no `when`: nothing comes after it");
        }
        if is_last && !(unconditional && matches!(rule.outcome, Outcome::Route(_))) {
            let message =
                "the last rule must be a `route` without `when`: where everything else goes";
            problems.under(Code::NoFallback.id(), |problems| problems.add(&rule.at, message));
        }
        rules.push(rule);
    }
    if nodes.is_empty() {
        problems.add(at, "there must be at least one rule");
    }
    (rules, nodes.len())
}
