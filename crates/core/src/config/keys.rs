//! What a key of the document is: its name, what it takes, what it means without it.
//!
//! The tables of keys stand beside those who read them, and are the only place that says which keys
//! there are. From the same tables come the JSON Schema and the tables of docs/configuration.md.

/// A key of an object.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// What it takes and does, for people, in Markdown.
    pub(super) about: &'static str,
    /// What counts without it, as JSON; empty where that isn't a value.
    pub(super) default: &'static str,
    /// Whether its object can't be used without it.
    pub(super) is_needed: bool,
}

/// What a key takes. `null` is as good as no key, everywhere.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Bool,
    /// A whole number within bounds.
    Whole {
        least: u64,
        most: u64,
    },
    Text,
    /// An address and a port.
    Listen,
    Image,
    /// An amount of a resource: a text or a number.
    Quantity,
    /// One of a few words, or empty.
    Choice(fn() -> Vec<&'static str>),
    Texts,
    /// Names of environment variables, and their values.
    Variables,
    Object(&'static [Key]),
    Objects(&'static [Key]),
    /// Objects of which each needs a selector.
    Rules(&'static [Key]),
}

impl Key {
    pub(super) const fn new(name: &'static str, kind: Kind, about: &'static str) -> Self {
        Self {
            name,
            kind,
            about,
            default: "",
            is_needed: false,
        }
    }

    /// With a value that counts without the key.
    pub(super) const fn or(mut self, default: &'static str) -> Self {
        self.default = default;
        self
    }

    pub(super) const fn needed(mut self) -> Self {
        self.is_needed = true;
        self
    }
}

/// The first keys and then the others.
pub(super) const fn join<const ALL: usize>(first: &[Key], others: &[Key]) -> [Key; ALL] {
    let mut keys = [Key::new("", Kind::Bool, ""); ALL];
    let mut at = 0;
    while at < ALL {
        keys[at] = if at < first.len() {
            first[at]
        } else {
            others[at - first.len()]
        };
        at += 1;
    }
    keys
}

/// The names of keys.
pub(super) fn names(keys: &'static [Key]) -> impl Iterator<Item = &'static str> + Clone {
    keys.iter().map(|key| key.name)
}
