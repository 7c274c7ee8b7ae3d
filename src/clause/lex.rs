use super::Mistake;
use super::table::OPERATORS;
use crate::case::Decimal;

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    Word(String),
    Text(String),
    Int(i64),
    Decimal(Decimal),
    Symbol(&'static str),
}

/// A token and the characters it takes.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Placed {
    pub at: usize,
    pub end: usize,
    pub token: Token,
}

const BRACKETS: [&str; 6] = ["(", ")", "[", "]", ",", "."];

/// The tokens, and what is wrong in them. Where it is plain what was meant, that is the token, so
/// that the rest can be checked too; else the tokens are nothing.
pub(super) fn tokens(text: &str, mistakes: &mut Vec<Mistake>) -> Option<Vec<Placed>> {
    let chars: Vec<char> = text.chars().collect();
    let mut lexer = Lexer { chars: &chars, next: 0, mistakes, after: After::Operator };
    let mut tokens = Vec::new();
    while let Some(c) = lexer.peek(0) {
        let at = lexer.next;
        if c.is_whitespace() {
            lexer.next += 1;
            continue;
        }
        match lexer.token(c) {
            Ok(token) => {
                lexer.after = match &token {
                    Token::Symbol(".") => After::Dot,
                    Token::Symbol(symbol) if !matches!(*symbol, ")" | "]") => After::Operator,
                    _ => After::Operand,
                };
                tokens.push(Placed { at, end: lexer.next, token });
            }
            Err(mistake) => {
                lexer.mistakes.push(mistake);
                return None;
            }
        }
    }
    Some(tokens)
}

struct Lexer<'t> {
    chars: &'t [char],
    next: usize,
    mistakes: &'t mut Vec<Mistake>,
    after: After,
}

/// What stands before the next token.
#[derive(Clone, Copy, PartialEq, Eq)]
enum After {
    Operand,
    Operator,
    /// A name goes on, whatever its words mean elsewhere.
    Dot,
}

impl Lexer<'_> {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.next + ahead).copied()
    }

    fn take_while(&mut self, fits: impl Fn(char) -> bool) -> String {
        let rest = self.chars.get(self.next..).unwrap_or_default();
        let taken: String = rest.iter().copied().take_while(|c| fits(*c)).collect();
        self.next += taken.chars().count();
        taken
    }

    fn token(&mut self, first: char) -> Result<Token, Mistake> {
        let raw_quote = self.peek(1).filter(|c| first == 'r' && is_quote(*c));
        if let Some(quote) = raw_quote {
            self.next += 2;
            return self.quoted(quote, true);
        }
        if is_quote(first) {
            self.next += 1;
            return self.quoted(first, false);
        }
        if first.is_ascii_alphabetic() || first == '_' {
            let at = self.next;
            let word = self.take_while(is_word);
            return Ok(self.word(at, word));
        }
        let is_negative = first == '-' && self.peek(1).is_some_and(|c| c.is_ascii_digit());
        if first.is_ascii_digit() || is_negative && self.after != After::Operand {
            return self.number();
        }
        for symbol in OPERATORS.iter().map(|operator| operator.symbol).chain(BRACKETS) {
            if symbol.chars().enumerate().all(|(ahead, c)| self.peek(ahead) == Some(c)) {
                self.next += symbol.len();
                return Ok(Token::Symbol(symbol));
            }
        }
        let (message, meant) = unexpected(first);
        let mistake = Mistake::new(self.next, self.next + 1, message);
        let Some(meant) = meant else { return Err(mistake) };
        self.mistakes.push(mistake);
        self.next += 1;
        Ok(Token::Symbol(meant))
    }

    /// The words that other languages have for our signs are taken for them.
    fn word(&mut self, at: usize, word: String) -> Token {
        let lower = word.to_ascii_lowercase();
        let meant = match (lower.as_str(), self.after) {
            ("and", After::Operand) => "&&",
            ("or", After::Operand) => "||",
            ("not", After::Operator) => "!",
            ("in", After::Operand | After::Operator) if word == "in" => return Token::Symbol("in"),
            _ => return Token::Word(word),
        };
        let message = format!("`{word}` is not an operator, did you mean `{meant}`?");
        self.mistakes.push(Mistake::new(at, self.next, message));
        Token::Symbol(meant)
    }

    fn number(&mut self) -> Result<Token, Mistake> {
        let at = self.next;
        self.next += 1;
        self.take_while(|c| c.is_ascii_digit());
        let is_decimal = self.peek(0) == Some('.');
        if is_decimal {
            self.next += 1;
            self.take_while(|c| c.is_ascii_digit());
        }
        let digits: String = self.chars.get(at..self.next).unwrap_or_default().iter().collect();
        if self.peek(0).is_some_and(is_word) || digits.ends_with('.') {
            self.take_while(is_word);
            let message = "not a number: write digits, with one point among them for a decimal";
            return Err(Mistake::new(at, self.next, message));
        }
        let wrong = |what| Mistake::new(at, self.next, what);
        if is_decimal {
            let value = Decimal::parse(&digits);
            let value = value.ok_or_else(|| wrong("a decimal has at most 18 digits"))?;
            return Ok(Token::Decimal(value));
        }
        Ok(Token::Int(digits.parse().map_err(|_| wrong("the number is too large"))?))
    }

    fn quoted(&mut self, quote: char, raw: bool) -> Result<Token, Mistake> {
        let start = self.next.saturating_sub(1);
        let mut text = String::new();
        while let Some(c) = self.peek(0) {
            self.next += 1;
            if c == quote {
                return Ok(Token::Text(text));
            }
            if c == '\\' && !raw {
                text.push(self.escape()?);
            } else {
                text.push(c);
            }
        }
        Err(Mistake::new(start, self.next, format!("the text has no closing {quote}")))
    }

    /// After the backslash.
    fn escape(&mut self) -> Result<char, Mistake> {
        let at = self.next.saturating_sub(1);
        let Some(c) = self.peek(0) else {
            return Err(Mistake::new(at, self.next, "the text ends in an escape"));
        };
        self.next += 1;
        match c {
            '\\' | '"' | '\'' | '`' | '?' => Ok(c),
            'n' => Ok('\n'),
            'r' => Ok('\r'),
            't' => Ok('\t'),
            'u' => {
                let digits: String = (0..4).filter_map(|ahead| self.peek(ahead)).collect();
                let code = u32::from_str_radix(&digits, 16).ok().filter(|_| digits.len() == 4);
                let escaped = code.and_then(char::from_u32);
                self.next += 4;
                escaped.ok_or_else(|| {
                    Mistake::new(at, self.next, "`\\u` needs four hexadecimal digits")
                })
            }
            _ => Err(Mistake::new(
                at,
                self.next,
                format!("unknown escape `\\{c}`; write `\\\\` for a backslash, or r\"…\" as is"),
            )),
        }
    }
}

fn is_quote(c: char) -> bool {
    c == '"' || c == '\''
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// What to say, and the sign that was meant.
fn unexpected(c: char) -> (String, Option<&'static str>) {
    match c {
        '=' => ("`=` does not compare, did you mean `==`?".to_owned(), Some("==")),
        '&' => ("`&` is not an operator, did you mean `&&`?".to_owned(), Some("&&")),
        '|' => ("`|` is not an operator, did you mean `||`?".to_owned(), Some("||")),
        '“' | '”' | '‘' | '’' => ("use straight quotes: \" or '".to_owned(), None),
        '*' | '/' | '%' => (
            format!(
                "`{c}` is not supported: a condition calculates with times and durations alone"
            ),
            None,
        ),
        '?' => ("`?` is not supported: write a rule for each case".to_owned(), None),
        _ => (format!("`{}` is not supported in a condition", c.escape_debug()), None),
    }
}
