use ipnet::IpNet;
use memchr::memmem::Finder;

use crate::case::{Millis, Type, Value, Why, parse_duration};
use crate::pattern::Expression;
use crate::text::suggestion;

use super::check::Check;
use super::eval::{Test, TextTest};
use super::operand::Operand;
use super::parse::{Expr, Node};
use super::table::{Function, Relation, Sign, Takes, What};
use super::{PATTERNS_MAX, Slot};

/// An argument as the table wants it.
pub(super) enum Given<'e> {
    Name(Slot),
    Value(Operand),
    Text(&'e str, &'e Expr),
    Variable(&'e str),
    Test(&'e Expr),
}

/// The pattern behind `matches`, in words for everything that can be wrong with one.
enum Unfit {
    TooLarge,
    TooMany,
    NoPattern,
}

impl Check<'_> {
    /// Finds a function and reads its arguments as the table has them.
    pub fn call<'e>(
        &mut self,
        whole: &Expr,
        name: &str,
        is_method: bool,
        arguments: &'e [Expr],
    ) -> Option<(&'static Function, Vec<Given<'e>>)> {
        let Some(function) = Function::find(name, is_method) else {
            self.unknown_function(whole, name, is_method);
            return None;
        };
        if !function.arity().contains(&arguments.len()) {
            self.mistake(whole, format!("write {}", function.usage()));
            return None;
        }
        let mut given = Vec::new();
        for (takes, argument) in function.takes.iter().zip(arguments) {
            given.push(self.argument(whole, function, takes, argument));
        }
        let given: Option<Vec<Given<'e>>> = given.into_iter().collect();
        given.map(|given| (function, given))
    }

    fn argument<'e>(
        &mut self,
        whole: &Expr,
        function: &Function,
        takes: &Takes,
        argument: &'e Expr,
    ) -> Option<Given<'e>> {
        match (takes, &argument.node) {
            (Takes::Name, Node::Name(path)) => {
                self.name(argument, path).map(|(slot, _)| Given::Name(slot))
            }
            (Takes::Fact, Node::Name(path)) => match self.name(argument, path)? {
                (slot, _) if slot.can_be_unknown() => Some(Given::Name(slot)),
                _ => {
                    let message = format!(
                        "only a fact, a window or a counter is ever unknown: write !has({path})"
                    );
                    self.mistake(argument, message);
                    None
                }
            },
            (Takes::Literal(_) | Takes::Cause, Node::Text(text)) => {
                Some(Given::Text(text, argument))
            }
            (Takes::Variable, Node::Name(name)) if !name.contains('.') => {
                Some(Given::Variable(name))
            }
            (Takes::TestOfIt, _) => Some(Given::Test(argument)),
            (Takes::Value(types), node) => {
                let (value, of) = self.operand(argument)?;
                if types.contains(&of) {
                    return Some(Given::Value(value));
                }
                let this = match node {
                    Node::Name(path) => format!("`{path}`"),
                    _ => "this".to_owned(),
                };
                let needed: Vec<&str> = types.iter().map(|of| with_article(*of)).collect();
                let (name, needed) = (function.name, needed.join(" or "));
                let message = format!("{name}() needs {needed}, and {this} is {}", of.name());
                self.mistake(argument, message);
                None
            }
            (Takes::Name | Takes::Fact | Takes::Cause | Takes::Literal(_) | Takes::Variable, _) => {
                self.mistake(whole, format!("write {}", function.usage()));
                None
            }
        }
    }

    fn unknown_function(&mut self, whole: &Expr, name: &str, is_method: bool) {
        let kind = if is_method { "method" } else { "function" };
        let message = match Function::find(name, !is_method) {
            Some(other) => format!("`{name}` is no {kind}: write {}", other.usage()),
            None => {
                let hint = suggestion(name, Function::names(is_method));
                format!("unknown {kind} `{name}`{hint}")
            }
        };
        self.mistake(whole, message);
    }

    /// Builds what gives true or false.
    pub fn test(&mut self, what: What, given: Vec<Given<'_>>) -> Option<Test> {
        let mut given = given.into_iter();
        match (what, given.next()?, given.next(), given.next()) {
            (What::Has, Given::Name(slot), ..) => Some(Test::Has(slot)),
            (What::Unknown, Given::Name(slot), None, _) => Some(Test::Unknown(slot, None)),
            (What::Unknown, Given::Name(slot), Some(Given::Text(text, at)), _) => {
                self.cause(text, at).map(|why| Test::Unknown(slot, Some(why)))
            }
            (What::Cidr, Given::Value(of), Some(Given::Text(text, at)), _) => {
                match text.parse::<IpNet>() {
                    Ok(network) => Some(Test::Cidr(of, network)),
                    Err(_) => self.not_a(What::Cidr, at),
                }
            }
            (
                What::Exists,
                Given::Value(of),
                Some(Given::Variable(name)),
                Some(Given::Test(test)),
            ) => {
                let test = self.element(name, test)?;
                Some(Test::Exists(of, test))
            }
            (_, Given::Value(of), Some(Given::Text(text, at)), _) => {
                let test = self.text_test(what, text, at)?;
                Some(Test::Text(of, test))
            }
            _ => None,
        }
    }

    fn cause(&mut self, text: &str, at: &Expr) -> Option<Why> {
        let why = Why::OF_FACTS.into_iter().find(|why| why.code() == text);
        if why.is_none() {
            let all = Why::OF_FACTS.map(Why::code).join(", ");
            self.mistake(at, format!("unknown cause `{text}`: one of {all}"));
        }
        why
    }

    /// Builds what gives a value.
    pub fn value(&mut self, what: What, given: Vec<Given<'_>>) -> Option<Operand> {
        match (what, given.into_iter().next()?) {
            (What::Age, Given::Value(Operand::Slot(slot))) => Some(Operand::Age(slot)),
            (What::Age, Given::Value(of)) => {
                Some(Operand::Minus(Box::new((Operand::Slot(Slot::Now), of))))
            }
            (What::Size, Given::Value(of)) => Some(Operand::Size(Box::new(of))),
            (What::Duration, Given::Text(text, at)) => match parse_duration(text) {
                Some(value) => Some(Operand::Literal(Value::Duration(value))),
                None => self.not_a(what, at),
            },
            (What::Timestamp, Given::Text(text, at)) => match Millis::parse(text) {
                Some(value) => Some(Operand::Literal(Value::Time(value))),
                None => self.not_a(what, at),
            },
            _ => None,
        }
    }

    /// Says what the text of a call must be, in the words of the table.
    fn not_a<T>(&mut self, what: What, at: &Expr) -> Option<T> {
        let function = super::table::FUNCTIONS.iter().find(|function| function.what == what)?;
        let literal = function.takes.iter().find_map(|takes| match takes {
            Takes::Literal(what) => Some(*what),
            _ => None,
        });
        self.mistake(at, format!("not {}", literal.unwrap_or("what stands here")));
        None
    }

    fn text_test(&mut self, what: What, part: &str, at: &Expr) -> Option<TextTest> {
        match what {
            What::StartsWith => Some(TextTest::StartsWith(part.into())),
            What::EndsWith => Some(TextTest::EndsWith(part.into())),
            What::Contains => Some(TextTest::Contains(Box::new(Finder::new(part).into_owned()))),
            What::Matches => match self.pattern(part) {
                Ok(pattern) => Some(TextTest::Matches(pattern)),
                Err(Unfit::NoPattern) => self.not_a(what, at),
                Err(Unfit::TooLarge) => {
                    self.mistake(at, "the pattern is too large");
                    None
                }
                Err(Unfit::TooMany) => {
                    let message = format!("more than {PATTERNS_MAX} patterns in one file");
                    self.mistake(at, message);
                    None
                }
            },
            _ => None,
        }
    }

    fn pattern(&mut self, text: &str) -> Result<Expression, Unfit> {
        if !self.problems.spend(&self.start.path, "patterns", PATTERNS_MAX) {
            return Err(Unfit::TooMany);
        }
        Expression::compile(text).map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => Unfit::TooLarge,
            _ => Unfit::NoPattern,
        })
    }

    /// What `exists` asks about each item, which is a text called `name`.
    fn element(&mut self, name: &str, test: &Expr) -> Option<TextTest> {
        let is_it = |expr: &Expr| matches!(&expr.node, Node::Name(other) if other == name);
        match &test.node {
            Node::Not(of) => self.element(name, of).map(|of| TextTest::Not(Box::new(of))),
            Node::Or(items) => self.elements(name, items).map(TextTest::Any),
            Node::And(items) => self.elements(name, items).map(TextTest::All),
            Node::Binary(left, infix, right) if is_it(left) => {
                match (infix.operator.sign, &right.node) {
                    (Sign::Relation(Relation::Equal), Node::Text(text)) => {
                        Some(TextTest::Is(text.as_str().into()))
                    }
                    (Sign::Relation(Relation::NotEqual), Node::Text(text)) => {
                        Some(TextTest::Not(Box::new(TextTest::Is(text.as_str().into()))))
                    }
                    (Sign::In, Node::List(items)) => {
                        let values = self.items(Type::Text, items)?;
                        let texts = values.iter().filter_map(|value| value.text().map(Box::from));
                        Some(TextTest::In(texts.collect()))
                    }
                    _ => self.no_test_of(name, test),
                }
            }
            Node::Call { name: method, is_method: true, arguments } => {
                let function = Function::find(method, true);
                match (function, arguments.as_slice()) {
                    (None, _) => {
                        self.unknown_function(test, method, true);
                        None
                    }
                    (Some(function), [of, Expr { node: Node::Text(part), .. }]) if is_it(of) => {
                        let part_at = arguments.get(1)?;
                        self.text_test(function.what, part, part_at)
                    }
                    _ => self.no_test_of(name, test),
                }
            }
            _ => self.no_test_of(name, test),
        }
    }

    fn elements(&mut self, name: &str, items: &[Expr]) -> Option<Box<[TextTest]>> {
        let tests: Vec<Option<TextTest>> =
            items.iter().map(|item| self.element(name, item)).collect();
        tests.into_iter().collect()
    }

    fn no_test_of<T>(&mut self, name: &str, at: &Expr) -> Option<T> {
        let message = format!(
            "each item is asked about by itself: `{name}` with ==, !=, `in […]`, or a method of a text"
        );
        self.mistake(at, message);
        None
    }
}

fn with_article(of: Type) -> &'static str {
    match of {
        Type::Bool => "true or false",
        Type::Int => "an int",
        Type::Decimal => "a decimal",
        Type::Time => "a time",
        Type::Duration => "a duration",
        Type::Text => "text",
        Type::List => "a list",
    }
}
