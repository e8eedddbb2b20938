//! The environment that a library gives each container that loads it: the start-up variable of the
//! language, the configured variables, and tags merged into the container's own.
//!
//! A container may define the start-up variable itself. A literal is extended. A `valueFrom` is
//! wrapped: the entry gets another name in place, and the variable follows it and refers to that
//! name, because the kubelet expands `$(NAME)` from entries further up. Nothing is ever moved or
//! removed; where the order matters, entries are inserted.

use std::collections::{HashMap, HashSet};

use crate::expansion::references;
use crate::pod::draft::EnvEdit;
use crate::pod::index::FEW;
use crate::pod::part::{NewEnv, NewEnvValue};
use crate::pod::view::{Container, EnvSource, EnvVar};

use super::container::Env;
use super::note::{self, Note};
use super::reason::Reason;
use super::spec::StartUp;

/// Plans the environment of containers.
#[derive(Debug)]
pub(crate) struct EnvPlanner {
    /// The configured tags, if they are configured as text.
    tags: Option<Tags>,
    /// Positions of the configured variables, where there are many.
    positions: HashMap<String, usize>,
}

/// More configured variables than these are looked up by name: comparing is faster for the usual
/// dozen.
const MANY_VARIABLES: usize = 4 * FEW;

#[derive(Debug)]
struct Tags {
    /// Position among the configured variables.
    at: usize,
    list: Vec<Tag>,
}

#[derive(Debug)]
struct Tag {
    key: String,
    text: String,
    refers_to: Vec<String>,
}

/// Where the variables that matter stand in a container's `env`: of repeated names the last counts,
/// as in the kubelet.
struct Found {
    start: Option<usize>,
    original: bool,
    configured: Vec<Option<usize>>,
}

impl EnvPlanner {
    /// Of the variable `merged` the values are merged instead of one winning.
    pub(crate) fn new(envs: &[Env], merged: Option<&str>) -> Self {
        let at = merged.and_then(|name| envs.iter().position(|env| env.name == name));
        let text = at.and_then(|at| Some((at, envs[at].literal()?)));
        Self {
            tags: text.map(|(at, text)| Tags {
                at,
                list: tag_list(text),
            }),
            positions: if envs.len() > MANY_VARIABLES {
                let names = envs.iter().enumerate();
                names.map(|(at, env)| (env.name.clone(), at)).collect()
            } else {
                HashMap::new()
            },
        }
    }

    /// The edits of one container's `env`. `configured` are the `envs` as they are written into
    /// this pod. `by_env_from` says that the container is known to get the start-up variable by
    /// `envFrom`; the kubelet expands a reference to it.
    ///
    /// # Errors
    /// The reason why the container can't be told to load the library.
    pub(crate) fn plan<'p>(
        &'p self,
        envs: &'p [Env],
        configured: &[Option<NewEnv<'p>>],
        container: &'p Container<'_>,
        start_up: &'static StartUp,
        by_env_from: bool,
        notes: &mut Vec<Note>,
    ) -> Result<Vec<EnvEdit<'p>>, Reason> {
        let found = self.find(container, start_up, envs);
        let mut edits = Vec::new();
        // What is added, in the documented order: the start-up variable, then the configured ones.
        let mut added: Vec<(usize, NewEnv<'p>)> = Vec::with_capacity(envs.len() + 1);
        if let Some((name, value)) = start_up.companion {
            let mut own = container.env.iter().enumerate().rev();
            match own.find(|(_, env)| env.name == name) {
                None => added.push((0, literal(name, value.to_owned()))),
                Some((index, env)) => {
                    if matches!(&env.source, EnvSource::Literal(own) if own.is_empty()) {
                        edits.push(EnvEdit::SetValue {
                            index,
                            replace: false,
                            value: value.to_owned(),
                        });
                    }
                }
            }
        }
        match found.start {
            None => {
                let value = if by_env_from {
                    start_up.joined(&format!("$({})", start_up.variable))
                } else {
                    start_up.bare.to_owned()
                };
                added.push((0, literal(start_up.variable, value)));
            }
            Some(index) => start_up.extend(container, index, found.original, &mut edits)?,
        }
        for (at, env) in envs.iter().enumerate() {
            let is_companion = start_up.companion.is_some_and(|(name, _)| name == env.name);
            let shadows_start = env.name == start_up.variable || is_companion;
            if found.configured[at].is_none() && !shadows_start {
                added.extend(configured[at].clone().map(|env| (at, env)));
            }
        }
        let insert = match &self.tags {
            Some(tags) => tags.merge(container, &found, &added, &mut edits, notes),
            None => None,
        };
        for (at, env) in added {
            edits.push(match insert {
                Some((index, ref late)) if !late.contains(env.name) && self.before_tags(at) => {
                    EnvEdit::Insert { index, env }
                }
                _ => EnvEdit::Append(env),
            });
        }
        Ok(edits)
    }

    fn find(&self, container: &Container<'_>, start_up: &StartUp, envs: &[Env]) -> Found {
        let mut found = Found {
            start: None,
            original: false,
            configured: vec![None; envs.len()],
        };
        for (index, env) in container.env.iter().enumerate() {
            let name = env.name.as_ref();
            if name == start_up.variable {
                found.start = Some(index);
            }
            found.original |= name == start_up.original;
            if !self.positions.is_empty() {
                if let Some(at) = self.positions.get(name) {
                    found.configured[*at] = Some(index);
                }
                continue;
            }
            for (configured, position) in envs.iter().zip(&mut found.configured) {
                if configured.name == name {
                    *position = Some(index);
                }
            }
        }
        found
    }

    fn before_tags(&self, at: usize) -> bool {
        self.tags.as_ref().is_some_and(|tags| at < tags.at)
    }
}

impl StartUp {
    /// Extends the variable that the container defines at `index`.
    fn extend(
        &self,
        container: &Container<'_>,
        index: usize,
        original_taken: bool,
        edits: &mut Vec<EnvEdit<'_>>,
    ) -> Result<(), Reason> {
        match &container.env[index].source {
            EnvSource::Literal(value) => {
                if !self.loads(value) {
                    edits.push(EnvEdit::SetValue {
                        index,
                        replace: !value.is_empty(),
                        value: self.joined(value),
                    });
                }
                Ok(())
            }
            EnvSource::Reference { optional: true } => Err(Reason::OptionalReference {
                container: container.name.clone().into_owned(),
                variable: self.variable,
            }),
            EnvSource::Reference { optional: false } if original_taken => {
                Err(Reason::ReservedVariable {
                    container: container.name.clone().into_owned(),
                    variable: self.original,
                })
            }
            EnvSource::Reference { optional: false } => {
                edits.push(EnvEdit::Rename {
                    index,
                    name: self.original,
                });
                edits.push(EnvEdit::Insert {
                    index: index + 1,
                    env: literal(self.variable, self.joined(&format!("$({})", self.original))),
                });
                Ok(())
            }
        }
    }

    fn joined(&self, value: &str) -> String {
        if value.is_empty() {
            return self.bare.to_owned();
        }
        format!("{}{value}{}", self.before, self.behind)
    }

    /// Whether a value has the library loaded already.
    pub(super) fn loads(&self, value: &str) -> bool {
        if self.separator == ':' {
            let parts: HashSet<&str> = directories(value).collect();
            let mut added = directories(self.before).chain(directories(self.behind));
            return added.all(|part| parts.contains(part));
        }
        let option: Vec<&str> = self.bare.split_ascii_whitespace().collect();
        let Some((last, first)) = option.split_last() else {
            return false;
        };
        let words: Vec<&str> = value.split_ascii_whitespace().collect();
        words.windows(option.len()).any(|words| {
            // The last word may go on with arguments.
            let (words, end) = words.split_at(first.len());
            words == first
                && end[0]
                    .strip_prefix(*last)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
        })
    }
}

/// The directories in a list of paths.
pub(crate) fn directories(list: &str) -> impl Iterator<Item = &str> {
    let directories = list.split(':').map(|part| part.trim_end_matches('/'));
    directories.filter(|part| !part.is_empty())
}

impl Tags {
    /// Merges the configured tags into the container's own, which stay as they are. Returns where
    /// added variables must be inserted so that the merged tags can refer to them, and the names of
    /// those that can't stand there.
    fn merge<'p>(
        &self,
        container: &'p Container<'_>,
        found: &Found,
        added: &[(usize, NewEnv<'p>)],
        edits: &mut Vec<EnvEdit<'p>>,
        notes: &mut Vec<Note>,
    ) -> Option<(usize, HashSet<&'p str>)> {
        let index = found.configured[self.at]?;
        let EnvSource::Literal(own) = &container.env[index].source else {
            return None;
        };
        // A configured tag may hold a blank: it is found again between commas only.
        let between_commas = own.split(',').map(tag_key);
        let keys: HashSet<&str> = tags(own).map(tag_key).chain(between_commas).collect();
        let missing = || {
            self.list
                .iter()
                .filter(|tag| !keys.contains(tag.key.as_str()))
        };
        missing().next()?;
        let defined = FirstPlaces::of(&container.env);
        let late = late(&defined, index, self.at, added);
        let is_known_too_late = |name: &str| late.contains(name) || defined.not_before(index, name);
        let names: HashSet<&str> = added.iter().map(|(_, env)| env.name).collect();
        // ddtrace splits at commas if there is one, else at blanks.
        let blanks = own.contains(' ') && !own.contains(',');
        let separator = if blanks { ' ' } else { ',' };
        let mut value = own.clone().into_owned();
        let mut refers_to_added = false;
        for tag in missing() {
            let is_split = blanks && tag.text.contains(' ');
            if is_split || tag.refers_to.iter().any(|name| is_known_too_late(name)) {
                note::add(notes, Note::TAG_LEFT_OUT, || Note::TagLeftOut {
                    container: container.name.clone().into_owned(),
                    tag: tag.text.clone(),
                    is_split,
                });
                continue;
            }
            refers_to_added |= tag
                .refers_to
                .iter()
                .any(|name| names.contains(name.as_str()));
            if !value.is_empty() && !value.ends_with(separator) {
                value.push(separator);
            }
            value.push_str(&tag.text);
        }
        if value != *own {
            edits.push(EnvEdit::SetValue {
                index,
                replace: !own.is_empty(),
                value,
            });
        }
        refers_to_added.then_some((index, late))
    }
}

/// Where each variable of a container is defined first.
struct FirstPlaces<'c>(HashMap<&'c str, usize>);

impl<'c> FirstPlaces<'c> {
    fn of(env: &'c [EnvVar<'_>]) -> Self {
        let mut places = HashMap::with_capacity(env.len());
        for (at, env) in env.iter().enumerate() {
            places.entry(env.name.as_ref()).or_insert(at);
        }
        Self(places)
    }

    /// Whether the container defines a variable, but not before `index`.
    fn not_before(&self, index: usize, name: &str) -> bool {
        self.0.get(name).is_some_and(|first| *first >= index)
    }
}

/// Those of the added variables that refer, directly or through each other, to what is only defined
/// at `index` or further down, or that the configuration places behind the tags.
fn late<'p>(
    defined: &FirstPlaces<'_>,
    index: usize,
    tags_at: usize,
    added: &[(usize, NewEnv<'p>)],
) -> HashSet<&'p str> {
    let mut late: HashSet<&'p str> = HashSet::new();
    for (at, new) in added {
        let too_late = match &new.value {
            NewEnvValue::Literal(text) => {
                references(text).any(|name| late.contains(name) || defined.not_before(index, name))
            }
            _ => false,
        };
        if too_late || *at > tags_at {
            late.insert(new.name);
        }
    }
    late
}

fn tag_list(text: &str) -> Vec<Tag> {
    let mut known = HashSet::new();
    let tags = text.split(',').filter(|text| !text.is_empty());
    let first = tags.filter(|text| known.insert(tag_key(text)));
    first
        .map(|text| Tag {
            key: tag_key(text).to_owned(),
            text: text.to_owned(),
            refers_to: references(text).map(str::to_owned).collect(),
        })
        .collect()
}

/// The tags in a value; ddtrace accepts commas and blanks between them.
fn tags(text: &str) -> impl Iterator<Item = &str> {
    text.split([',', ' ']).filter(|tag| !tag.is_empty())
}

fn tag_key(tag: &str) -> &str {
    tag.split_once(':').map_or(tag, |(key, _)| key).trim()
}

fn literal(name: &'static str, value: String) -> NewEnv<'static> {
    NewEnv {
        name,
        value: NewEnvValue::Literal(value.into()),
    }
}
