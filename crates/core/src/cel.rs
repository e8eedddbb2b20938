//! Conditions on the creation of a pod in CEL, as API servers evaluate them in the `matchConditions`
//! of a webhook
//! (<https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/#matching-requests-matchconditions>).
//!
//! A [`Condition`] is text for the API server and can be asked here as well, so that tests compare
//! both. Its evaluation can't fail: an error would keep the API server from calling the webhook, or
//! from creating the pod. Each field is looked at only where it is there, and nothing costs more
//! than in proportion to the text: values that can be of any length before the API server validates
//! the pod are measured first.
//!
//! What an API server allows an expression to cost is 1,000,000 units, and all conditions of a
//! webhook 2,500,000 together (`PerCallLimit` and `RuntimeCELCostBudgetMatchConditions` of
//! `k8s.io/apiserver`). A unit is an access or ten characters that are read; an expression costs
//! about two for each of its own characters at most, and 300,000 for annotations of 3 MiB.

mod portable;

use std::fmt::{self, Write as _};

pub use portable::Portable;

/// Longer values of labels are measured and not read. No valid value is longer
/// (<https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#syntax-and-character-set>).
const LONGEST_LABEL: usize = 63;
/// More annotations aren't looked through: the webhook is called.
const MOST_ANNOTATIONS: usize = 1000;

/// When the API server calls the webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition(Test);

/// Something that holds for a pod that is created, or not.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Test {
    /// All of them hold. None: it always holds.
    All(Vec<Test>),
    /// One of them holds. None: it never holds.
    Any(Vec<Test>),
    /// It doesn't hold.
    Not(Box<Test>),
    /// The name of the namespace.
    Namespace(Text),
    /// The label of this key is there.
    Labelled(String),
    /// The label of this key is there, and its value is one that fits.
    Label(String, Text),
    /// There is an annotation whose key begins with this.
    Annotated(&'static str),
}

/// What a text has to be.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Text {
    /// One of these.
    OneOf(Vec<String>),
    /// It begins with this.
    Begins(String),
    /// It ends with this.
    Ends(String),
    /// It has this in it.
    Has(String),
    /// A regular expression is found in it.
    Matches(Portable),
}

/// A pod that is created, as far as tests look at it.
pub struct Creation<'p> {
    /// The namespace of the request.
    pub namespace: &'p str,
    /// The value of a label.
    pub label: &'p dyn Fn(&str) -> Option<&'p str>,
    /// Whether an annotation's key begins with a text.
    pub annotated: &'p dyn Fn(&str) -> bool,
}

impl Condition {
    /// It holds where the test does.
    pub fn new(test: Test) -> Self {
        Self(test)
    }

    /// Whether the webhook is called for a pod.
    pub fn holds(&self, pod: &Creation<'_>) -> bool {
        self.0.holds(pod)
    }
}

impl Test {
    /// Holds always.
    pub const ALWAYS: Self = Self::All(Vec::new());

    /// One of these. What stands there twice is written once.
    pub fn any(tests: impl IntoIterator<Item = Self>) -> Self {
        let mut seen = std::collections::HashSet::new();
        let mut all: Vec<Self> = Vec::new();
        for test in tests {
            if test == Self::ALWAYS {
                return test;
            }
            if seen.insert(test.clone()) {
                all.push(test);
            }
        }
        match all.len() {
            1 => all.remove(0),
            _ => Self::Any(all),
        }
    }

    /// All of these.
    pub fn all(tests: impl IntoIterator<Item = Self>) -> Self {
        let tests = tests.into_iter().filter(|test| *test != Self::ALWAYS);
        let mut all: Vec<Self> = tests.collect();
        match all.len() {
            1 => all.remove(0),
            _ => Self::All(all),
        }
    }

    fn holds(&self, pod: &Creation<'_>) -> bool {
        match self {
            Self::All(tests) => tests.iter().all(|test| test.holds(pod)),
            Self::Any(tests) => tests.iter().any(|test| test.holds(pod)),
            Self::Not(test) => !test.holds(pod),
            Self::Namespace(text) => text.fits(pod.namespace),
            Self::Labelled(key) => (pod.label)(key).is_some(),
            Self::Label(key, text) => (pod.label)(key).is_some_and(|value| {
                let is_short = !text.is_measured() || value.chars().count() <= LONGEST_LABEL;
                is_short && text.fits(value)
            }),
            Self::Annotated(prefix) => (pod.annotated)(prefix),
        }
    }

    fn looks_at_labels(&self) -> bool {
        match self {
            Self::All(tests) | Self::Any(tests) => tests.iter().any(Self::looks_at_labels),
            Self::Not(test) => test.looks_at_labels(),
            Self::Labelled(_) | Self::Label(..) => true,
            Self::Namespace(_) | Self::Annotated(_) => false,
        }
    }

    /// Writes it as an operand of `&&`, which binds more tightly than `||`.
    fn write_operand(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any(tests) if !tests.is_empty() => write!(out, "({self})"),
            test => write!(out, "{test}"),
        }
    }
}

impl std::ops::Not for Test {
    type Output = Self;

    fn not(self) -> Self {
        Self::Not(Box::new(self))
    }
}

impl Text {
    /// The one text.
    pub fn is(text: impl Into<String>) -> Self {
        Self::OneOf(vec![text.into()])
    }

    /// Whether a value is one.
    pub fn fits(&self, value: &str) -> bool {
        match self {
            Self::OneOf(texts) => texts.iter().any(|text| text == value),
            Self::Begins(text) => value.starts_with(text),
            Self::Ends(text) => value.ends_with(text),
            Self::Has(text) => value.contains(text),
            Self::Matches(expression) => expression.is_in(value),
        }
    }

    /// Whether reading a value costs more the longer it is.
    fn is_measured(&self) -> bool {
        !matches!(self, Self::OneOf(_))
    }

    fn write_of(&self, value: &str, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let call = |out: &mut fmt::Formatter<'_>, function, text: &str| {
            write!(out, "{value}.{function}({})", Literal(text))
        };
        match self {
            Self::OneOf(texts) => match &texts[..] {
                [text] => write!(out, "{value} == {}", Literal(text)),
                texts => {
                    write!(out, "{value} in [")?;
                    for (at, text) in texts.iter().enumerate() {
                        let before = if at == 0 { "" } else { ", " };
                        write!(out, "{before}{}", Literal(text))?;
                    }
                    out.write_char(']')
                }
            },
            Self::Begins(text) => call(out, "startsWith", text),
            Self::Ends(text) => call(out, "endsWith", text),
            Self::Has(text) => call(out, "contains", text),
            Self::Matches(expression) => call(out, "matches", expression.as_str()),
        }
    }
}

/// The expression. Lines are there for people who read the registration.
impl fmt::Display for Condition {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(
            "request.operation == 'CREATE' && request.resource.resource == 'pods' && \
             has(request.namespace) && has(object.metadata) && (\n",
        )?;
        let alone = std::slice::from_ref(&self.0);
        let tests = match &self.0 {
            Test::Any(tests) => tests,
            _ => alone,
        };
        let (labels, others): (Vec<&Test>, Vec<&Test>) =
            tests.iter().partition(|test| test.looks_at_labels());
        for (at, test) in others.iter().enumerate() {
            let last = at + 1 == others.len() && labels.is_empty();
            writeln!(out, "  {test}{}", if last { "" } else { " ||" })?;
        }
        if !labels.is_empty() {
            out.write_str(
                "  [has(object.metadata.labels) ? object.metadata.labels : {}].exists(labels,\n",
            )?;
            for (at, test) in labels.iter().enumerate() {
                let last = at + 1 == labels.len();
                writeln!(out, "    {test}{}", if last { ")" } else { " ||" })?;
            }
        }
        if tests.is_empty() {
            out.write_str("  false\n")?;
        }
        out.write_char(')')
    }
}

impl fmt::Display for Test {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All(tests) if tests.is_empty() => out.write_str("true"),
            Self::Any(tests) if tests.is_empty() => out.write_str("false"),
            Self::All(tests) => {
                for (at, test) in tests.iter().enumerate() {
                    out.write_str(if at == 0 { "" } else { " && " })?;
                    test.write_operand(out)?;
                }
                Ok(())
            }
            Self::Any(tests) => {
                for (at, test) in tests.iter().enumerate() {
                    write!(out, "{}{test}", if at == 0 { "" } else { " || " })?;
                }
                Ok(())
            }
            Self::Not(test) => write!(out, "!({test})"),
            Self::Namespace(text) => text.write_of("request.namespace", out),
            Self::Labelled(key) => write!(out, "{} in labels", Literal(key)),
            Self::Label(key, text) => {
                let key = Literal(key);
                write!(out, "{key} in labels && ")?;
                if text.is_measured() {
                    write!(out, "size(labels[{key}]) <= {LONGEST_LABEL} && ")?;
                }
                text.write_of(&format!("labels[{key}]"), out)
            }
            Self::Annotated(prefix) => {
                let annotations = "object.metadata.annotations";
                write!(
                    out,
                    "has({annotations}) && (size({annotations}) > {MOST_ANNOTATIONS} || \
                     {annotations}.exists(key, key.startsWith({})))",
                    Literal(prefix)
                )
            }
        }
    }
}

/// A text as a literal of CEL
/// (<https://github.com/google/cel-spec/blob/master/doc/langdef.md#string-and-bytes-values>).
struct Literal<'t>(&'t str);

impl fmt::Display for Literal<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_char('\'')?;
        for character in self.0.chars() {
            match character {
                '\\' | '\'' => write!(out, "\\{character}")?,
                // Also what a terminal could show as something else.
                character if !character.is_ascii() || character.is_ascii_control() => {
                    write!(out, "\\U{:08x}", u32::from(character))?;
                }
                character => out.write_char(character)?,
            }
        }
        out.write_char('\'')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label(key: &str, text: Text) -> Test {
        Test::Label(key.to_owned(), text)
    }

    #[test]
    fn the_expression() {
        let test = Test::any([
            Test::Annotated("a/"),
            Test::Namespace(Text::OneOf(vec!["x".to_owned(), "y".to_owned()])),
            Test::Namespace(Text::Begins("z-".to_owned())),
            label("app", Text::is("it's")),
            Test::all([
                Test::any([
                    Test::Namespace(Text::is("n")),
                    Test::Namespace(Text::Has("m".to_owned())),
                ]),
                Test::ALWAYS,
                Test::Labelled("tier".to_owned()),
                !label("app", Text::Ends("\\é\n".to_owned())),
            ]),
            Test::Namespace(Text::is("z")),
            Test::Namespace(Text::is("z")),
        ]);
        expect_test::expect![[r"
            request.operation == 'CREATE' && request.resource.resource == 'pods' && has(request.namespace) && has(object.metadata) && (
              has(object.metadata.annotations) && (size(object.metadata.annotations) > 1000 || object.metadata.annotations.exists(key, key.startsWith('a/'))) ||
              request.namespace in ['x', 'y'] ||
              request.namespace.startsWith('z-') ||
              request.namespace == 'z' ||
              [has(object.metadata.labels) ? object.metadata.labels : {}].exists(labels,
                'app' in labels && labels['app'] == 'it\'s' ||
                (request.namespace == 'n' || request.namespace.contains('m')) && 'tier' in labels && !('app' in labels && size(labels['app']) <= 63 && labels['app'].endsWith('\\\U000000e9\U0000000a')))
            )"]]
        .assert_eq(&Condition::new(test).to_string());
        for (test, inside) in [(Test::ALWAYS, "true"), (Test::any([]), "false")] {
            let text = Condition::new(test).to_string();
            assert!(text.ends_with(&format!("(\n  {inside}\n)")), "{text}");
        }
    }

    #[test]
    fn what_holds() {
        let holds = |test: &Test, namespace: &str, labels: &[(&str, &str)]| {
            let label = |key: &str| {
                let found = labels.iter().find(|(name, _)| *name == key);
                found.map(|(_, value)| *value)
            };
            let pod = Creation {
                namespace,
                label: &label,
                annotated: &|prefix| "a/b".starts_with(prefix),
            };
            Condition::new(test.clone()).holds(&pod)
        };
        let begins = label("app", Text::Begins("x".to_owned()));
        let long = format!("x{}", "y".repeat(63));
        for (test, expected) in [
            (Test::ALWAYS, true),
            (Test::any([]), false),
            (Test::Annotated("a/"), true),
            (Test::Annotated("b/"), false),
            (Test::Namespace(Text::is("ns")), true),
            (Test::Namespace(Text::Has("x".to_owned())), false),
            (Test::Labelled("app".to_owned()), true),
            (Test::Labelled("tier".to_owned()), false),
            (begins.clone(), true),
            (label("tier", Text::Begins(String::new())), false),
            (!begins.clone(), false),
            (Test::all([begins.clone(), Test::any([])]), false),
            (Test::any([Test::any([]), begins.clone()]), true),
        ] {
            assert_eq!(holds(&test, "ns", &[("app", "xyz")]), expected, "{test}");
        }
        assert!(!holds(&begins, "ns", &[("app", &long)]));
        assert!(holds(
            &label("app", Text::is(&*long)),
            "ns",
            &[("app", &long)]
        ));
    }
}
