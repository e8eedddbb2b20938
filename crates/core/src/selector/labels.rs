//! Label selectors: the Kubernetes grammar, with globs as values of `=`, `==` and `!=`.

mod cel;
mod logic;

use std::fmt;

use super::glob::{Glob, GlobError};
use super::{MAX_LABEL, is_label_value, is_qualified_name};

/// Conditions on a pod's labels that must all hold.
///
/// The grammar is that of
/// <https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors>:
/// `key`, `!key`, `key=value`, `key==value`, `key!=value`, `key in (a, b)`, `key notin (a, b)`,
/// `key>1`, `key<1`, joined by commas. The value of `=`, `==` and `!=` may be a glob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelSelector {
    text: String,
    requirements: Vec<Requirement>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Requirement {
    key: String,
    test: Test,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Test {
    Exists,
    Missing,
    Like(Glob),
    /// Also true without the label.
    Unlike(Glob),
    In(Vec<String>),
    /// Also true without the label.
    NotIn(Vec<String>),
    Above(i64),
    Below(i64),
}

/// Why a text is no label selector.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectorError {
    /// Nothing but white space; it would otherwise mean every pod.
    #[error("the label selector is empty")]
    Empty,
    /// Something else than what the grammar wants.
    #[error("expected {expected} in the label selector, found {found}")]
    Unexpected {
        /// What could stand there.
        expected: &'static str,
        /// What stands there.
        found: String,
    },
    /// Not a label's key.
    #[error("`{0}` isn't a label key")]
    Key(String),
    /// Not a label's value; only `=`, `==` and `!=` take globs.
    #[error("`{0}` isn't a label value (globs work with =, == and != only)")]
    Value(String),
    /// `>` and `<` compare whole numbers.
    #[error("`{0}` isn't a whole number")]
    Number(String),
    /// Not a glob.
    #[error("`{glob}` isn't a pattern: {reason}")]
    Glob {
        /// The value.
        glob: String,
        /// What is wrong with it.
        reason: GlobError,
    },
}

impl LabelSelector {
    /// Reads a selector.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        if text.trim().is_empty() {
            return Err(SelectorError::Empty);
        }
        let mut parser = Parser {
            lexer: Lexer { rest: text },
        };
        let mut requirements = Vec::new();
        loop {
            requirements.push(parser.requirement()?);
            match parser.lexer.next(Context::Syntax) {
                Token::End => break,
                Token::Symbol(",") => {}
                other => return Err(other.unexpected("`,` or the end")),
            }
        }
        Ok(Self {
            text: text.to_owned(),
            requirements,
        })
    }

    /// Whether every condition holds for the labels that `get` looks up.
    pub fn matches<'l>(&self, get: impl Fn(&str) -> Option<&'l str>) -> bool {
        self.requirements
            .iter()
            .all(|requirement| requirement.test.holds(get(&requirement.key)))
    }

    /// The selector as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for LabelSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Test {
    fn holds(&self, value: Option<&str>) -> bool {
        // A pod reaches the webhook before its labels are validated. A value that is too long will
        // be refused anyway, and must not cost time here.
        let glob_fits = |glob: &Glob, value: &str| value.len() <= MAX_LABEL && glob.matches(value);
        let short = value.filter(|value| value.len() <= MAX_LABEL);
        let number = || short.and_then(|value| value.parse::<i64>().ok());
        match self {
            Test::Exists => value.is_some(),
            Test::Missing => value.is_none(),
            Test::Like(glob) => value.is_some_and(|value| glob_fits(glob, value)),
            Test::Unlike(glob) => value.is_none_or(|value| !glob_fits(glob, value)),
            Test::In(set) => value.is_some_and(|value| set.iter().any(|one| one == value)),
            Test::NotIn(set) => value.is_none_or(|value| set.iter().all(|one| one != value)),
            Test::Above(limit) => number().is_some_and(|number| number > *limit),
            Test::Below(limit) => number().is_some_and(|number| number < *limit),
        }
    }
}

/// What a token may be depends on where it stands: `in` is an operator after a key and an ordinary
/// word elsewhere, and a glob value may hold a `!` inside brackets.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Context {
    Syntax,
    Value,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token<'a> {
    End,
    Symbol(&'a str),
    Word(&'a str),
}

impl Token<'_> {
    fn unexpected(self, expected: &'static str) -> SelectorError {
        let found = match self {
            Token::End => "the end".to_owned(),
            Token::Symbol(text) | Token::Word(text) => format!("`{text}`"),
        };
        SelectorError::Unexpected { expected, found }
    }
}

#[derive(Clone)]
struct Lexer<'a> {
    rest: &'a str,
}

impl<'a> Lexer<'a> {
    fn next(&mut self, context: Context) -> Token<'a> {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\r', '\n']);
        if self.rest.is_empty() {
            return Token::End;
        }
        for symbol in ["==", "!=", "=", "!", "<", ">", "(", ")", ","] {
            if let Some(rest) = self.rest.strip_prefix(symbol) {
                let (token, _) = self.rest.split_at(symbol.len());
                self.rest = rest;
                return Token::Symbol(token);
            }
        }
        let end = self.word_end(context);
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        Token::Word(word)
    }

    fn word_end(&self, context: Context) -> usize {
        let mut in_class = false;
        for (index, c) in self.rest.char_indices() {
            match c {
                '[' if context == Context::Value => in_class = true,
                ']' => in_class = false,
                '!' if in_class => {}
                ' ' | '\t' | '\r' | '\n' | '=' | '!' | '(' | ')' | ',' | '<' | '>' => return index,
                _ => {}
            }
        }
        self.rest.len()
    }

    fn peek(&self) -> Token<'a> {
        self.clone().next(Context::Syntax)
    }
}

struct Parser<'a> {
    lexer: Lexer<'a>,
}

impl<'a> Parser<'a> {
    fn requirement(&mut self) -> Result<Requirement, SelectorError> {
        let mut token = self.lexer.next(Context::Syntax);
        let negated = token == Token::Symbol("!");
        if negated {
            token = self.lexer.next(Context::Syntax);
        }
        let Token::Word(key) = token else {
            return Err(token.unexpected("a label key"));
        };
        if !is_qualified_name(key) {
            return Err(SelectorError::Key(key.to_owned()));
        }
        let test = if negated {
            Test::Missing
        } else if matches!(self.lexer.peek(), Token::End | Token::Symbol(",")) {
            Test::Exists
        } else {
            self.test()?
        };
        Ok(Requirement {
            key: key.to_owned(),
            test,
        })
    }

    fn test(&mut self) -> Result<Test, SelectorError> {
        match self.lexer.next(Context::Syntax) {
            Token::Symbol("=" | "==") => Ok(Test::Like(self.glob()?)),
            Token::Symbol("!=") => Ok(Test::Unlike(self.glob()?)),
            Token::Symbol(">") => Ok(Test::Above(self.number()?)),
            Token::Symbol("<") => Ok(Test::Below(self.number()?)),
            Token::Word("in") => Ok(Test::In(self.set()?)),
            Token::Word("notin") => Ok(Test::NotIn(self.set()?)),
            other => Err(other.unexpected("one of =, ==, !=, in, notin, >, <")),
        }
    }

    /// The one value after an operator; it may be left out, which means the empty text.
    fn value(&mut self) -> Result<&'a str, SelectorError> {
        match self.lexer.peek() {
            Token::End | Token::Symbol(",") => Ok(""),
            _ => match self.lexer.next(Context::Value) {
                Token::Word(value) => Ok(value),
                other => Err(other.unexpected("a value")),
            },
        }
    }

    fn glob(&mut self) -> Result<Glob, SelectorError> {
        let value = self.value()?;
        Glob::parse(value).map_err(|reason| SelectorError::Glob {
            glob: value.to_owned(),
            reason,
        })
    }

    fn number(&mut self) -> Result<i64, SelectorError> {
        let value = self.value()?;
        let digits = !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit());
        match value.parse() {
            Ok(number) if digits => Ok(number),
            _ => Err(SelectorError::Number(value.to_owned())),
        }
    }

    /// `(a, b)`. As in Kubernetes, nothing between two separators is the empty value, but `()`
    /// names no value at all.
    fn set(&mut self) -> Result<Vec<String>, SelectorError> {
        let open = self.lexer.next(Context::Syntax);
        if open != Token::Symbol("(") {
            return Err(open.unexpected("`(`"));
        }
        if self.lexer.peek() == Token::Symbol(")") {
            return Err(Token::Symbol(")").unexpected("a value"));
        }
        let mut values = Vec::new();
        loop {
            let value = match self.lexer.peek() {
                Token::Word(_) => match self.lexer.next(Context::Syntax) {
                    Token::Word(word) => word,
                    other => return Err(other.unexpected("a value")),
                },
                _ => "",
            };
            if !is_label_value(value) {
                return Err(SelectorError::Value(value.to_owned()));
            }
            values.push(value.to_owned());
            match self.lexer.next(Context::Syntax) {
                Token::Symbol(",") => {}
                Token::Symbol(")") => return Ok(values),
                other => return Err(other.unexpected("`,` or `)`")),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn matches(selector: &str, labels: &[(&str, &str)]) -> bool {
        let selector = LabelSelector::parse(selector).unwrap_or_else(|e| panic!("{selector}: {e}"));
        selector.matches(|key| {
            labels
                .iter()
                .find_map(|(name, value)| (*name == key).then_some(*value))
        })
    }

    #[test]
    fn globs() {
        let nginx: &[_] = &[("app", "middleware-nginx")];
        assert!(matches("app=middleware*", nginx));
        assert!(!matches("app=middleware*", &[]));
        assert!(!matches("app!=middleware*", nginx));
        assert!(matches("app!=middleware*", &[]));
        assert!(matches("app in (middleware-nginx)", nginx));
        assert!(!matches("app in (middleware-redis)", nginx));
        assert!(LabelSelector::parse("app=middleware-(a|b)").is_err());
        assert!(LabelSelector::parse("app in (middleware*)").is_err());
    }

    #[test]
    fn the_kubernetes_grammar() {
        let labels: &[_] = &[
            ("app", "web"),
            ("env", ""),
            ("in", "x"),
            ("n", "10"),
            ("app.kubernetes.io/name", "shop"),
        ];
        for (selector, expected) in [
            ("app", true),
            ("missing", false),
            ("!app", false),
            ("!missing", true),
            ("! missing", true),
            ("app=web", true),
            ("app == web", true),
            ("app!=web", false),
            ("env=", true),
            ("app=", false),
            ("env=,app=web", true),
            ("in=x", true),
            ("in in (in, x)", true),
            ("app in (web,api)", true),
            ("app in ( api )", false),
            ("app notin (web)", false),
            ("missing notin (web)", true),
            ("missing in (web)", false),
            ("env in (,a)", true),
            ("env in (a,)", true),
            ("n>9", true),
            ("n > 10", false),
            ("n<11", true),
            ("app>1", false),
            ("missing<1", false),
            ("app=web,env,!missing,n>1", true),
            ("app=web,env,missing", false),
            ("app.kubernetes.io/name=sh*", true),
            ("app=[!x]eb", true),
            ("app=[vw]e?", true),
            ("app=*", true),
            ("missing=*", false),
            ("app=web\n,\tenv", true),
        ] {
            assert_eq!(matches(selector, labels), expected, "{selector}");
        }
    }

    #[test]
    fn refuses_and_says_why() {
        let check = |selector: &str, expected: &str| {
            let error = LabelSelector::parse(selector).unwrap_err();
            assert_eq!(error.to_string(), expected, "{selector:?}");
        };
        check("", "the label selector is empty");
        check(" ", "the label selector is empty");
        check(
            "app=middleware-(a|b)",
            "expected `,` or the end in the label selector, found `(`",
        );
        check(
            "a=b,",
            "expected a label key in the label selector, found the end",
        );
        check(
            ",a",
            "expected a label key in the label selector, found `,`",
        );
        check(
            "a b",
            "expected one of =, ==, !=, in, notin, >, < in the label selector, found `b`",
        );
        check(
            "!a=b",
            "expected `,` or the end in the label selector, found `=`",
        );
        check("a=!b", "expected a value in the label selector, found `!`");
        check("a in b", "expected `(` in the label selector, found `b`");
        check(
            "a in ()",
            "expected a value in the label selector, found `)`",
        );
        check(
            "a in (b",
            "expected `,` or `)` in the label selector, found the end",
        );
        check(
            "a in (b*)",
            "`b*` isn't a label value (globs work with =, == and != only)",
        );
        check("-a=b", "`-a` isn't a label key");
        check("A/b/c", "`A/b/c` isn't a label key");
        check("a>b", "`b` isn't a whole number");
        check("a>", "`` isn't a whole number");
        check("a=[b", "`[b` isn't a pattern: `[` is never closed");
        check(
            "a={b}",
            "`{b}` isn't a pattern: `{` and `}` aren't supported; write one entry for each alternative",
        );
    }

    #[test]
    fn a_value_beyond_a_labels_length_never_fits() {
        let long = "a".repeat(64);
        assert!(!matches("app=a*", &[("app", &long)]));
        assert!(matches("app!=a*", &[("app", &long)]));
        assert!(matches("app=a*", &[("app", &long[1..])]));
    }

    proptest! {
        #[test]
        fn any_text_is_answered(text in r"[a!=<>(),\[\]*in \-]{0,16}") {
            if let Ok(selector) = LabelSelector::parse(&text) {
                let again = LabelSelector::parse(selector.as_str());
                prop_assert_eq!(again, Ok(selector));
            }
        }
    }
}
