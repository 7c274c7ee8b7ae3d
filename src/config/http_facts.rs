use super::http::{Pattern, plain, template};
use super::reply_path::ReplyPath;
use super::template::{Names, Template};
use crate::case::{Type, Value};
use crate::text::{At, Data, Fields, Node, Problems, suggestion};

/// How one field is made of the replies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HttpFact {
    Always(Value<'static>),
    At(FactAt),
    /// Whether more time than `than` has passed since what stands at `since`; absent without one
    /// of them.
    Older {
        since: Place,
        than: Place,
    },
    /// SHA-256 of all that stands there as JSON with sorted names, lists of plain values sorted.
    Digest(Vec<Place>),
    /// The first whose test holds.
    Cases(Vec<Case>),
}

/// Something that stands in a reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Its number.
    pub call: usize,
    pub path: ReplyPath,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FactAt {
    pub place: Place,
    /// Nothing, null and an empty text are absent; otherwise the reply is not understood.
    pub optional: bool,
    pub how: How,
    /// The first group of it, or all; what does not match is not understood.
    pub like: Option<Pattern>,
    pub table: Vec<(String, String)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum How {
    Plain,
    /// Seconds since 1970.
    Unix,
    Join(String),
    Count,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    /// Nothing: it holds.
    pub test: Option<(Place, Test)>,
    pub give: Value<'static>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Test {
    /// As text; what is not there is neither.
    Is(Template),
    IsNot(Template),
    There(bool),
    /// A time that has come, or is yet to come.
    Past(bool),
}

/// One for each provided field, in order.
pub(super) fn facts_of(
    node: &Node,
    provides: &[(String, Type)],
    names: &Names<'_>,
    problems: &mut Problems,
) -> Option<Vec<HttpFact>> {
    let mut given = Fields::of(node, "`facts`", problems)?;
    let given = given.rest();
    for (name, _) in &given {
        let word = name.text().unwrap_or("?");
        if !provides.iter().any(|(each, _)| each == word) {
            let hint = suggestion(word, provides.iter().map(|(each, _)| each.as_str()));
            problems.add(&name.at, format!("`{word}` is not in `provides`{hint}"));
        }
    }
    let mut facts = Vec::new();
    for (name, of) in provides {
        match given.iter().find(|(each, _)| each.text() == Some(name)) {
            Some((_, node)) => facts.push(fact(node, *of, names, problems)),
            None => problems.add(&node.at, format!("`facts` does not say where `{name}` stands")),
        }
    }
    facts.into_iter().collect()
}

fn fact(node: &Node, of: Type, names: &Names<'_>, problems: &mut Problems) -> Option<HttpFact> {
    if let Data::List(items) = &node.data {
        let cases = items.iter().map(|item| case(item, of, names, problems));
        return cases.collect::<Option<Vec<_>>>().map(HttpFact::Cases);
    }
    let mut fields = Fields::of(node, "a fact", problems)?;
    if let Some(value) = fields.get("value") {
        fields.finish(problems);
        return constant(value, of, problems).map(HttpFact::Always);
    }
    if fields.get("digest").is_some() {
        let digest = digest(&mut fields, of, names, problems);
        fields.finish(problems);
        return digest;
    }
    let place = place(&mut fields, "path", names.calls, problems);
    if fields.get("older_than").is_some() {
        let than = self::place(&mut fields, "older_than", names.calls, problems);
        fields.finish(problems);
        fits(of == Type::Bool, of, &node.at, problems);
        return Some(HttpFact::Older { since: place?, than: than? });
    }
    let optional = fields.bool("optional", problems).unwrap_or(false);
    let how = how(&mut fields, of, problems);
    let like = fields.get("like").and_then(|node| pattern(node, problems));
    let table = fields.get("table").map(|node| table(node, problems)).unwrap_or_default();
    fields.finish(problems);
    let place = place?;
    if place.path.is_many() && how == How::Plain && of != Type::List {
        problems.add(&node.at, "more than one may stand there: say `join` or `count`");
    }
    Some(HttpFact::At(FactAt { place, optional, how, like, table }))
}

fn digest(
    fields: &mut Fields<'_>,
    of: Type,
    names: &Names<'_>,
    problems: &mut Problems,
) -> Option<HttpFact> {
    fits(of == Type::Text, of, &fields.at, problems);
    let paths = fields.texts("digest", problems);
    let places = paths.into_iter().map(|(text, at)| place_of(text, at, names.calls, problems));
    places.collect::<Option<Vec<_>>>().map(HttpFact::Digest)
}

fn fits(does: bool, of: Type, at: &At, problems: &mut Problems) {
    if !does {
        problems.add(at, format!("the field is {}, which that does not give", of.name()));
    }
}

fn place(
    fields: &mut Fields<'_>,
    key: &'static str,
    calls: &[String],
    problems: &mut Problems,
) -> Option<Place> {
    let at = fields.require(key, problems)?.at.clone();
    let text = fields.text(key, problems)?;
    place_of(text, &at, calls, problems)
}

fn place_of(text: &str, at: &At, calls: &[String], problems: &mut Problems) -> Option<Place> {
    let (call, path) = text.split_once('.').unwrap_or((text, ""));
    let Some(number) = calls.iter().position(|each| each == call) else {
        let hint = suggestion(call, calls.iter().map(String::as_str));
        problems.add(at, format!("no call is called `{call}`{hint}"));
        return None;
    };
    let path = ReplyPath::parse(path).map_err(|why| problems.add(at, why)).ok()?;
    Some(Place { call: number, path })
}

fn how(fields: &mut Fields<'_>, of: Type, problems: &mut Problems) -> How {
    let join = fields.text("join", problems).map(|text| How::Join(text.to_owned()));
    let mut flag = |key, how| fields.bool(key, problems).filter(|is| *is).map(|_| how);
    let (unix, count) = (flag("unix", How::Unix), flag("count", How::Count));
    let mut said: Vec<How> = [join, unix, count].into_iter().flatten().collect();
    if said.len() > 1 {
        problems.add(&fields.at, "one of `join`, `unix`, `count`");
    }
    let how = said.pop().unwrap_or(How::Plain);
    let does = match how {
        How::Plain => true,
        How::Unix => of == Type::Time,
        How::Join(_) => of == Type::Text,
        How::Count => of == Type::Int,
    };
    fits(does, of, &fields.at, problems);
    how
}

fn pattern(node: &Node, problems: &mut Problems) -> Option<Pattern> {
    let regex = regex::Regex::new(&format!("^(?:{})$", node.text().unwrap_or_default()));
    if regex.is_err() || node.text().is_none() {
        problems.add(&node.at, "`like` must be a regular expression");
        return None;
    }
    regex.ok().map(Pattern)
}

fn table(node: &Node, problems: &mut Problems) -> Vec<(String, String)> {
    let Some(mut fields) = Fields::of(node, "`table`", problems) else { return Vec::new() };
    let mut text = |node: &Node| {
        let text = plain(node);
        if text.is_none() {
            problems.add(&node.at, format!("`table` is of texts, not of {}", node.kind()));
        }
        text
    };
    let rows = fields.rest().into_iter();
    rows.filter_map(|(from, to)| text(from).zip(text(to))).collect()
}

fn constant(node: &Node, of: Type, problems: &mut Problems) -> Option<Value<'static>> {
    let text = plain(node);
    let value = text.as_deref().and_then(|text| Value::read(of, text)).map(Value::into_owned);
    if value.is_none() {
        problems.add(&node.at, format!("the field is {}", of.name()));
    }
    value
}

fn case(node: &Node, of: Type, names: &Names<'_>, problems: &mut Problems) -> Option<Case> {
    let mut fields = Fields::of(node, "a case", problems)?;
    let give = fields.require("give", problems);
    let give = give.and_then(|node| constant(node, of, problems));
    let place = match fields.get("path") {
        Some(_) => Some(place(&mut fields, "path", names.calls, problems)?),
        None => None,
    };
    let is = fields.get("is").map(|node| template(node, names, problems).map(Test::Is));
    let is_not = fields.get("is_not").map(|node| template(node, names, problems).map(Test::IsNot));
    let there = fields.bool("there", problems).map(Test::There).map(Some);
    let past = fields.bool("past", problems).map(Test::Past).map(Some);
    let mut tests: Vec<Option<Test>> = [is, is_not, there, past].into_iter().flatten().collect();
    let at = fields.at.clone();
    fields.finish(problems);
    let test = match (place, tests.pop(), tests.is_empty()) {
        (Some(place), Some(test), true) => Some((place, test?)),
        (None, None, _) => None,
        _ => {
            let one_of =
                "a case has a `path` and one of `is`, `is_not`, `there`, `past`, or neither";
            problems.add(&at, one_of);
            return None;
        }
    };
    Some(Case { test, give: give? })
}
