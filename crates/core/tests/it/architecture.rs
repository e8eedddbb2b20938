//! The map stays true: imports go one way, and ARCHITECTURE.md names every module.

mod source;

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use datakit_operator_core::inject::{Note, Reason};

use source::{Crate, declared, rust_files};

/// The crates whose modules are checked.
const CRATES: [&str; 3] = ["core", "manifest", "operator"];

/// Files of one folder that are one thing: the state of task election, which a file too long to
/// read would hold otherwise. Each has a part of the fields and the methods on the whole that
/// change it.
const ONE_THING: (&str, &str, [&str; 4]) = (
    "core",
    "election::tasks",
    ["namesakes", "relearn", "state", "view"],
);

/// A module imports only from those that its crate's `lib.rs` lists above it.
#[test]
fn imports_go_one_way() {
    let mut wrong = Vec::new();
    for name in CRATES {
        let source = source_of(name);
        let ranks = declared(&fs::read_to_string(source.join("lib.rs")).unwrap());
        let rank = |module: &str| ranks.iter().position(|known| known == module);
        for (user, used) in Crate::read(&source).uses_in(&[]) {
            // The program is no module of the library.
            if user != "main" && rank(used) >= rank(user) {
                wrong.push(format!("{name}: `{user}` imports from `{used}`"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// In each folder the modules have an order in which each imports only from those before it.
#[test]
fn no_folder_has_a_circle() {
    let mut wrong = Vec::new();
    for name in CRATES {
        let read = Crate::read(&source_of(name));
        let folders: BTreeSet<&[String]> = read
            .modules
            .iter()
            .filter_map(|module| Some(module.split_last()?.1))
            .collect();
        for folder in folders {
            let path = folder.join("::");
            let mut uses = read.uses_in(folder);
            if (name, &*path) == (ONE_THING.0, ONE_THING.1) {
                let whole = |module| match ONE_THING.2.contains(&module) {
                    true => "state",
                    false => module,
                };
                uses = uses
                    .into_iter()
                    .map(|(a, b)| (whole(a), whole(b)))
                    .collect();
                uses.retain(|(user, used)| user != used);
            }
            let left = in_circles(&uses);
            if !left.is_empty() {
                wrong.push(format!("{name}::{path}: {left:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Who talks to the API server and who answers requests meet in `state` and `election`.
#[test]
fn the_cluster_and_the_routes_do_not_know_each_other() {
    let read = Crate::read(&source_of("operator"));
    let uses = read.uses_in(&[]);
    for pair in [("http", "cluster"), ("cluster", "http")] {
        assert!(!uses.contains(&pair), "{pair:?}");
    }
}

/// The uses that are left when modules without uses, or without users, are taken away again and
/// again.
fn in_circles<'a>(uses: &BTreeSet<(&'a str, &'a str)>) -> BTreeSet<(&'a str, &'a str)> {
    let mut left = uses.clone();
    loop {
        let users: BTreeSet<&str> = left.iter().map(|(user, _)| *user).collect();
        let used: BTreeSet<&str> = left.iter().map(|(_, used)| *used).collect();
        let before = left.len();
        left.retain(|(user, target)| used.contains(user) && users.contains(target));
        if left.len() == before {
            return left;
        }
    }
}

/// Each row of the promise names tests, and each of them exists.
#[test]
fn the_promise_is_tested() {
    let rows = rows_with_tests("docs/never-harm.md", 3);
    assert!(rows > 25, "{rows} rows");
}

/// So does each row about what is different from the original.
#[test]
fn differences_are_tested() {
    for page in ["docs/migrating.md", "docs/migrating.zh-CN.md"] {
        let rows = rows_with_tests(page, 4);
        assert!(rows > 60, "{page}: {rows} rows");
    }
}

/// The number of rows of a page's tables, each of which names tests in the last of its cells.
fn rows_with_tests(page: &str, cells: usize) -> usize {
    let root = root();
    let text = fs::read_to_string(root.join(page)).unwrap();
    let mut functions = HashSet::new();
    for folder in ["crates/core", "crates/manifest", "crates/operator", "e2e"] {
        for file in rust_files(&root.join(folder)) {
            let text = fs::read_to_string(&file).unwrap();
            let names = text.lines().filter_map(|line| {
                let line = line.trim_start();
                let line = line.strip_prefix("async ").unwrap_or(line);
                let rest = line.strip_prefix("fn ")?;
                rest.split_once('(').map(|(name, _)| name.to_owned())
            });
            functions.extend(names);
        }
    }
    let mut rows = 0;
    for row in text.lines().filter(|line| line.starts_with('|')) {
        let found: Vec<&str> = row.trim_matches('|').split(" | ").collect();
        let tests = found.last().unwrap().trim();
        if found.len() != cells || ["tests", "测试"].contains(&tests) || tests.contains("---") {
            continue;
        }
        rows += 1;
        for test in tests.split(", ") {
            let name = test.trim_matches('`');
            let is_case = ["inject", "namespaces", "status"]
                .iter()
                .any(|group| root.join("testdata").join(group).join(name).is_dir());
            let function = name.rsplit("::").next().unwrap();
            assert!(
                is_case || functions.contains(function),
                "{page}: no test is called `{name}`: {row}"
            );
        }
    }
    rows
}

#[test]
fn the_documentation_explains_every_reason_and_note() {
    let text = fs::read_to_string(root().join("docs/injection.md")).unwrap();
    for code in Reason::CODES.iter().chain(&Note::CODES) {
        assert!(
            text.contains(&format!("\n| `{code}` | ")),
            "docs/injection.md does not explain `{code}`"
        );
    }
}

#[test]
fn the_documentation_names_every_feature() {
    let text = fs::read_to_string(root().join("docs/injection.md")).unwrap();
    for spec in &datakit_operator_core::inject::SPECS {
        let name = spec.feature.as_str();
        let chapter = format!("\n## {name}");
        assert!(text.to_lowercase().contains(&chapter), "{name}");
        let reserved = [spec.switch, spec.marks.container];
        for name in spec.annotations().chain(reserved) {
            assert!(text.contains(&format!("`{name}`")), "{name}");
        }
    }
}

/// What a feature is called stands in its room and in the configuration's model. Elsewhere it is
/// derived.
#[test]
fn only_the_table_and_the_rooms_know_features() {
    let source = source_of("core");
    let knows = [
        "config/rule.rs",
        "config/v1.rs",
        "config/v2.rs",
        "inject/features.rs",
    ];
    let mut wrong = Vec::new();
    for file in rust_files(&source) {
        let inside = file.strip_prefix(&source).unwrap().to_str().unwrap();
        let room = inside.starts_with("inject/features/");
        if room || knows.contains(&inside) || inside.contains("tests") {
            continue;
        }
        let text = fs::read_to_string(&file).unwrap();
        let variants = datakit_operator_core::config::Feature::ALL;
        for variant in variants.map(|feature| format!("Feature::{feature:?}")) {
            if text.contains(&variant) {
                wrong.push(format!("{inside} names {variant}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Which form of document a rule came from is over once it is lowered: places are told as the rule
/// has them.
#[test]
fn nothing_after_the_configuration_knows_a_form_of_document() {
    let source = source_of("core");
    for folder in ["inject", "review"] {
        let file = source.join(folder).with_extension("rs");
        let inside = rust_files(&source).into_iter();
        for file in inside.filter(|path| path.starts_with(source.join(folder)) || *path == file) {
            let text = fs::read_to_string(&file).unwrap();
            assert!(!text.contains("admission_inject"), "{}", file.display());
        }
    }
}

/// Every module at the top of a crate has its row.
#[test]
fn the_map_names_every_module() {
    let map = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    for name in CRATES {
        let (_, part) = map.split_once(&format!("\n### `crates/{name}`")).unwrap();
        let part = part.split("\n### ").next().unwrap();
        for module in declared(&fs::read_to_string(source_of(name).join("lib.rs")).unwrap()) {
            assert!(
                part.contains(&format!("`{module}`")),
                "ARCHITECTURE.md does not name `{module}` of crates/{name}"
            );
        }
    }
}

fn source_of(name: &str) -> PathBuf {
    root().join("crates").join(name).join("src")
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
