//! Which modules a crate has, and which of them names which, read from its text.
//!
//! Paths that begin with `crate`, `self` or `super` are followed wherever they stand, through
//! groups and inline modules.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A module as its path from the root of the crate, which is the empty path.
pub(super) type Module = Vec<String>;

/// The modules of a crate that are files, and what they name.
pub(super) struct Crate {
    pub(super) modules: BTreeSet<Module>,
    /// Who names whom: modules that differ.
    pub(super) uses: BTreeSet<(Module, Module)>,
}

impl Crate {
    pub(super) fn read(source: &Path) -> Self {
        let files: Vec<(Module, String)> = rust_files(source)
            .into_iter()
            .map(|file| {
                let text = fs::read_to_string(&file).unwrap();
                (module_of(file.strip_prefix(source).unwrap()), text)
            })
            .collect();
        let modules: BTreeSet<Module> = files.iter().map(|(module, _)| module.clone()).collect();
        let mut uses = BTreeSet::new();
        for (module, text) in &files {
            for path in paths(module, text) {
                let named = (0..=path.len())
                    .rev()
                    .map(|length| &path[..length])
                    .find(|start| modules.contains(*start));
                let named = named.unwrap_or_default().to_vec();
                if named != *module {
                    uses.insert((module.clone(), named));
                }
            }
        }
        Self { modules, uses }
    }

    /// Who names whom among the modules directly below `folder`, they or what is in them.
    pub(super) fn uses_in(&self, folder: &[String]) -> BTreeSet<(&str, &str)> {
        let child = |module: &'_ Module| {
            let inside = module.len() > folder.len() && module.starts_with(folder);
            inside.then_some(folder.len())
        };
        let mut found = BTreeSet::new();
        for (user, used) in &self.uses {
            if let (Some(at), Some(_)) = (child(user), child(used))
                && user[at] != used[at]
            {
                found.insert((user[at].as_str(), used[at].as_str()));
            }
        }
        found
    }
}

/// The modules that a file declares, in its order.
pub(super) fn declared(text: &str) -> Vec<String> {
    let tokens = tokens(text);
    let declared = tokens.windows(3).filter_map(|window| match window {
        ["mod", name, ";"] => Some((*name).to_owned()),
        _ => None,
    });
    declared.collect()
}

fn module_of(file: &Path) -> Module {
    let mut module: Module = file
        .with_extension("")
        .iter()
        .map(|part| part.to_str().unwrap().to_owned())
        .collect();
    if module == ["lib"] {
        module.clear();
    }
    module
}

pub(super) fn rust_files(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

/// The paths that the text of a module names, from the root of its crate on.
fn paths(module: &[String], text: &str) -> Vec<Vec<String>> {
    let tokens = tokens(text);
    let mut found = Vec::new();
    // Inline modules that are open, each with the number of braces around it.
    let mut inline: Vec<(&str, usize)> = Vec::new();
    let mut braces = 0;
    let mut at = 0;
    while at < tokens.len() {
        match tokens[at] {
            "{" => braces += 1,
            "}" => {
                braces -= 1;
                if inline.last().is_some_and(|(_, around)| *around == braces) {
                    inline.pop();
                }
            }
            "mod" if tokens.get(at + 2) == Some(&"{") => inline.push((tokens[at + 1], braces)),
            "crate" | "self" | "super"
                if tokens.get(at + 1) == Some(&"::") && (at == 0 || tokens[at - 1] != "::") =>
            {
                let mut start: Vec<String> = match tokens[at] {
                    "crate" => Vec::new(),
                    _ => {
                        let inside = inline.iter().map(|(name, _)| (*name).to_owned());
                        module.iter().cloned().chain(inside).collect()
                    }
                };
                if tokens[at] == "super" {
                    start.pop();
                }
                at = tree(&tokens, at + 2, start, &mut found);
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    found
}

/// Follows a path, or a tree of them, from the token behind `::` on. Returns where it ends.
fn tree(
    tokens: &[&str],
    mut at: usize,
    mut path: Vec<String>,
    found: &mut Vec<Vec<String>>,
) -> usize {
    loop {
        match tokens.get(at) {
            Some(&"{") => {
                at += 1;
                while let Some(token) = tokens.get(at) {
                    at = match *token {
                        "}" => return at + 1,
                        "," => at + 1,
                        _ => tree(tokens, at, path.clone(), found),
                    };
                }
                return at;
            }
            Some(&"super") => {
                path.pop();
            }
            Some(&"self" | &"*") => {}
            Some(name) if is_word(name) => path.push((*name).to_owned()),
            // Type arguments behind `::`.
            _ => {
                found.push(path);
                return at;
            }
        }
        at += 1;
        if tokens.get(at) != Some(&"::") {
            found.push(path);
            // `as name` in a group.
            return if tokens.get(at) == Some(&"as") {
                at + 2
            } else {
                at
            };
        }
        at += 1;
    }
}

fn is_word(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// The words and signs of a text in Rust, without comments and literals.
fn tokens(text: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let word = |c: char| c.is_alphanumeric() || c == '_';
        let raw = rest.trim_start_matches(['b', 'r']);
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        let is_raw = rest.len() > raw.len()
            && rest[..rest.len() - raw.len()].ends_with('r')
            && raw[hashes..].starts_with('"');
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if is_raw {
            let end = format!("\"{}", "#".repeat(hashes));
            let inside = rest.len() - raw.len() + hashes + 1;
            rest[inside..]
                .find(&end)
                .map_or(rest.len(), |at| inside + at + end.len())
        } else if first == '"' {
            string(rest)
        } else if first == '\'' {
            character(rest)
        } else if word(first) {
            let length = rest.find(|c| !word(c)).unwrap_or(rest.len());
            tokens.push(&rest[..length]);
            length
        } else if rest.starts_with("::") {
            tokens.push("::");
            2
        } else {
            let length = first.len_utf8();
            if !first.is_whitespace() {
                tokens.push(&rest[..length]);
            }
            length
        };
        rest = &rest[length..];
    }
    tokens
}

/// The length of a string literal.
fn string(text: &str) -> usize {
    let mut escaped = false;
    for (at, character) in text.char_indices().skip(1) {
        match character {
            '"' if !escaped => return at + 1,
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    text.len()
}

/// The length of a character literal, or of the sign before the name of a lifetime.
fn character(text: &str) -> usize {
    let mut characters = text.char_indices().skip(1);
    match characters.next() {
        Some((_, '\\')) => {
            let end = text[3..].find('\'');
            end.map_or(text.len(), |end| 3 + end + 1)
        }
        Some((at, c)) if text[at + c.len_utf8()..].starts_with('\'') => at + c.len_utf8() + 1,
        _ => 1,
    }
}

#[test]
fn paths_are_found_wherever_they_stand() {
    let text = r####"
        //! crate::comment
        mod kept;
        use crate::{a, b::{self, c::D as E}, f::*};
        use super::sibling::X;
        use super::super::uncle;
        pub(crate) fn f<'a>(x: &'a str) -> crate::g::H<'a> {
            let _ = ("crate::text", '"', '\'', r#"crate::"raw""#, 'x', crate::i::<u8>());
            self::inner::call()
        }
        mod inner {
            use super::own;
            use super::super::sibling2;
        }
        use super::after;
    "####;
    let module = ["p".to_owned(), "q".to_owned()];
    let found = paths(&module, text);
    let found: Vec<String> = found.iter().map(|path| path.join("::")).collect();
    let want = [
        "a",
        "b",
        "b::c::D",
        "f",
        "p::sibling::X",
        "uncle",
        "g::H",
        "i",
        "p::q::inner::call",
        "p::q::own",
        "p::sibling2",
        "p::after",
    ];
    assert_eq!(found, want);
    assert_eq!(declared(text), ["kept"]);
}
