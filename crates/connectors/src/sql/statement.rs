//! What a statement may be: one SELECT with an order.
//!
//! This is the first of two fences, with errors for authors; the second is the database itself,
//! which runs everything read-only. What is hard to read the same way in every dialect (comments,
//! quotes with a prefix or of dollars) is not taken at all.

/// Why a statement is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadStatement {
    /// There is none.
    #[error("it is empty")]
    Empty,
    /// It does something else than to select.
    #[error("it begins with {word}, it must begin with SELECT or WITH")]
    NotASelect {
        /// What it begins with.
        word: String,
    },
    /// There is more than one.
    #[error("it is more than one statement")]
    Several,
    /// Members would see rows in different orders.
    #[error("it has no ORDER BY: rows of the same table would come in different orders")]
    NoOrder,
    /// A word that changes or locks something.
    #[error("{word} is not allowed: a statement only reads")]
    Writes {
        /// The word.
        word: String,
    },
    /// A quote or parenthesis that is never closed.
    #[error("{what} is never closed")]
    Unclosed {
        /// What.
        what: &'static str,
    },
    /// Something that is not taken at all.
    #[error("{what} is not taken")]
    NotTaken {
        /// What.
        what: &'static str,
    },
    /// A parameter that nobody gives, or one that nobody asks for.
    #[error("it uses parameters up to ${used}, and {given} are given")]
    Parameters {
        /// The highest number in it.
        used: usize,
        /// How many values there are.
        given: usize,
    },
}

/// Words that change or lock something, wherever they stand outside of quotes.
const WRITING: [&str; 17] = [
    "INSERT", "UPDATE", "DELETE", "MERGE", "INTO", "TRUNCATE", "DROP", "ALTER", "CREATE", "GRANT",
    "REVOKE", "COPY", "ATTACH", "DETACH", "PRAGMA", "VACUUM", "LOCK",
];

/// A piece of a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Token<'a> {
    /// A word outside of quotes.
    Word(&'a str),
    /// `$1`.
    Parameter(usize),
    /// What is in quotes.
    Quoted,
    /// Any other sign.
    Sign(char),
}

/// Checks a statement that is given so many values.
///
/// # Errors
/// When it is none that is taken.
pub fn check(statement: &str, given: usize) -> Result<(), BadStatement> {
    let mut tokens = Tokens { rest: statement };
    let (mut depth, mut used) = (0_u32, 0);
    let (mut first, mut ended, mut ordered) = (true, false, false);
    let mut before = None;
    while let Some(token) = tokens.next()? {
        if ended {
            return Err(BadStatement::Several);
        }
        if first {
            match token {
                Token::Word(word) if is(word, "SELECT") || is(word, "WITH") => {}
                Token::Word(word) => {
                    return Err(BadStatement::NotASelect { word: short(word) });
                }
                _ => return Err(BadStatement::NotASelect { word: "something else".to_owned() }),
            }
            first = false;
        }
        match &token {
            Token::Word(word) => {
                if WRITING.iter().any(|writing| is(word, writing)) {
                    return Err(BadStatement::Writes { word: word.to_ascii_uppercase() });
                }
                let previous = match &before {
                    Some(Token::Word(previous)) => *previous,
                    _ => "",
                };
                // FOR UPDATE and FOR SHARE stand at the end of a query, FOR in substring() does not.
                if is(previous, "FOR") && (is(word, "SHARE") || is(word, "NO") || is(word, "KEY")) {
                    return Err(BadStatement::Writes { word: format!("FOR {}", short(word)) });
                }
                ordered |= depth == 0 && is(previous, "ORDER") && is(word, "BY");
                // What comes after this is another query, whose rows the order before is not of.
                if depth == 0 && ["UNION", "INTERSECT", "EXCEPT"].iter().any(|set| is(word, set)) {
                    ordered = false;
                }
            }
            Token::Parameter(number) => used = used.max(*number),
            Token::Sign('(') => depth += 1,
            Token::Sign(')') => {
                depth = depth
                    .checked_sub(1)
                    .ok_or(BadStatement::NotTaken { what: "a parenthesis that nothing opened" })?;
            }
            Token::Sign(';') => ended = true,
            Token::Sign(_) | Token::Quoted => {}
        }
        before = Some(token);
    }
    if first {
        return Err(BadStatement::Empty);
    }
    if depth > 0 {
        return Err(BadStatement::Unclosed { what: "a parenthesis" });
    }
    if !ordered {
        return Err(BadStatement::NoOrder);
    }
    if used != given {
        return Err(BadStatement::Parameters { used, given });
    }
    Ok(())
}

fn is(word: &str, other: &str) -> bool {
    word.eq_ignore_ascii_case(other)
}

fn short(word: &str) -> String {
    word.chars().take(32).collect()
}

struct Tokens<'a> {
    rest: &'a str,
}

impl<'a> Tokens<'a> {
    fn next(&mut self) -> Result<Option<Token<'a>>, BadStatement> {
        self.rest = self.rest.trim_start();
        let Some(sign) = self.rest.chars().next() else { return Ok(None) };
        if self.rest.starts_with("--") || self.rest.starts_with("/*") {
            return Err(BadStatement::NotTaken { what: "a comment" });
        }
        Ok(Some(match sign {
            '\'' => self.quoted('\'', "a text in quotes")?,
            '"' => self.quoted('"', "a name in quotes")?,
            '`' | '[' | ']' => {
                return Err(BadStatement::NotTaken { what: "a name in ` or [ ]: use \"" });
            }
            ':' if self.rest.starts_with("::") => {
                self.rest = &self.rest[2..];
                Token::Sign(':')
            }
            '?' | '@' | ':' => {
                return Err(BadStatement::NotTaken { what: "a parameter other than $1, $2, …" });
            }
            '$' => self.parameter()?,
            '\0' => return Err(BadStatement::NotTaken { what: "a zero byte" }),
            sign if sign.is_alphanumeric() || sign == '_' => {
                let word = self.take(|sign| sign.is_alphanumeric() || sign == '_' || sign == '$');
                if self.rest.starts_with('\'') || self.rest.starts_with("&'") {
                    return Err(BadStatement::NotTaken { what: "a text with a prefix" });
                }
                Token::Word(word)
            }
            sign => {
                self.rest = &self.rest[sign.len_utf8()..];
                Token::Sign(sign)
            }
        }))
    }

    fn take(&mut self, wanted: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|sign| !wanted(sign)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }

    fn quoted(&mut self, quote: char, what: &'static str) -> Result<Token<'a>, BadStatement> {
        // A doubled quote stands for itself: it reads as two quotes that touch.
        let end = self.rest[1..].find(quote).ok_or(BadStatement::Unclosed { what })?;
        self.rest = &self.rest[end + 2..];
        Ok(Token::Quoted)
    }

    fn parameter(&mut self) -> Result<Token<'a>, BadStatement> {
        self.rest = &self.rest[1..];
        let digits = self.take(|sign| sign.is_ascii_digit());
        let number = digits.parse().ok().filter(|number| (1..=64).contains(number));
        let number = number.ok_or(BadStatement::NotTaken { what: "a quote of dollars" })?;
        Ok(Token::Parameter(number))
    }
}
