use ipnet::IpNet;
use regex::RegexBuilder;

use crate::case::{Millis, Type, Value, Why, parse_duration};
use crate::text::{At, Problems, suggestion};

use super::eval::{Op, Operand, STACK_MAX, Test};
use super::parse::{Expr, Node, Relation, parse};
use super::{Clause, Mistake, Name, OPS_MAX, Schema, Slot, TEXT_BYTES_MAX, lex};

/// Bounds the memory of one compiled pattern.
const PATTERN_BYTES_MAX: usize = 256 * 1024;
const FUNCTIONS: [&str; 6] = ["has", "unknown", "age", "cidr", "duration", "timestamp"];
const METHODS: [&str; 4] = ["startsWith", "endsWith", "contains", "matches"];

/// Reads, types and compiles one condition. `at` is where its first character stands.
///
/// Errors: every mistake becomes a problem at its own column, and nothing is returned.
pub fn compile(text: &str, at: &At, schema: &Schema, problems: &mut Problems) -> Option<Clause> {
    compile_as(text, at, false, schema, problems)
}

/// `negated` compiles `!(text)`, so that a `not:` around a clause reaches its leaves.
pub(super) fn compile_as(
    text: &str,
    at: &At,
    negated: bool,
    schema: &Schema,
    problems: &mut Problems,
) -> Option<Clause> {
    let mut check = Check { at, schema, mistakes: Vec::new(), ops: Vec::new(), names: Vec::new() };
    match read(text) {
        Ok(expr) => check.truth(&expr, negated),
        Err(mistake) => check.mistakes.push(mistake),
    }
    check.limits();
    let Check { mistakes, ops, names, .. } = check;
    for mistake in &mistakes {
        problems.add(&place(at, text, mistake.at), mistake.message.as_str());
    }
    let names =
        names.into_iter().map(|(offset, name)| Name { at: place(at, text, offset), ..name });
    let names = names.collect();
    let text = if negated { format!("!({text})") } else { text.to_owned() };
    let clause = Clause { text: text.into(), at: at.clone(), ops: ops.into(), names };
    mistakes.is_empty().then_some(clause)
}

fn read(text: &str) -> Result<Expr, Mistake> {
    if text.len() > TEXT_BYTES_MAX {
        let message = format!("the condition is longer than {TEXT_BYTES_MAX} bytes");
        return Err(Mistake::new(0, message));
    }
    parse(&lex::tokens(text)?, text.chars().count())
}

/// Where the character `offset` of a text stands whose first character stands at `at`.
fn place(at: &At, text: &str, offset: usize) -> At {
    let mut place = at.clone();
    for c in text.chars().take(offset) {
        if c == '\n' {
            place.line = place.line.saturating_add(1);
            place.column = at.column;
        } else {
            place.column = place.column.saturating_add(1);
        }
    }
    place
}

struct Check<'c> {
    at: &'c At,
    schema: &'c Schema,
    mistakes: Vec<Mistake>,
    ops: Vec<Op>,
    names: Vec<(usize, Name)>,
}

impl Check<'_> {
    fn mistake(&mut self, at: usize, message: impl Into<String>) {
        self.mistakes.push(Mistake::new(at, message));
    }

    fn limits(&mut self) {
        if !self.mistakes.is_empty() {
            return;
        }
        if self.names.is_empty() {
            self.mistake(0, "the condition names nothing of the alert or its facts");
        }
        if self.ops.len() > OPS_MAX {
            self.mistake(0, format!("the condition has more than {OPS_MAX} parts"));
        }
        let mut waiting = 0_usize;
        let mut waiting_max = 0;
        for op in &self.ops {
            waiting = match op {
                Op::Leaf { .. } => waiting + 1,
                Op::And | Op::Or => waiting.saturating_sub(1),
            };
            waiting_max = waiting_max.max(waiting);
        }
        if waiting_max > STACK_MAX {
            self.mistake(0, "the condition nests too many alternatives");
        }
    }

    fn leaf(&mut self, test: Test, negated: bool) {
        self.ops.push(Op::Leaf { test, negated });
    }

    /// Compiles what must be true or false; negation moves down to the leaves.
    fn truth(&mut self, expr: &Expr, negated: bool) {
        match &expr.node {
            Node::Not(of) => self.truth(of, !negated),
            Node::And(items) => self.join(items, negated, if negated { Op::Or } else { Op::And }),
            Node::Or(items) => self.join(items, negated, if negated { Op::And } else { Op::Or }),
            Node::Bool(value) => self.leaf(Test::Constant(*value), negated),
            Node::Compare(left, relation, right) => self.compare(left, *relation, right, negated),
            Node::In(of, list) => self.within(of, list, negated),
            Node::Name(path) => {
                let Some((slot, of)) = self.name(expr.at, path) else { return };
                if of == Type::Bool {
                    self.leaf(Test::Is(slot), negated);
                } else {
                    let message =
                        format!("`{path}` is {}, not true or false: compare it", of.name());
                    self.mistake(expr.at, message);
                }
            }
            Node::Call { name, arguments } => self.call(expr.at, name, arguments, negated),
            Node::Method { of, name, arguments } => {
                self.method(expr.at, of, name, arguments, negated);
            }
            Node::Text(_) | Node::Int(_) | Node::List(_) => {
                self.mistake(expr.at, "must be true or false: compare it with something");
            }
        }
    }

    fn join(&mut self, items: &[Expr], negated: bool, op: Op) {
        for (index, item) in items.iter().enumerate() {
            self.truth(item, negated);
            if index > 0 {
                self.ops.push(op.clone());
            }
        }
    }

    fn name(&mut self, at: usize, path: &str) -> Option<(Slot, Type)> {
        let Some((slot, of)) = self.schema.find(path) else {
            let message = self.schema.unknown_name(path);
            self.mistake(at, message);
            return None;
        };
        if self.names.iter().all(|(_, known)| known.slot != slot) {
            self.names.push((at, Name { path: path.into(), slot, at: self.at.clone() }));
        }
        Some((slot, of))
    }

    fn compare(&mut self, left: &Expr, relation: Relation, right: &Expr, negated: bool) {
        let (Some((left_value, left_of)), Some((right_value, right_of))) =
            (self.operand(left), self.operand(right))
        else {
            return;
        };
        if left_of != right_of {
            let message = unlike(left_of, right_of, &right.node);
            return self.mistake(right.at, message);
        }
        let ordered = !matches!(relation, Relation::Equal | Relation::NotEqual);
        if ordered && matches!(left_of, Type::Text | Type::Bool) {
            let message = format!("{} has no order: use `==` or `in […]`", left_of.name());
            return self.mistake(left.at, message);
        }
        self.leaf(Test::Compare(left_value, relation, right_value), negated);
    }

    fn within(&mut self, of: &Expr, list: &Expr, negated: bool) {
        let found = self.operand(of);
        let Node::List(items) = &list.node else {
            return self.mistake(list.at, "`in` needs a list of values: [\"a\", \"b\"]");
        };
        let Some((value, of)) = found else { return };
        let mut values = Vec::new();
        for item in items {
            match self.operand(item) {
                Some((Operand::Literal(value), item_of)) if item_of == of => values.push(value),
                Some((Operand::Literal(_), item_of)) => {
                    let message = unlike(of, item_of, &item.node);
                    self.mistake(item.at, message);
                }
                Some(_) => self.mistake(item.at, "a list holds values, not names"),
                None => {}
            }
        }
        self.leaf(Test::In(value, values.into()), negated);
    }

    /// Compiles what is compared: a name, a value, or a call that gives one.
    fn operand(&mut self, expr: &Expr) -> Option<(Operand, Type)> {
        let literal = |value, of| Some((Operand::Literal(value), of));
        match &expr.node {
            Node::Text(text) => literal(Value::Text(text.clone().into()), Type::Text),
            Node::Int(value) => literal(Value::Int(*value), Type::Int),
            Node::Bool(value) => literal(Value::Bool(*value), Type::Bool),
            Node::Name(path) => {
                self.name(expr.at, path).map(|(slot, of)| (Operand::Slot(slot), of))
            }
            Node::Call { name, arguments } => self.value_call(expr.at, name, arguments),
            Node::List(_) => {
                self.mistake(expr.at, "a list can only stand after `in`");
                None
            }
            Node::Or(_)
            | Node::And(_)
            | Node::Not(_)
            | Node::Compare(..)
            | Node::In(..)
            | Node::Method { .. } => {
                self.mistake(expr.at, "compare names and values; join conditions with && and ||");
                None
            }
        }
    }

    fn value_call(&mut self, at: usize, name: &str, arguments: &[Expr]) -> Option<(Operand, Type)> {
        match (name, arguments) {
            ("duration", [Expr { at, node: Node::Text(text) }]) => {
                let value = parse_duration(text);
                if value.is_none() {
                    self.mistake(*at, "not a duration such as \"15m\", \"24h\" or \"30d\"");
                }
                value.map(|value| (Operand::Literal(Value::Duration(value)), Type::Duration))
            }
            ("timestamp", [Expr { at, node: Node::Text(text) }]) => {
                let value = Millis::parse(text);
                if value.is_none() {
                    self.mistake(*at, "not a time such as \"2026-01-31T09:00:00Z\"");
                }
                value.map(|value| (Operand::Literal(Value::Time(value)), Type::Time))
            }
            ("age", [Expr { at, node: Node::Name(path) }]) => {
                let (slot, of) = self.name(*at, path)?;
                if of != Type::Time {
                    self.mistake(*at, format!("age() needs a time, and `{path}` is {}", of.name()));
                    return None;
                }
                Some((Operand::Age(slot), Type::Duration))
            }
            _ => {
                self.wrong_call(at, name);
                None
            }
        }
    }

    fn call(&mut self, at: usize, name: &str, arguments: &[Expr], negated: bool) {
        match (name, arguments) {
            ("has", [Expr { at, node: Node::Name(path) }]) => {
                if let Some((slot, _)) = self.name(*at, path) {
                    self.leaf(Test::Has(slot), negated);
                }
            }
            ("unknown", [Expr { at, node: Node::Name(path) }]) => {
                self.unknown((*at, path), None, negated);
            }
            ("unknown", [Expr { at, node: Node::Name(path) }, why]) => {
                if let Some(why) = self.reason(why) {
                    self.unknown((*at, path), Some(why), negated);
                }
            }
            ("cidr", [of, Expr { at, node: Node::Text(network) }]) => {
                let of = self.text_operand(of);
                match (of, network.parse::<IpNet>()) {
                    (Some(of), Ok(network)) => self.leaf(Test::Cidr(of, network), negated),
                    (_, Err(_)) => self.mistake(*at, "not a network such as \"10.0.0.0/8\""),
                    (None, Ok(_)) => {}
                }
            }
            ("age" | "duration" | "timestamp", _) => {
                self.mistake(at, format!("{name}(…) is not true or false: compare it"));
            }
            _ => self.wrong_call(at, name),
        }
    }

    fn reason(&mut self, expr: &Expr) -> Option<Why> {
        let Node::Text(text) = &expr.node else {
            self.wrong_call(expr.at, "unknown");
            return None;
        };
        let why = Why::OF_FACTS.into_iter().find(|why| why.code() == text);
        if why.is_none() {
            let all = Why::OF_FACTS.map(Why::code).join(", ");
            self.mistake(expr.at, format!("unknown cause `{text}`: one of {all}"));
        }
        why
    }

    fn unknown(&mut self, (at, path): (usize, &str), why: Option<Why>, negated: bool) {
        match self.name(at, path) {
            Some((slot @ Slot::Fact { .. }, _)) => self.leaf(Test::Unknown(slot, why), negated),
            Some(_) => {
                let message = format!("only a fact is ever unknown: write !has({path})");
                self.mistake(at, message);
            }
            None => {}
        }
    }

    fn wrong_call(&mut self, at: usize, name: &str) {
        let message = match name {
            "has" => "write has(name)".to_owned(),
            "unknown" => "write unknown(fact) or unknown(fact, \"stale\")".to_owned(),
            "age" => "write age(name of a time)".to_owned(),
            "cidr" => "write cidr(name, \"10.0.0.0/8\")".to_owned(),
            "duration" => "write duration(\"15m\")".to_owned(),
            "timestamp" => "write timestamp(\"2026-01-31T09:00:00Z\")".to_owned(),
            "not" => "unknown function `not`, did you mean `!`?".to_owned(),
            _ => format!("unknown function `{name}`{}", suggestion(name, FUNCTIONS.into_iter())),
        };
        self.mistake(at, message);
    }

    fn text_operand(&mut self, expr: &Expr) -> Option<Operand> {
        let (operand, of) = self.operand(expr)?;
        if of == Type::Text {
            return Some(operand);
        }
        self.mistake(expr.at, format!("must be text, and this is {}", of.name()));
        None
    }

    fn method(&mut self, at: usize, of: &Expr, name: &str, arguments: &[Expr], negated: bool) {
        if !METHODS.contains(&name) {
            let hint = suggestion(name, METHODS.into_iter());
            return self.mistake(at, format!("unknown method `{name}`{hint}"));
        }
        let [Expr { at: part_at, node: Node::Text(part) }] = arguments else {
            return self.mistake(at, format!("write .{name}(\"text\")"));
        };
        let Some(of) = self.text_operand(of) else { return };
        let test = match name {
            "startsWith" => Test::StartsWith(of, part.as_str().into()),
            "endsWith" => Test::EndsWith(of, part.as_str().into()),
            "contains" => Test::Contains(of, part.as_str().into()),
            _ => match RegexBuilder::new(part).size_limit(PATTERN_BYTES_MAX).build() {
                Ok(pattern) => Test::Matches(of, pattern),
                Err(regex::Error::CompiledTooBig(_)) => {
                    return self.mistake(*part_at, "the pattern is too large");
                }
                Err(_) => return self.mistake(*part_at, "not a pattern that can be matched"),
            },
        };
        self.leaf(test, negated);
    }
}

/// Why two types can't be compared, with the call that is missing when a text stands for one.
fn unlike(left: Type, right: Type, right_node: &Node) -> String {
    let mut message = format!("{} can't be compared with {}", left.name(), right.name());
    match (left, right_node) {
        (Type::Time, Node::Text(text)) => {
            message.push_str(&format!(": write timestamp(\"{text}\")"));
        }
        (Type::Duration, Node::Text(text)) => {
            message.push_str(&format!(": write duration(\"{text}\")"));
        }
        (Type::Text, Node::Int(value)) => message.push_str(&format!(": write \"{value}\"")),
        (Type::Text, Node::Bool(value)) => message.push_str(&format!(": write \"{value}\"")),
        _ => {}
    }
    message
}
