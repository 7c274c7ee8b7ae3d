use crate::case::{FIELDS, Field, Type, field_named};
use crate::clause::Schema;
use crate::text::suggestion;

/// A placeholder that is no field of the alert and no fact: its name, its type, a line for people.
#[derive(Debug, PartialEq, Eq)]
pub struct Word {
    pub name: &'static str,
    pub of: Type,
    pub from: From,
    pub about: &'static str,
}

/// Where its value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// In the case, as a JSON pointer.
    Case(&'static str),
    /// Each member of a list of the case, in words.
    Told(Told),
    Delivery(Delivery),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    Because,
    Blocked,
    Facts,
    Missing,
    Repair,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    Key,
    Sink,
    To,
    Found,
    Reference,
}

macro_rules! words {
    ($($name:literal $of:ident $from:expr, $about:literal;)*) => {
        /// What a sink may name beside the alert's fields (`nhi.id`) and the facts (`owner.team`).
        pub static WORDS: &[Word] =
            &[$(Word { name: $name, of: Type::$of, from: $from, about: $about },)*];
    };
}

words! {
    "case.id" Text From::Case("/case_id"), "the case; the same for all of its revisions";
    "case.revision" Int From::Case("/case_revision"), "from 1, one more each time the case is told again";
    "case.state" Text From::Case("/state"), "`new`, `escalated`, `held`, `moved` (in the queue that it left), or what people ordered: `acknowledged`, `excepted`, `risk_closed`, `finding_closed`, `closed`, `reopened`";
    "case.changed" List From::Case("/changed"), "what is new since the revision before";
    "case.summary" Text From::Case("/summary"), "one sentence: what, where, about whom, why it is here";
    "case.queue" Text From::Case("/queue"), "the queue it is in now";
    "case.priority" Text From::Case("/priority"), "`low`, `medium`, `high` or `critical`";
    "case.reason" Text From::Case("/reason"), "the ruling's reason code";
    "case.playbook" Text From::Case("/playbook"), "the playbook that ruled";
    "case.rule" Text From::Case("/rule"), "its rule";
    "case.count" Int From::Case("/count"), "alerts of the case so far";
    "case.first_seen" Time From::Case("/first_seen"), "when the first came";
    "case.last_seen" Time From::Case("/last_seen"), "when the last came";
    "case.ack_by" Time From::Case("/ack_by"), "until when somebody should have taken it";
    "case.held_until" Time From::Case("/held_until"), "until when it is held for facts";
    "case.action" Text From::Case("/escalation/action"), "the containment that was ruled, if one was";
    "case.target" Text From::Case("/escalation/target"), "what that acts on";
    "case.because" List From::Told(Told::Because), "each condition that the ruling rests on";
    "case.blocked" List From::Told(Told::Blocked), "each action that the boundary refused, and why";
    "case.facts" List From::Told(Told::Facts), "each fact that is known, with its source and time";
    "case.missing" List From::Told(Told::Missing), "each fact that is not known, and why";
    "case.repair" List From::Told(Told::Repair), "what to mend so that the alert can be ruled again";
    "case.related" List From::Case("/related_cases"), "cases that may be about the same";
    "case.alert_id" Text From::Case("/alert_ids/0"), "an alert of it, for `tipstaff why`";
    "case.correlation_id" Text From::Case("/correlation_id"), "of the alert, its case and its trace";
    "record.chain" Text From::Case("/record/chain"), "the chain with the ruling's record";
    "record.seq" Int From::Case("/record/seq"), "its number there";
    "record.hash" Text From::Case("/record/hash"), "its hash";
    "delivery.key" Text From::Delivery(Delivery::Key), "`<case id>/<revision>`: the same however often it is tried";
    "delivery.sink" Text From::Delivery(Delivery::Sink), "this sink's name";
    "delivery.to" Text From::Delivery(Delivery::To), "what `to` gives";
    "delivery.found" Text From::Delivery(Delivery::Found), "what `find` or an earlier reply gave for this case";
    "delivery.reference" Text From::Delivery(Delivery::Reference), "`<case id>/<revision>/<identity>`: what a callback gives back";
}

/// The whole case, as it is on its topic; stands alone.
pub const WHOLE: &str = "case";

/// What stands in braces, found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Placeholder {
    Word(&'static Word),
    Alert(Field),
    Fact { enricher: Box<str>, field: Box<str>, of: Type },
}

impl Placeholder {
    /// Errors: one sentence for people.
    pub(super) fn named(name: &str, schema: &Schema) -> Result<Self, String> {
        if let Some(word) = WORDS.iter().find(|word| word.name == name) {
            return Ok(Self::Word(word));
        }
        if let Some(field) = field_named(name) {
            return Ok(Self::Alert(field));
        }
        if let (Some((_, of)), Some((enricher, field))) = (schema.fact(name), name.split_once('.'))
        {
            return Ok(Self::Fact { enricher: enricher.into(), field: field.into(), of });
        }
        let mut known: Vec<String> = WORDS.iter().map(|word| word.name.to_owned()).collect();
        known.extend(FIELDS.iter().map(|info| info.path.to_owned()));
        for shape in &schema.enrichers {
            known.extend(shape.provides.iter().map(|(field, _)| format!("{}.{field}", shape.name)));
        }
        let hint = suggestion(name, known.iter().map(String::as_str));
        Err(format!("a case has no `{name}`{hint}"))
    }

    /// What has to come back as it went out, and so is never escaped.
    pub fn is_reference(&self) -> bool {
        matches!(self, Self::Word(word) if word.from == From::Delivery(Delivery::Reference))
    }

    pub fn of(&self) -> Type {
        match self {
            Self::Word(word) => word.of,
            Self::Alert(field) => field.of(),
            Self::Fact { of, .. } => *of,
        }
    }

    pub fn name(&self) -> String {
        match self {
            Self::Word(word) => word.name.to_owned(),
            Self::Alert(field) => field.path().to_owned(),
            Self::Fact { enricher, field, .. } => format!("{enricher}.{field}"),
        }
    }
}
