use crate::case::{Decimal, Type, Value};
use crate::text::{At, Problems, Written};

use super::eval::{Op, STACK_MAX, Test, TextTest};
use super::operand::Operand;
use super::parse::{Expr, Infix, Node, parse};
use super::table::{OPERATORS, Relation, Right, Sign};
use super::{Clause, Mistake, Name, OPS_MAX, Schema, Slot, TEXT_BYTES_MAX, lex};

/// Reads, types and compiles one condition. `at` is where its first character stands.
///
/// Errors: every mistake becomes a problem at its own column, and nothing is returned.
pub fn compile(text: &str, at: &At, schema: &Schema, problems: &mut Problems) -> Option<Clause> {
    compile_as(text, &Written::plain(at), false, schema, problems)
}

/// `negated` compiles `!(text)`, so that a `not:` around a clause reaches its leaves.
pub(super) fn compile_as(
    text: &str,
    written: &Written,
    negated: bool,
    schema: &Schema,
    problems: &mut Problems,
) -> Option<Clause> {
    let start = written.at(0);
    let mut check = Check {
        schema,
        start: &start,
        problems,
        mistakes: Vec::new(),
        ops: Vec::new(),
        names: Vec::new(),
    };
    if let Some(expr) = read(text, &mut check.mistakes) {
        check.truth(&expr, negated);
        check.limits(text);
    }
    let Check { mistakes, ops, names, problems, .. } = check;
    for mistake in &mistakes {
        let (from, to) = (written.at(mistake.at), written.at(mistake.end));
        let is_one_line = from.line == to.line && from.column < to.column;
        let width = usize::try_from(to.column.saturating_sub(from.column)).unwrap_or(1);
        let chars = if is_one_line { width } else { mistake.end.saturating_sub(mistake.at) };
        problems.add_long(&from, chars, mistake.message.as_str());
    }
    let names = names.into_iter().map(|(offset, name)| Name { at: written.at(offset), ..name });
    let names = names.collect();
    let text = if negated { format!("!({text})") } else { text.to_owned() };
    let clause = Clause { text: text.into(), at: start, ops: ops.into(), names };
    mistakes.is_empty().then_some(clause)
}

fn read(text: &str, mistakes: &mut Vec<Mistake>) -> Option<Expr> {
    if text.len() > TEXT_BYTES_MAX {
        let message = format!("the condition is longer than {TEXT_BYTES_MAX} bytes");
        mistakes.push(Mistake::new(0, 1, message));
        return None;
    }
    let tokens = lex::tokens(text, mistakes)?;
    let end = tokens.last().map_or(0, |placed| placed.end);
    parse(&tokens, end).map_err(|mistake| mistakes.push(mistake)).ok()
}

pub(super) struct Check<'c> {
    pub schema: &'c Schema,
    pub start: &'c At,
    pub problems: &'c mut Problems,
    mistakes: Vec<Mistake>,
    ops: Vec<Op>,
    names: Vec<(usize, Name)>,
}

impl Check<'_> {
    pub fn mistake(&mut self, at: &Expr, message: impl Into<String>) {
        self.mistakes.push(Mistake::new(at.at, at.end, message));
    }

    fn limits(&mut self, text: &str) {
        if !self.mistakes.is_empty() {
            return;
        }
        let mut refuse = |message: String| {
            self.mistakes.push(Mistake::new(0, text.chars().count(), message));
        };
        if self.names.is_empty() {
            refuse("the condition names nothing of the alert or its facts".to_owned());
        }
        let is_part = |op: &&Op| matches!(op, Op::Leaf { .. } | Op::And | Op::Or);
        if self.ops.iter().filter(is_part).count() > OPS_MAX {
            refuse(format!("the condition has more than {OPS_MAX} parts"));
        }
        let mut waiting = 0_usize;
        let mut waiting_max = 0;
        for op in &self.ops {
            waiting = match op {
                Op::Leaf { .. } => waiting + 1,
                Op::UnlessFalse(_) | Op::UnlessTrue(_) => waiting,
                Op::And | Op::Or => waiting.saturating_sub(1),
            };
            waiting_max = waiting_max.max(waiting);
        }
        if waiting_max > STACK_MAX {
            refuse("the condition nests too many alternatives".to_owned());
        }
    }

    pub fn leaf(&mut self, test: Test, negated: bool) {
        self.ops.push(Op::Leaf { test, negated });
    }

    /// Compiles what must be true or false; negation moves down to the leaves.
    fn truth(&mut self, expr: &Expr, negated: bool) {
        match &expr.node {
            Node::Not(of) => self.truth(of, !negated),
            Node::And(items) => self.join(items, negated, if negated { &Op::Or } else { &Op::And }),
            Node::Or(items) => self.join(items, negated, if negated { &Op::And } else { &Op::Or }),
            Node::Bool(value) => self.leaf(Test::Constant(*value), negated),
            Node::Binary(left, infix, right) => self.binary(expr, (left, *infix, right), negated),
            Node::Name(path) => {
                let Some((slot, of)) = self.name(expr, path) else { return };
                if of == Type::Bool {
                    self.leaf(Test::Is(slot), negated);
                } else {
                    let message =
                        format!("`{path}` is {}, not true or false: compare it", of.name());
                    self.mistake(expr, message);
                }
            }
            Node::Call { name, is_method, arguments } => {
                let Some((function, given)) = self.call(expr, name, *is_method, arguments) else {
                    return;
                };
                if function.gives.is_some() {
                    let message = format!("{name}(…) is not true or false: compare it");
                    return self.mistake(expr, message);
                }
                if let Some(test) = self.test(function.what, given) {
                    self.leaf(test, negated);
                }
            }
            Node::Text(_) | Node::Int(_) | Node::Decimal(_) | Node::List(_) => {
                self.mistake(expr, "must be true or false: compare it with something");
            }
        }
    }

    fn join(&mut self, items: &[Expr], negated: bool, op: &Op) {
        let unless = if let Op::And = op { Op::UnlessFalse } else { Op::UnlessTrue };
        for (index, item) in items.iter().enumerate() {
            if index == 0 {
                self.truth(item, negated);
                continue;
            }
            let before = self.ops.len();
            self.ops.push(unless(0));
            self.truth(item, negated);
            self.ops.push(op.clone());
            let over = self.ops.len() - before - 1;
            if let Some(passed) = self.ops.get_mut(before) {
                *passed = unless(over);
            }
        }
    }

    pub fn name(&mut self, at: &Expr, path: &str) -> Option<(Slot, Type)> {
        let Some((slot, of)) = self.schema.name(path) else {
            let message = self.schema.unknown_name(path);
            self.mistake(at, message);
            return None;
        };
        if self.names.iter().all(|(_, known)| known.slot != slot) {
            self.names.push((at.at, Name { path: path.into(), slot, at: self.start.clone() }));
        }
        Some((slot, of))
    }

    fn binary(&mut self, whole: &Expr, (left, infix, right): (&Expr, Infix, &Expr), negated: bool) {
        match infix.operator.sign {
            Sign::Relation(relation) => self.compare(left, (infix, relation), right, negated),
            Sign::In => self.within(left, infix, right, negated),
            Sign::Plus | Sign::Minus => {
                if self.operand(whole).is_some() {
                    self.mistake(whole, "is not true or false: compare it");
                }
            }
            Sign::Or | Sign::And | Sign::Not => {}
        }
    }

    fn compare(
        &mut self,
        left: &Expr,
        (infix, relation): (Infix, Relation),
        right: &Expr,
        negated: bool,
    ) {
        let (Some((value, of)), Some((other, other_of))) =
            (self.operand(left), self.operand(right))
        else {
            return;
        };
        if infix.operator.row(of, Right::Value(other_of)).is_none() {
            return self.unfit((left, of), infix, (right, other_of));
        }
        let test = match (value, relation, other) {
            (value, Relation::Equal, Operand::Literal(Value::Text(text))) => {
                Test::Text(value, TextTest::Is(text.into()))
            }
            (value, Relation::NotEqual, Operand::Literal(Value::Text(text))) => {
                Test::Text(value, TextTest::Not(Box::new(TextTest::Is(text.into()))))
            }
            (value, _, other) => Test::Compare(value, relation, other),
        };
        self.leaf(test, negated);
    }

    /// Says why an operator can't stand between two types.
    fn unfit(&mut self, left: (&Expr, Type), infix: Infix, right: (&Expr, Type)) {
        let ((left, of), (right, other)) = (left, right);
        let symbol = infix.operator.symbol;
        if of == Type::List || other == Type::List {
            let list = if of == Type::List { left } else { right };
            let message = "a list can't be compared: use `in`, size(…) or .exists(x, …)";
            return self.mistake(list, message);
        }
        let is_equal = OPERATORS.iter().any(|operator| {
            operator.sign == Sign::Relation(Relation::Equal)
                && operator.row(of, Right::Value(other)).is_some()
        });
        if infix.operator.takes.iter().any(|row| row.gives.is_some()) {
            let message = format!(
                "`{symbol}` calculates with times and durations, not {} and {}",
                of.name(),
                other.name()
            );
            self.mistakes.push(Mistake::new(infix.at, infix.at + symbol.len(), message));
        } else if is_equal {
            let message = format!("{} has no order: use `==` or `in […]`", of.name());
            self.mistake(left, message);
        } else {
            let message = unlike(of, other, &right.node);
            self.mistake(right, message);
        }
    }

    fn within(&mut self, of: &Expr, infix: Infix, list: &Expr, negated: bool) {
        let found = self.operand(of);
        let items = match &list.node {
            Node::List(items) => items,
            Node::Name(_) => {
                let Some(named) = self.operand(list) else { return };
                return self.within_named(of, found, infix, (list, named), negated);
            }
            _ => return self.mistake(list, NO_LIST),
        };
        let Some((value, of_type)) = found else { return };
        if infix.operator.row(of_type, Right::Items(of_type)).is_none() {
            let message = format!("{} is in no list: compare it", of_type.name());
            return self.mistake(of, message);
        }
        let Some(values) = self.items(of_type, items) else { return };
        let texts = values.iter().map(|value| value.text().map(Box::from));
        let test = match texts.collect::<Option<Vec<Box<str>>>>() {
            Some(texts) if of_type == Type::Text => Test::Text(value, TextTest::In(texts.into())),
            _ => Test::In(value, values.into()),
        };
        self.leaf(test, negated);
    }

    fn within_named(
        &mut self,
        of: &Expr,
        found: Option<(Operand, Type)>,
        infix: Infix,
        (list, (list_value, list_type)): (&Expr, (Operand, Type)),
        negated: bool,
    ) {
        if list_type != Type::List {
            return self.mistake(list, NO_LIST);
        }
        let Some((value, of_type)) = found else { return };
        if infix.operator.row(of_type, Right::Value(list_type)).is_none() {
            let message = format!("a list of texts holds no {}", of_type.name());
            return self.mistake(of, message);
        }
        self.leaf(Test::InList(value, list_value), negated);
    }

    /// The values of a list in brackets, all of one type.
    pub fn items(&mut self, of: Type, items: &[Expr]) -> Option<Vec<Value<'static>>> {
        let mut values = Vec::new();
        for item in items {
            match self.operand(item) {
                Some((Operand::Literal(Value::Int(value)), _)) if of == Type::Decimal => {
                    values.push(Value::Decimal(Decimal::from(value)));
                }
                Some((Operand::Literal(value), item_of)) if item_of == of => values.push(value),
                Some((Operand::Literal(_), item_of)) => {
                    let message = unlike(of, item_of, &item.node);
                    self.mistake(item, message);
                }
                Some(_) => self.mistake(item, "a list holds values, not names"),
                None => {}
            }
        }
        (values.len() == items.len()).then_some(values)
    }

    /// Compiles what is compared: a name, a value, a calculation, or a call that gives one.
    pub fn operand(&mut self, expr: &Expr) -> Option<(Operand, Type)> {
        let literal = |value, of| Some((Operand::Literal(value), of));
        match &expr.node {
            Node::Text(text) => literal(Value::Text(text.clone().into()), Type::Text),
            Node::Int(value) => literal(Value::Int(*value), Type::Int),
            Node::Decimal(value) => literal(Value::Decimal(*value), Type::Decimal),
            Node::Bool(value) => literal(Value::Bool(*value), Type::Bool),
            Node::Name(path) => self.name(expr, path).map(|(slot, of)| (Operand::Slot(slot), of)),
            Node::Call { name, is_method, arguments } => {
                let (function, given) = self.call(expr, name, *is_method, arguments)?;
                if let Some(gives) = function.gives {
                    return self.value(function.what, given).map(|operand| (operand, gives));
                }
                self.mistake(expr, "compare names and values; join conditions with && and ||");
                None
            }
            Node::Binary(left, infix, right)
                if matches!(infix.operator.sign, Sign::Plus | Sign::Minus) =>
            {
                self.calculation(left, *infix, right)
            }
            Node::List(_) => {
                self.mistake(expr, "a list can only stand after `in`");
                None
            }
            Node::Not(_) => {
                self.mistake(expr, "`!` binds tighter than a comparison: write !(…) around it");
                None
            }
            Node::Or(_) | Node::And(_) | Node::Binary(..) => {
                self.mistake(expr, "compare names and values; join conditions with && and ||");
                None
            }
        }
    }

    fn calculation(&mut self, left: &Expr, infix: Infix, right: &Expr) -> Option<(Operand, Type)> {
        let (value, other) = (self.operand(left), self.operand(right));
        let ((value, of), (other, other_of)) = (value?, other?);
        let row = infix.operator.row(of, Right::Value(other_of));
        let Some(gives) = row.and_then(|row| row.gives) else {
            self.unfit((left, of), infix, (right, other_of));
            return None;
        };
        let calculated = match (infix.operator.sign, value, other) {
            (Sign::Plus, value, other) => Operand::Plus(Box::new((value, other))),
            (_, Operand::Slot(Slot::Now), Operand::Slot(slot)) if other_of == Type::Time => {
                Operand::Age(slot)
            }
            (_, value, other) => Operand::Minus(Box::new((value, other))),
        };
        Some((calculated, gives))
    }
}

const NO_LIST: &str = "`in` needs a list of values: [\"a\", \"b\"]";

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
        (Type::Text, Node::Decimal(value)) => message.push_str(&format!(": write \"{value}\"")),
        (Type::Text, Node::Bool(value)) => message.push_str(&format!(": write \"{value}\"")),
        _ => {}
    }
    message
}
