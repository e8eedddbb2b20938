//! The map stays true: imports go one way, and ARCHITECTURE.md names every module.

use std::fs;
use std::path::{Path, PathBuf};

use datakit_operator_core::inject::{Note, Reason};

/// Core's modules from the lowest to the highest: each imports from those before it only.
const RANKS: [&str; 14] = [
    "json",
    "election",
    "expansion",
    "diagnostic",
    "image",
    "quantity",
    "version",
    "namespace",
    "patch",
    "selector",
    "pod",
    "config",
    "inject",
    "review",
];

#[test]
fn imports_go_one_way() {
    let source = manifest_dir().join("src");
    let mut wrong = Vec::new();
    for file in rust_files(&source) {
        let module = top_module(&source, &file);
        let Some(rank) = RANKS.iter().position(|known| **known == module) else {
            assert_eq!(module, "lib", "{} has no rank", file.display());
            continue;
        };
        let text = fs::read_to_string(&file).unwrap();
        for imported in imports(&text) {
            let other = RANKS.iter().position(|known| *known == imported);
            if other.is_none_or(|other| other > rank) {
                wrong.push(format!("{} imports `{imported}`", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The operator's modules import only from those that its `lib.rs` lists above them.
#[test]
fn the_operators_imports_go_one_way() {
    let source = manifest_dir().join("../operator/src");
    let list = fs::read_to_string(source.join("lib.rs")).unwrap();
    let ranks: Vec<&str> = list
        .lines()
        .filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'))
        .collect();
    let rank = |name: &str| ranks.iter().position(|known| *known == name);
    let mut wrong = Vec::new();
    for file in rust_files(&source) {
        let module = top_module(&source, &file);
        let Some(own) = rank(&module) else {
            assert!(["lib", "main"].contains(&&*module), "{}", file.display());
            continue;
        };
        let text = fs::read_to_string(&file).unwrap();
        for imported in imports(&text) {
            if rank(imported).is_none_or(|other| other > own) {
                wrong.push(format!("{} imports `{imported}`", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let (http, cluster) = (rank("http"), rank("cluster"));
    assert!(http > cluster, "and so `cluster` never imports `http`");
    for file in rust_files(&source.join("http")) {
        let text = fs::read_to_string(&file).unwrap();
        assert!(!imports(&text).contains(&"cluster"), "{}", file.display());
    }
}

#[test]
fn the_documentation_explains_every_reason_and_note() {
    let text = fs::read_to_string(manifest_dir().join("../../docs/injection.md")).unwrap();
    for code in Reason::CODES.iter().chain(&Note::CODES) {
        assert!(
            text.contains(&format!("\n| `{code}` | ")),
            "docs/injection.md does not explain `{code}`"
        );
    }
}

#[test]
fn the_map_names_every_module() {
    let root = manifest_dir().join("../..");
    let map = fs::read_to_string(root.join("ARCHITECTURE.md")).unwrap();
    for source in ["crates/core/src", "crates/operator/src"] {
        let source = root.join(source);
        let modules = fs::read_dir(&source)
            .unwrap()
            .map(|entry| entry.unwrap().path());
        for module in modules.filter(|path| path.is_dir()) {
            let name = module.file_name().unwrap().to_str().unwrap().to_owned();
            assert!(
                map.contains(&format!("`{name}")),
                "ARCHITECTURE.md does not name `{name}`"
            );
        }
    }
}

/// The top-level modules that a file names behind `crate::`.
fn imports(text: &str) -> Vec<&str> {
    let code = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    let named = code.flat_map(|line| line.split("crate::").skip(1));
    let names = named.map(|rest| {
        rest.split(|c: char| !c.is_alphanumeric() && c != '_')
            .next()
            .unwrap()
    });
    names.filter(|name| !name.is_empty()).collect()
}

fn top_module(source: &Path, file: &Path) -> String {
    let inside = file.strip_prefix(source).unwrap();
    let first = inside
        .components()
        .next()
        .unwrap()
        .as_os_str()
        .to_str()
        .unwrap();
    first.trim_end_matches(".rs").to_owned()
}

fn rust_files(directory: &Path) -> Vec<PathBuf> {
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

fn manifest_dir() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
