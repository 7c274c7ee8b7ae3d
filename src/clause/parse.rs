use super::lex::{Placed, Token};
use super::table::{Operator, Sign};
use super::{DEPTH_MAX, LIST_MAX, Mistake};
use crate::case::Decimal;

/// A part of a condition and the characters it takes.
#[derive(Debug)]
pub(super) struct Expr {
    pub at: usize,
    pub end: usize,
    pub node: Node,
}

#[derive(Debug)]
pub(super) enum Node {
    Or(Vec<Expr>),
    And(Vec<Expr>),
    Not(Box<Expr>),
    /// A comparison, `in`, or a calculation.
    Binary(Box<Expr>, Infix, Box<Expr>),
    Name(String),
    Text(String),
    Int(i64),
    Decimal(Decimal),
    Bool(bool),
    List(Vec<Expr>),
    /// A method's first argument is what stands before its dot.
    Call {
        name: String,
        is_method: bool,
        arguments: Vec<Expr>,
    },
}

/// An operator and where it stands.
#[derive(Clone, Copy)]
pub(super) struct Infix {
    pub at: usize,
    pub operator: &'static Operator,
}

impl std::fmt::Debug for Infix {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.operator.symbol)
    }
}

pub(super) fn parse(tokens: &[Placed], end: usize) -> Result<Expr, Mistake> {
    let mut parser = Parser { tokens, next: 0, end };
    if tokens.is_empty() {
        return Err(Mistake::new(0, 0, "the condition is empty"));
    }
    let expr = parser.expression(0, 0)?;
    if let Some(left) = parser.peek() {
        return Err(surprise(left));
    }
    Ok(expr)
}

struct Parser<'t> {
    tokens: &'t [Placed],
    next: usize,
    /// Where the text ends, for mistakes about what is missing.
    end: usize,
}

impl<'t> Parser<'t> {
    fn peek(&self) -> Option<&'t Placed> {
        self.tokens.get(self.next)
    }

    fn here(&self) -> usize {
        self.peek().map_or(self.end, |placed| placed.at)
    }

    /// Where the last token taken ends.
    fn behind(&self) -> usize {
        let last = self.next.checked_sub(1).and_then(|last| self.tokens.get(last));
        last.map_or(0, |placed| placed.end)
    }

    fn at_symbol(&self, symbol: &str) -> bool {
        matches!(self.peek(), Some(Placed { token: Token::Symbol(found), .. }) if *found == symbol)
    }

    fn take_symbol(&mut self, symbol: &str) -> bool {
        let found = self.at_symbol(symbol);
        self.next += usize::from(found);
        found
    }

    fn need_symbol(&mut self, symbol: &str) -> Result<(), Mistake> {
        if self.take_symbol(symbol) {
            return Ok(());
        }
        let missing = || Mistake::new(self.end, self.end, format!("a `{symbol}` is missing"));
        Err(self.peek().map_or_else(missing, surprise))
    }

    fn infix(&self) -> Option<Infix> {
        let Placed { at, token: Token::Symbol(symbol), .. } = self.peek()? else { return None };
        let operator = Operator::find(symbol).filter(|operator| operator.sign != Sign::Not)?;
        Some(Infix { at: *at, operator })
    }

    fn expression(&mut self, power_min: u8, depth: usize) -> Result<Expr, Mistake> {
        let mut left = self.prefix(depth)?;
        let (mut compared, mut links) = (false, depth);
        while let Some(infix) = self.infix().filter(|infix| infix.operator.power > power_min) {
            match infix.operator.sign {
                Sign::Relation(_) | Sign::In if compared => {
                    let message = "compares two things at a time: join comparisons with `&&`";
                    let end = infix.at + infix.operator.symbol.len();
                    return Err(Mistake::new(infix.at, end, message));
                }
                Sign::Relation(_) | Sign::In => compared = true,
                Sign::Plus | Sign::Minus => links = self.deeper(links)?,
                Sign::Or | Sign::And | Sign::Not => compared = false,
            }
            self.next += 1;
            let right = self.expression(infix.operator.power, depth)?;
            left = join(left, infix, right);
        }
        Ok(left)
    }

    fn deeper(&self, depth: usize) -> Result<usize, Mistake> {
        if depth < DEPTH_MAX {
            return Ok(depth + 1);
        }
        let here = self.here();
        Err(Mistake::new(here, here + 1, format!("nested deeper than {DEPTH_MAX}")))
    }

    fn prefix(&mut self, depth: usize) -> Result<Expr, Mistake> {
        let at = self.here();
        if self.take_symbol("!") {
            let of = self.prefix(self.deeper(depth)?)?;
            return Ok(Expr { at, end: of.end, node: Node::Not(Box::new(of)) });
        }
        let mut of = self.primary(depth)?;
        let mut links = depth;
        while self.at_symbol(".") {
            links = self.deeper(links)?;
            self.next += 1;
            of = self.method(of, depth)?;
        }
        Ok(of)
    }

    fn primary(&mut self, depth: usize) -> Result<Expr, Mistake> {
        let Some(placed) = self.peek() else {
            return Err(Mistake::new(self.end, self.end, "something is missing at the end"));
        };
        let at = placed.at;
        self.next += 1;
        let node = match &placed.token {
            Token::Text(text) => Node::Text(text.clone()),
            Token::Int(value) => Node::Int(*value),
            Token::Decimal(value) => Node::Decimal(*value),
            Token::Symbol("(") => {
                let inner = self.expression(0, self.deeper(depth)?)?;
                self.need_symbol(")")?;
                return Ok(Expr { at, end: self.behind(), ..inner });
            }
            Token::Symbol("[") => Node::List(self.items("]", depth)?),
            Token::Word(word) => self.word(placed, word, depth)?,
            Token::Symbol(_) => return Err(surprise(placed)),
        };
        Ok(Expr { at, end: self.behind(), node })
    }

    /// A constant, a call, or a name with its dots; methods are left to the caller.
    fn word(&mut self, placed: &Placed, word: &str, depth: usize) -> Result<Node, Mistake> {
        match word {
            "true" | "false" => return Ok(Node::Bool(word == "true")),
            "null" => {
                let message = "there is no null: use has(…)";
                return Err(Mistake::new(placed.at, placed.end, message));
            }
            _ => {}
        }
        if self.take_symbol("(") {
            let arguments = self.items(")", depth)?;
            return Ok(Node::Call { name: word.to_owned(), is_method: false, arguments });
        }
        let mut path = word.to_owned();
        while let Some(part) = self.next_path_part() {
            self.next += 2;
            path.push('.');
            path.push_str(&part);
        }
        Ok(Node::Name(path))
    }

    /// The word after a dot, unless it is a method's name.
    fn next_path_part(&self) -> Option<String> {
        if !self.at_symbol(".") {
            return None;
        }
        let Token::Word(part) = &self.tokens.get(self.next + 1)?.token else { return None };
        let after = self.tokens.get(self.next + 2).map(|placed| &placed.token);
        (after != Some(&Token::Symbol("("))).then(|| part.clone())
    }

    /// After the dot. It stands where its name does.
    fn method(&mut self, of: Expr, depth: usize) -> Result<Expr, Mistake> {
        let at = self.here();
        let Some(Placed { token: Token::Word(name), .. }) = self.peek() else {
            return Err(Mistake::new(at, at + 1, "a name is missing after the dot"));
        };
        self.next += 1;
        self.need_symbol("(")?;
        let mut arguments = vec![of];
        arguments.extend(self.items(")", depth)?);
        let node = Node::Call { name: name.clone(), is_method: true, arguments };
        Ok(Expr { at, end: self.behind(), node })
    }

    /// Items up to the closing symbol; the opening one is behind.
    fn items(&mut self, close: &str, depth: usize) -> Result<Vec<Expr>, Mistake> {
        let depth = self.deeper(depth)?;
        let mut items = Vec::new();
        if self.take_symbol(close) {
            return Ok(items);
        }
        loop {
            if items.len() == LIST_MAX {
                let here = self.here();
                return Err(Mistake::new(here, here + 1, format!("more than {LIST_MAX} items")));
            }
            items.push(self.expression(0, depth)?);
            if !self.take_symbol(",") {
                self.need_symbol(close)?;
                return Ok(items);
            }
        }
    }
}

fn surprise(found: &Placed) -> Mistake {
    let what = match &found.token {
        Token::Word(word) => format!("`{word}`"),
        Token::Text(_) => "a text".to_owned(),
        Token::Int(_) | Token::Decimal(_) => "a number".to_owned(),
        Token::Symbol(symbol) => format!("`{symbol}`"),
    };
    Mistake::new(found.at, found.end, format!("{what} was not expected here"))
}

/// Chains of `&&` and `||` become one flat node, so that their length never becomes depth.
fn join(left: Expr, infix: Infix, right: Expr) -> Expr {
    let (at, end) = (left.at, right.end);
    let whole = |left: Expr, right| Node::Binary(Box::new(left), infix, Box::new(right));
    let node = match (infix.operator.sign, left.node) {
        (Sign::Or, Node::Or(mut items)) => {
            items.push(right);
            Node::Or(items)
        }
        (Sign::And, Node::And(mut items)) => {
            items.push(right);
            Node::And(items)
        }
        (Sign::Or, node) => Node::Or(vec![Expr { node, ..left }, right]),
        (Sign::And, node) => Node::And(vec![Expr { node, ..left }, right]),
        (_, node) => whole(Expr { node, ..left }, right),
    };
    Expr { at, end, node }
}
