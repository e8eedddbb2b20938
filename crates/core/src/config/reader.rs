//! Reads the parts of a document and collects what is wrong with them.

use super::keys::{self, Key};
use super::syntax::child;
use super::tree::Node;
use crate::diagnostic::{Code, Diagnostic, Severity};

/// Collects diagnostics while a document is read.
#[derive(Debug, Default)]
pub(super) struct Reader {
    pub(super) diagnostics: Vec<Diagnostic>,
    unknown_keys: usize,
}

/// For so many unknown keys it is looked up what was meant; a document with more was never meant
/// for this program.
const MOST_LOOKED_UP: usize = 100;

/// An object of the document: its known fields and where it stands. Absent and `null` objects are
/// empty sections.
#[derive(Debug)]
pub(super) struct Section<'n> {
    pub(super) path: String,
    fields: Vec<(&'static str, &'n Node)>,
    /// Keys that aren't known.
    pub(super) unknown: Vec<&'n str>,
}

impl Reader {
    pub(super) fn report(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }

    /// How many errors have been reported so far.
    pub(super) fn errors(&self) -> usize {
        self.diagnostics
            .iter()
            .filter(|diagnostic| diagnostic.severity == Severity::Error)
            .count()
    }

    /// Sorts an object's entries into the `known` keys. Keys match without regard to case, the last
    /// of several counts, `null` is as good as absent; whatever else is there is reported.
    pub(super) fn section<'n>(
        &mut self,
        path: String,
        entries: &'n [(String, Node)],
        known: &'static [Key],
    ) -> Section<'n> {
        let mut fields: Vec<(&'static str, &'n Node)> = Vec::new();
        let mut others = Vec::new();
        for (key, node) in entries {
            let Some(name) = keys::names(known).find(|name| name.eq_ignore_ascii_case(key)) else {
                let unknown = Diagnostic::warning(child(&path, key), "unknown key, ignored")
                    .code(Code::UnknownKey);
                self.unknown_keys += 1;
                others.push(key.as_str());
                self.report(if self.unknown_keys <= MOST_LOOKED_UP {
                    unknown.suggest_like(key, keys::names(known))
                } else {
                    unknown
                });
                continue;
            };
            if key != name {
                self.report(
                    Diagnostic::warning(child(&path, key), "keys are written in lower case")
                        .code(Code::KeyCase)
                        .suggest(format!("write `{name}`")),
                );
            }
            if *node == Node::Null {
                continue;
            }
            match fields.iter_mut().find(|(field, _)| *field == name) {
                Some((_, value)) => {
                    *value = node;
                    self.report(
                        Diagnostic::warning(
                            child(&path, name),
                            "the key appears more than once; the last one counts",
                        )
                        .code(Code::Repeated),
                    );
                }
                None => fields.push((name, node)),
            }
        }
        Section {
            path,
            fields,
            unknown: others,
        }
    }

    /// The object at `key`, or an empty section if there is none.
    pub(super) fn object<'n>(
        &mut self,
        parent: &Section<'n>,
        key: &str,
        known: &'static [Key],
    ) -> Section<'n> {
        let path = parent.path(key);
        match parent.get(key) {
            Some(Node::Object(entries)) => self.section(path, entries, known),
            Some(other) => {
                self.wrong_kind(&path, "an object", other);
                Section::empty(path)
            }
            None => Section::empty(path),
        }
    }

    /// The text at `key`.
    pub(super) fn string<'n>(&mut self, parent: &Section<'n>, key: &str) -> Option<&'n str> {
        match parent.get(key)? {
            Node::String(text) => Some(text),
            other => {
                self.wrong_kind(&parent.path(key), "a string", other);
                None
            }
        }
    }

    /// The list at `key`; nothing if there is none.
    pub(super) fn array<'n>(&mut self, parent: &Section<'n>, key: &str) -> &'n [Node] {
        match parent.get(key) {
            Some(Node::Array(items)) => items,
            Some(other) => {
                self.wrong_kind(&parent.path(key), "an array", other);
                &[]
            }
            None => &[],
        }
    }

    /// One of a few words, spelled exactly. Empty text is as good as absent.
    pub(super) fn choice<T: Copy + Default>(
        &mut self,
        parent: &Section<'_>,
        key: &str,
        all: &[T],
        name: fn(T) -> &'static str,
    ) -> T {
        self.choice_or(parent, key, all, name, T::default())
    }

    /// The same, with a default of the key's own.
    pub(super) fn choice_or<T: Copy>(
        &mut self,
        parent: &Section<'_>,
        key: &str,
        all: &[T],
        name: fn(T) -> &'static str,
        fallback: T,
    ) -> T {
        match self.string(parent, key) {
            None | Some("") => fallback,
            Some(word) => match find_choice(word, all, name) {
                Ok(value) => value,
                Err(diagnostic) => {
                    self.report(Diagnostic {
                        path: parent.path(key),
                        message: format!("{}; using `{}`", diagnostic.message, name(fallback)),
                        ..diagnostic
                    });
                    fallback
                }
            },
        }
    }

    pub(super) fn wrong_kind(&mut self, path: &str, expected: &str, found: &Node) {
        self.report(
            Diagnostic::error(
                path,
                format!("expected {expected}, not {}; ignored", found.kind()),
            )
            .code(Code::WrongType)
            .found(found.to_string()),
        );
    }
}

impl<'n> Section<'n> {
    pub(super) fn empty(path: String) -> Self {
        Self {
            path,
            fields: Vec::new(),
            unknown: Vec::new(),
        }
    }

    /// The value at one of the known keys, unless it is `null`.
    pub(super) fn get(&self, key: &str) -> Option<&'n Node> {
        self.fields
            .iter()
            .find_map(|(field, node)| (*field == key).then_some(*node))
    }

    /// Where the value at `key` stands.
    pub(super) fn path(&self, key: &str) -> String {
        child(&self.path, key)
    }
}

/// Finds the value that is spelled `word`; otherwise an error without a place.
pub(super) fn find_choice<T: Copy>(
    word: &str,
    all: &[T],
    name: fn(T) -> &'static str,
) -> Result<T, Diagnostic> {
    let names = || all.iter().map(|value| name(*value));
    all.iter()
        .copied()
        .find(|value| name(*value) == word)
        .ok_or_else(|| {
            let expected = names().collect::<Vec<_>>().join(", ");
            Diagnostic::error("", format!("expected one of {expected}"))
                .code(Code::UnknownWord)
                .found(word)
                .suggest_like(word, names())
        })
}
