use crate::case::Type;
use crate::case::Type::{Bool, Decimal, Duration, Int, List, Text, Time};

use super::gaps::Gaps;

/// Everything that a condition can be made of, once: the lexer takes its symbols from here, the
/// parser how tightly they bind, the checker what they take and give, the reference page all of it.
pub(super) static OPERATORS: [Operator; 12] = [
    joining(
        "||",
        Sign::Or,
        1,
        "at least one side holds",
        "severity == \"critical\" || has(nhi.id)",
    ),
    joining("&&", Sign::And, 2, "both sides hold", "severity == \"critical\" && has(nhi.id)"),
    comparing("==", Relation::Equal, EQUAL, "the same", "credential.validity == \"valid\""),
    comparing("!=", Relation::NotEqual, EQUAL, "not the same", "nhi.kind != \"person\""),
    comparing("<=", Relation::LessOrEqual, ORDER, "at most", "threat.score <= 7.5"),
    comparing(">=", Relation::GreaterOrEqual, ORDER, "at least", "event.count >= 10"),
    comparing("<", Relation::Less, ORDER, "less, or earlier", "vault.rotated < observed_at"),
    comparing(
        ">",
        Relation::Greater,
        ORDER,
        "more, or later",
        "age(observed_at) > duration(\"2h\")",
    ),
    Operator {
        symbol: "in",
        sign: Sign::In,
        power: 3,
        takes: IN,
        gaps: Gaps::Compares,
        about: "one of the values in the list",
        example: "severity in [\"high\", \"critical\"]",
    },
    calculating(
        "+",
        Sign::Plus,
        PLUS,
        "a later time, a longer duration",
        "vault.rotated + duration(\"30d\") < now",
    ),
    calculating(
        "-",
        Sign::Minus,
        MINUS,
        "an earlier time, the duration between two times",
        "observed_at - occurred_at > duration(\"1h\")",
    ),
    joining("!", Sign::Not, 9, "does not hold; binds tightest", "!(nhi.kind == \"person\")"),
];

pub(super) static FUNCTIONS: [Function; 12] = [
    Function {
        name: "has",
        what: What::Has,
        is_method: false,
        takes: &[Takes::Name],
        gives: None,
        gaps: Gaps::Answers,
        about: "the alert or the fact has this value",
        example: "has(nhi.id)",
    },
    Function {
        name: "unknown",
        what: What::Unknown,
        is_method: false,
        takes: &[Takes::Fact, Takes::Cause],
        gives: None,
        gaps: Gaps::Asks,
        about: "the fact is not known, for this cause where one is given: error, timeout, stale, conflict or no_key. \
            Only in rules that route or hold; not in a `deny`. Not in CEL",
        example: "unknown(vault.rotated, \"timeout\")",
    },
    Function {
        name: "age",
        what: What::Age,
        is_method: false,
        takes: &[Takes::Value(&[Time])],
        gives: Some(Duration),
        gaps: Gaps::PassesOn,
        about: "`now` minus the time; below zero for a time to come. Not in CEL: `now - t` is",
        example: "age(vault.rotated) > duration(\"90d\")",
    },
    Function {
        name: "size",
        what: What::Size,
        is_method: false,
        takes: &[Takes::Value(&[Text, List])],
        gives: Some(Int),
        gaps: Gaps::PassesOn,
        about: "how many characters the text has, or items the list",
        example: "size(vault.roles) > 3",
    },
    Function {
        name: "duration",
        what: What::Duration,
        is_method: false,
        takes: &[Takes::Literal("a duration such as \"15m\", \"24h\" or \"30d\"")],
        gives: Some(Duration),
        gaps: Gaps::PassesOn,
        about: "a whole number of `ms`, `s`, `m`, `h` or `d`. CEL has no days: write `720h` to stay in it",
        example: "age(observed_at) < duration(\"15m\")",
    },
    Function {
        name: "timestamp",
        what: What::Timestamp,
        is_method: false,
        takes: &[Takes::Literal("a time such as \"2026-01-31T09:00:00Z\"")],
        gives: Some(Time),
        gaps: Gaps::PassesOn,
        about: "a time in RFC 3339, with its zone, to the millisecond",
        example: "observed_at >= timestamp(\"2026-01-31T09:00:00Z\")",
    },
    Function {
        name: "cidr",
        what: What::Cidr,
        is_method: false,
        takes: &[Takes::Value(&[Text]), Takes::Literal("a network such as \"10.0.0.0/8\"")],
        gives: None,
        gaps: Gaps::Compares,
        about: "the address is in the network; a text that is no address is as good as absent. Not in CEL",
        example: "cidr(source.ip, \"10.0.0.0/8\")",
    },
    on_text("startsWith", What::StartsWith, "begins so", "nhi.id.startsWith(\"aws:\")"),
    on_text("endsWith", What::EndsWith, "ends so", "location.file.endsWith(\".env\")"),
    on_text("contains", What::Contains, "has this somewhere", "location.file.contains(\"/test/\")"),
    Function {
        name: "matches",
        what: What::Matches,
        is_method: true,
        takes: &[Takes::Value(&[Text]), Takes::Literal("a pattern that can be matched")],
        gives: None,
        gaps: Gaps::Compares,
        about: "the regular expression is found somewhere in it, in linear time; anchor it with `^` and `$`",
        example: "location.file.matches(r\"^fixtures/.*\\.json$\")",
    },
    Function {
        name: "exists",
        what: What::Exists,
        is_method: true,
        takes: &[Takes::Value(&[List]), Takes::Variable, Takes::TestOfIt],
        gives: None,
        gaps: Gaps::Compares,
        about: "an item of the list passes the test, in which the item has the name given first",
        example: "vault.roles.exists(role, role.startsWith(\"admin\") || role == \"root\")",
    },
];

/// How a value of each type is written in a condition.
pub(super) static LITERALS: [(Type, &str); 7] = [
    (
        Text,
        r#"`"valid"` or `'valid'`; `\"`, `\\`, `\n`, `\r`, `\t` and `\u0041` inside; `r"\d+"` as it is"#,
    ),
    (Bool, "`true`, `false`; a name of this type is a condition by itself"),
    (Int, "`42`, `-7`: 64 bits"),
    (Decimal, "`7.25`, `-0.5`: exact, at most 18 digits; an int may stand for it"),
    (Time, "`timestamp(\"2026-01-31T09:00:00Z\")`"),
    (Duration, "`duration(\"90m\")`"),
    (List, "`[\"a\", \"b\"]`, only behind `in`"),
];

pub(super) struct Operator {
    pub symbol: &'static str,
    pub sign: Sign,
    /// The higher, the tighter it binds.
    pub power: u8,
    pub takes: &'static [Row],
    pub gaps: Gaps,
    pub about: &'static str,
    pub example: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sign {
    Or,
    And,
    Not,
    Relation(Relation),
    In,
    Plus,
    Minus,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Relation {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// What an operator takes on its left and right. It gives a value, or else true or false.
pub(super) struct Row {
    pub left: Type,
    pub right: Right,
    pub gives: Option<Type>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Right {
    Value(Type),
    /// Values of this type between brackets.
    Items(Type),
}

pub(super) struct Function {
    pub name: &'static str,
    pub what: What,
    /// Stands behind its first argument and a dot.
    pub is_method: bool,
    pub takes: &'static [Takes],
    /// A value, or else true or false.
    pub gives: Option<Type>,
    pub gaps: Gaps,
    pub about: &'static str,
    pub example: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    Has,
    Unknown,
    Age,
    Size,
    Duration,
    Timestamp,
    Cidr,
    StartsWith,
    EndsWith,
    Contains,
    Matches,
    Exists,
}

pub(super) enum Takes {
    /// A name of any type.
    Name,
    /// The name of a fact.
    Fact,
    /// Why it is unknown, between quotes; may be left out.
    Cause,
    Value(&'static [Type]),
    /// A text between quotes, read while compiling; what it must be.
    Literal(&'static str),
    /// A new name.
    Variable,
    /// A condition about it.
    TestOfIt,
}

impl Operator {
    pub fn find(symbol: &str) -> Option<&'static Self> {
        OPERATORS.iter().find(|operator| operator.symbol == symbol)
    }

    pub fn row(&self, left: Type, right: Right) -> Option<&'static Row> {
        self.takes.iter().find(|row| row.left == left && row.right == right)
    }
}

impl Function {
    pub fn find(name: &str, is_method: bool) -> Option<&'static Self> {
        FUNCTIONS.iter().find(|each| each.name == name && each.is_method == is_method)
    }

    pub fn names(is_method: bool) -> impl Iterator<Item = &'static str> {
        FUNCTIONS.iter().filter(move |each| each.is_method == is_method).map(|each| each.name)
    }

    /// Else it is made of what stands in quotes, and is always there.
    pub fn takes_values(&self) -> bool {
        self.takes.iter().any(|takes| matches!(takes, Takes::Name | Takes::Fact | Takes::Value(_)))
    }

    /// How it is written: `cidr(text, "…")`.
    pub fn usage(&self) -> String {
        let argument = |takes: &Takes| match takes {
            Takes::Name => "name".to_owned(),
            Takes::Fact => "fact".to_owned(),
            Takes::Cause => "\"cause\"".to_owned(),
            Takes::Value(types) => {
                let names: Vec<&str> = types.iter().map(|of| of.name()).collect();
                names.join(" or ")
            }
            Takes::Literal(_) => "\"…\"".to_owned(),
            Takes::Variable => "x".to_owned(),
            Takes::TestOfIt => "test of x".to_owned(),
        };
        let mut arguments: Vec<String> = self.takes.iter().map(argument).collect();
        let before =
            if self.is_method { format!("{}.", arguments.remove(0)) } else { String::new() };
        let all = arguments.join(", ");
        let without = match self.takes {
            [Takes::Fact, Takes::Cause] => format!("{}(fact) or ", self.name),
            _ => String::new(),
        };
        format!("{without}{before}{}({all})", self.name)
    }

    /// How many arguments it takes.
    pub fn arity(&self) -> std::ops::RangeInclusive<usize> {
        let needed = self.takes.iter().filter(|takes| !matches!(takes, Takes::Cause)).count();
        needed..=self.takes.len()
    }
}

const fn same(of: Type) -> Row {
    Row { left: of, right: Right::Value(of), gives: None }
}

const fn among(of: Type) -> Row {
    Row { left: of, right: Right::Items(of), gives: None }
}

const fn giving(left: Type, right: Type, gives: Type) -> Row {
    Row { left, right: Right::Value(right), gives: Some(gives) }
}

const INT_DECIMAL: Row = Row { left: Int, right: Right::Value(Decimal), gives: None };
const DECIMAL_INT: Row = Row { left: Decimal, right: Right::Value(Int), gives: None };

const EQUAL: &[Row] = &[
    same(Text),
    same(Bool),
    same(Int),
    same(Decimal),
    INT_DECIMAL,
    DECIMAL_INT,
    same(Time),
    same(Duration),
];
const ORDER: &[Row] =
    &[same(Int), same(Decimal), INT_DECIMAL, DECIMAL_INT, same(Time), same(Duration)];
const IN: &[Row] = &[
    among(Text),
    among(Int),
    among(Decimal),
    among(Time),
    among(Duration),
    Row { left: Text, right: Right::Value(List), gives: None },
];
const PLUS: &[Row] = &[
    giving(Time, Duration, Time),
    giving(Duration, Time, Time),
    giving(Duration, Duration, Duration),
];
const MINUS: &[Row] = &[
    giving(Time, Time, Duration),
    giving(Time, Duration, Time),
    giving(Duration, Duration, Duration),
];

const fn joining(
    symbol: &'static str,
    sign: Sign,
    power: u8,
    about: &'static str,
    example: &'static str,
) -> Operator {
    Operator { symbol, sign, power, takes: &[], gaps: Gaps::Joins, about, example }
}

const fn comparing(
    symbol: &'static str,
    relation: Relation,
    takes: &'static [Row],
    about: &'static str,
    example: &'static str,
) -> Operator {
    let sign = Sign::Relation(relation);
    Operator { symbol, sign, power: 3, takes, gaps: Gaps::Compares, about, example }
}

const fn calculating(
    symbol: &'static str,
    sign: Sign,
    takes: &'static [Row],
    about: &'static str,
    example: &'static str,
) -> Operator {
    Operator { symbol, sign, power: 4, takes, gaps: Gaps::PassesOn, about, example }
}

const fn on_text(
    name: &'static str,
    what: What,
    about: &'static str,
    example: &'static str,
) -> Function {
    let takes = &[Takes::Value(&[Text]), Takes::Literal("a text")];
    Function {
        name,
        what,
        is_method: true,
        takes,
        gives: None,
        gaps: Gaps::Compares,
        about,
        example,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::case::{Alert, EnricherShape, FactRow, FactState, Millis, Tri, Value, Why};
    use crate::clause::{Schema, Scope, compile};
    use crate::text::{At, Problems};

    #[test]
    fn no_symbol_hides_a_longer_one() {
        for (index, operator) in OPERATORS.iter().enumerate() {
            let hidden = OPERATORS
                .iter()
                .skip(index + 1)
                .find(|later| later.symbol.starts_with(operator.symbol));
            assert!(hidden.is_none(), "{}", operator.symbol);
        }
    }

    fn provides() -> Vec<(String, Type)> {
        let fields = [("rotated", Time), ("roles", List), ("score", Decimal)];
        fields.map(|(name, of)| (name.to_owned(), of)).to_vec()
    }

    fn eval(text: &str, alert: &Alert<'_>, facts: &[FactState]) -> Tri {
        let shape = |name: &str| EnricherShape { name: name.into(), provides: provides() };
        let enrichers = vec![shape("vault"), shape("threat")];
        let schema = Schema { enrichers, ..Schema::default() };
        let mut problems = Problems::default();
        let at = At { path: "f.yaml".into(), line: 1, column: 1 };
        let clause = compile(text, &at, &schema, &mut problems);
        let clause = clause.unwrap_or_else(|| panic!("{text}: {:?}", problems.into_sorted()));
        let rows: Vec<Option<Arc<FactRow>>> = facts
            .iter()
            .map(|state| {
                let values = vec![
                    Value::Time(Millis(0)),
                    Value::List(vec!["root".into(); 5].into()),
                    Value::Int(7),
                ];
                let names = ("e".into(), "s".into(), "1".into());
                let row = FactRow::new(names, "k", None, *state, (&provides(), values));
                Some(Arc::new(row))
            })
            .collect();
        let scope = Scope {
            alert,
            facts: &rows,
            counters: None,
            now: Millis(1_800_000_000_000),
            max_age_ms: &[],
        };
        clause.eval(&scope)
    }

    /// With `!` and without.
    fn both(text: &str, alert: &Alert<'_>, state: FactState) -> (Tri, Tri) {
        let facts = [state, state];
        (eval(text, alert, &facts), eval(&format!("!({text})"), alert, &facts))
    }

    #[test]
    fn every_row_does_with_absent_and_unknown_values_what_it_says() {
        let operators = OPERATORS.iter().map(|o| (o.gaps, o.example));
        let functions = FUNCTIONS.iter().map(|f| (f.gaps, f.example));
        let mut tried = 0;
        for (gaps, example) in operators.chain(functions) {
            let absent = both(example, &Alert::default(), FactState::Absent);
            let expected = match gaps {
                // Over a value that is absent for this reason a comparison is false.
                Gaps::Compares | Gaps::PassesOn => (Tri::False, Tri::Unknown),
                Gaps::Answers | Gaps::Asks => (Tri::False, Tri::True),
                // `has` on one side, and a comparison on the other or within.
                Gaps::Joins => continue,
            };
            assert_eq!(absent, expected, "{example} over absent");
            let mut alert = Alert::default();
            for info in crate::case::FIELDS {
                alert.set(info.field, Value::Unknown(Why::Timeout));
            }
            let unknown = both(example, &alert, FactState::Unknown(Why::Timeout));
            let plain = if gaps == Gaps::Asks { Tri::True } else { Tri::Unknown };
            assert_eq!(unknown, (plain, Tri::Unknown), "{example} over unknown");
            tried += 1;
        }
        assert_eq!(tried, OPERATORS.len() + FUNCTIONS.len() - 3, "all but those that join");
    }
}
