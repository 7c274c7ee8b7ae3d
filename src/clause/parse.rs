use super::lex::{Placed, Token};
use super::{DEPTH_MAX, LIST_MAX, Mistake};

/// A part of a condition and where it starts, in characters.
#[derive(Debug, PartialEq)]
pub(super) struct Expr {
    pub at: usize,
    pub node: Node,
}

#[derive(Debug, PartialEq)]
pub(super) enum Node {
    Or(Vec<Expr>),
    And(Vec<Expr>),
    Not(Box<Expr>),
    Compare(Box<Expr>, Relation, Box<Expr>),
    In(Box<Expr>, Box<Expr>),
    Name(String),
    Text(String),
    Int(i64),
    Bool(bool),
    List(Vec<Expr>),
    Call { name: String, arguments: Vec<Expr> },
    Method { of: Box<Expr>, name: String, arguments: Vec<Expr> },
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

enum Infix {
    Or,
    And,
    Relation(Relation),
    In,
}

impl Infix {
    fn power(&self) -> u8 {
        match self {
            Self::Or => 1,
            Self::And => 2,
            Self::Relation(_) | Self::In => 3,
        }
    }
}

pub(super) fn parse(tokens: &[Placed], end: usize) -> Result<Expr, Mistake> {
    let mut parser = Parser { tokens, next: 0, end };
    if tokens.is_empty() {
        return Err(Mistake::new(0, "the condition is empty"));
    }
    let expr = parser.expression(0, 0)?;
    if let Some(left) = parser.peek() {
        return Err(Mistake::new(left.at, parser.surprise(left)));
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
        match self.peek() {
            Some(found) => Err(Mistake::new(found.at, self.surprise(found))),
            None => Err(Mistake::new(self.end, format!("a `{symbol}` is missing"))),
        }
    }

    fn surprise(&self, found: &Placed) -> String {
        match &found.token {
            Token::Word(word) if word.eq_ignore_ascii_case("and") => {
                format!("`{word}` is not an operator, did you mean `&&`?")
            }
            Token::Word(word) if word.eq_ignore_ascii_case("or") => {
                format!("`{word}` is not an operator, did you mean `||`?")
            }
            Token::Word(word) => format!("`{word}` was not expected here"),
            Token::Text(_) => "a text was not expected here".to_owned(),
            Token::Int(_) => "a number was not expected here".to_owned(),
            Token::Symbol(symbol) => format!("`{symbol}` was not expected here"),
        }
    }

    fn infix(&self) -> Option<Infix> {
        match &self.peek()?.token {
            Token::Word(word) if word == "in" => Some(Infix::In),
            Token::Symbol(symbol) => match *symbol {
                "||" => Some(Infix::Or),
                "&&" => Some(Infix::And),
                "==" => Some(Infix::Relation(Relation::Equal)),
                "!=" => Some(Infix::Relation(Relation::NotEqual)),
                "<" => Some(Infix::Relation(Relation::Less)),
                "<=" => Some(Infix::Relation(Relation::LessOrEqual)),
                ">" => Some(Infix::Relation(Relation::Greater)),
                ">=" => Some(Infix::Relation(Relation::GreaterOrEqual)),
                _ => None,
            },
            Token::Word(_) | Token::Text(_) | Token::Int(_) => None,
        }
    }

    fn expression(&mut self, power_min: u8, depth: usize) -> Result<Expr, Mistake> {
        let mut left = self.prefix(depth)?;
        let mut compared = false;
        while let Some(infix) = self.infix().filter(|infix| infix.power() > power_min) {
            let at = self.here();
            let compares = matches!(infix, Infix::Relation(_) | Infix::In);
            if compares && compared {
                let message = "compares two things at a time: join comparisons with `&&`";
                return Err(Mistake::new(at, message));
            }
            compared = compares;
            self.next += 1;
            let right = self.expression(infix.power(), depth)?;
            left = join(left, infix, right);
        }
        Ok(left)
    }

    fn deeper(&self, depth: usize) -> Result<usize, Mistake> {
        if depth < DEPTH_MAX {
            return Ok(depth + 1);
        }
        Err(Mistake::new(self.here(), format!("nested deeper than {DEPTH_MAX}")))
    }

    fn prefix(&mut self, depth: usize) -> Result<Expr, Mistake> {
        let at = self.here();
        if self.take_symbol("!") {
            let of = self.prefix(self.deeper(depth)?)?;
            return Ok(Expr { at, node: Node::Not(Box::new(of)) });
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
            return Err(Mistake::new(self.end, "something is missing at the end"));
        };
        let at = placed.at;
        self.next += 1;
        let node = match &placed.token {
            Token::Text(text) => Node::Text(text.clone()),
            Token::Int(value) => Node::Int(*value),
            Token::Symbol("(") => {
                let inner = self.expression(0, self.deeper(depth)?)?;
                self.need_symbol(")")?;
                return Ok(inner);
            }
            Token::Symbol("[") => Node::List(self.items("]", depth)?),
            Token::Word(word) => return self.word(at, word, depth),
            Token::Symbol(_) => return Err(Mistake::new(at, self.surprise(placed))),
        };
        Ok(Expr { at, node })
    }

    /// A constant, a call, or a name with its dots; methods are left to the caller.
    fn word(&mut self, at: usize, word: &str, depth: usize) -> Result<Expr, Mistake> {
        match word {
            "true" | "false" => return Ok(Expr { at, node: Node::Bool(word == "true") }),
            "null" => return Err(Mistake::new(at, "there is no null: use has(…)")),
            "in" => return Err(Mistake::new(at, "`in` was not expected here")),
            _ if word.eq_ignore_ascii_case("not") && !self.at_symbol("(") => {
                let message = format!("`{word}` is not an operator, did you mean `!`?");
                return Err(Mistake::new(at, message));
            }
            _ => {}
        }
        if self.take_symbol("(") {
            let arguments = self.items(")", depth)?;
            return Ok(Expr { at, node: Node::Call { name: word.to_owned(), arguments } });
        }
        let mut path = word.to_owned();
        while let Some(part) = self.next_path_part() {
            self.next += 2;
            path.push('.');
            path.push_str(&part);
        }
        Ok(Expr { at, node: Node::Name(path) })
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

    /// After the dot.
    fn method(&mut self, of: Expr, depth: usize) -> Result<Expr, Mistake> {
        let at = self.here();
        let Some(Placed { token: Token::Word(name), .. }) = self.peek() else {
            return Err(Mistake::new(at, "a name is missing after the dot"));
        };
        self.next += 1;
        self.need_symbol("(")?;
        let arguments = self.items(")", depth)?;
        Ok(Expr { at, node: Node::Method { of: Box::new(of), name: name.clone(), arguments } })
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
                return Err(Mistake::new(self.here(), format!("more than {LIST_MAX} items")));
            }
            items.push(self.expression(0, depth)?);
            if !self.take_symbol(",") {
                self.need_symbol(close)?;
                return Ok(items);
            }
        }
    }
}

/// Chains of `&&` and `||` become one flat node, so that their length never becomes depth.
fn join(left: Expr, infix: Infix, right: Expr) -> Expr {
    let at = left.at;
    let node = match (infix, left.node) {
        (Infix::Or, Node::Or(mut items)) => {
            items.push(right);
            Node::Or(items)
        }
        (Infix::And, Node::And(mut items)) => {
            items.push(right);
            Node::And(items)
        }
        (Infix::Or, node) => Node::Or(vec![Expr { at, node }, right]),
        (Infix::And, node) => Node::And(vec![Expr { at, node }, right]),
        (Infix::Relation(relation), node) => {
            Node::Compare(Box::new(Expr { at, node }), relation, Box::new(right))
        }
        (Infix::In, node) => Node::In(Box::new(Expr { at, node }), Box::new(right)),
    };
    Expr { at, node }
}
