use super::Mistake;

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    Word(String),
    Text(String),
    Int(i64),
    Symbol(&'static str),
}

/// A token and where it starts, in characters.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Placed {
    pub at: usize,
    pub token: Token,
}

/// Longer symbols first, so that `<=` is not read as `<`.
const SYMBOLS: [&str; 15] =
    ["&&", "||", "==", "!=", "<=", ">=", "<", ">", "!", "(", ")", "[", "]", ",", "."];

pub(super) fn tokens(text: &str) -> Result<Vec<Placed>, Mistake> {
    let chars: Vec<char> = text.chars().collect();
    let mut lexer = Lexer { chars: &chars, next: 0 };
    let mut tokens = Vec::new();
    while let Some(c) = lexer.peek(0) {
        let at = lexer.next;
        if c.is_whitespace() {
            lexer.next += 1;
            continue;
        }
        let token = lexer.token(c)?;
        tokens.push(Placed { at, token });
    }
    Ok(tokens)
}

struct Lexer<'t> {
    chars: &'t [char],
    next: usize,
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
            return Ok(Token::Word(self.take_while(is_word)));
        }
        let negative = first == '-' && self.peek(1).is_some_and(|c| c.is_ascii_digit());
        if first.is_ascii_digit() || negative {
            return self.number();
        }
        for symbol in SYMBOLS {
            if symbol.chars().enumerate().all(|(ahead, c)| self.peek(ahead) == Some(c)) {
                self.next += symbol.len();
                return Ok(Token::Symbol(symbol));
            }
        }
        Err(Mistake::new(self.next, unexpected(first)))
    }

    fn number(&mut self) -> Result<Token, Mistake> {
        let at = self.next;
        self.next += 1;
        self.take_while(|c| c.is_ascii_digit());
        let decimal = self.peek(0) == Some('.') || matches!(self.peek(0), Some('e' | 'E'));
        if decimal {
            let message = "decimals are not supported yet in a condition, use whole numbers";
            return Err(Mistake::new(at, message));
        }
        if self.peek(0).is_some_and(is_word) {
            return Err(Mistake::new(at, "not a whole number"));
        }
        let digits: String = self.chars.get(at..self.next).unwrap_or_default().iter().collect();
        let value = digits.parse().map_err(|_| Mistake::new(at, "the number is too large"))?;
        Ok(Token::Int(value))
    }

    fn quoted(&mut self, quote: char, raw: bool) -> Result<Token, Mistake> {
        let start = self.next;
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
        Err(Mistake::new(start.saturating_sub(1), format!("the text has no closing {quote}")))
    }

    /// After the backslash.
    fn escape(&mut self) -> Result<char, Mistake> {
        let at = self.next.saturating_sub(1);
        let Some(c) = self.peek(0) else {
            return Err(Mistake::new(at, "the text ends in an escape"));
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
                escaped.ok_or_else(|| Mistake::new(at, "`\\u` needs four hexadecimal digits"))
            }
            _ => Err(Mistake::new(
                at,
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

fn unexpected(c: char) -> String {
    match c {
        '=' => "`=` does not compare, did you mean `==`?".to_owned(),
        '&' => "did you mean `&&`?".to_owned(),
        '|' => "did you mean `||`?".to_owned(),
        '“' | '”' | '‘' | '’' => "use straight quotes: \" or '".to_owned(),
        '+' | '-' | '*' | '/' | '%' => {
            format!("`{c}` is not supported: a condition compares, it does not calculate")
        }
        _ => format!("`{}` is not supported in a condition", c.escape_debug()),
    }
}
