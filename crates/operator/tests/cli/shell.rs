//! What the program brings for shells and manuals.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};

use crate::run::run;

/// The subcommands, as `--help` lists them.
fn commands() -> BTreeSet<String> {
    let help = run(&["--help"], "").stdout;
    let (_, rest) = help.split_once("Commands:\n").expect("commands");
    let (list, _) = rest.split_once("\n\n").expect("an end");
    let names = list.lines().filter(|line| !line.starts_with("   "));
    let names = names.filter_map(|line| line.split_whitespace().next());
    names.map(str::to_owned).collect()
}

/// What bash offers for a line that is typed.
fn offered(line: &str) -> BTreeSet<String> {
    let script = run(&["completions", "bash"], "").stdout;
    let words: Vec<_> = line.split(' ').collect();
    let list: Vec<_> = words.iter().map(|word| format!("'{word}'")).collect();
    let list = list.join(" ");
    let (last, previous) = (words.len() - 1, words[words.len() - 2]);
    let asks = format!(
        "{script}\nset -- $(complete -p datakit-operator)\nwhile [ \"$1\" != -F ]; do shift; done\n\
         COMP_WORDS=({list}); COMP_CWORD={last}\n\"$2\" datakit-operator '{}' '{previous}'\n\
         printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        words[last]
    );
    let output = Command::new("bash").args(["-ec", &asks]).output();
    let output = output.expect("bash");
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).expect("text");
    text.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn bash_offers_commands_and_options() {
    let all = commands();
    assert!(all.len() > 8, "{all:?}");
    let found = offered("datakit-operator ");
    let missing: Vec<_> = all.difference(&found).collect();
    assert!(missing.is_empty(), "{missing:?} of {found:?}");
    let found = offered("datakit-operator inj");
    assert_eq!(found, BTreeSet::from(["inject".to_owned()]));
    let found = offered("datakit-operator explain --pod-sec");
    assert_eq!(found, BTreeSet::from(["--pod-security".to_owned()]));
    let found = offered("datakit-operator check-config --str");
    assert_eq!(found, BTreeSet::from(["--strict".to_owned()]));
}

#[test]
fn every_shell_gets_a_script() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let ran = run(&["completions", shell], "");
        assert_eq!(ran.code, 0, "{ran:?}");
        assert!(ran.stdout.contains("check-config"), "{shell}");
    }
    let ran = run(&["completions", "ksh"], "");
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(
        ran.stderr.contains("[possible values: bash"),
        "{}",
        ran.stderr
    );
}

#[test]
fn there_is_a_page_for_each_command_with_its_options() {
    let directory = tempfile::tempdir().expect("a directory");
    let pages = directory.path().join("man1");
    let path = pages.display().to_string();
    let ran = run(&["man", "--output", &path], "");
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{ran:?}");
    let mut expected: BTreeSet<_> = commands()
        .into_iter()
        .filter(|command| command != "help")
        .map(|command| format!("datakit-operator-{command}.1"))
        .collect();
    expected.insert("datakit-operator.1".to_owned());
    let written: BTreeSet<_> = std::fs::read_dir(&pages)
        .expect("written")
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .into_string()
                .expect("text")
        })
        .collect();
    assert_eq!(written, expected);
    let page = run(&["man", "explain"], "").stdout;
    let file = std::fs::read_to_string(pages.join("datakit-operator-explain.1"));
    assert_eq!(page, file.expect("written"));
    let help = run(&["explain", "--help"], "").stdout;
    let options = help.split_whitespace().filter(|word| {
        word.strip_prefix("--")
            .is_some_and(|rest| rest.starts_with(|char: char| char.is_ascii_lowercase()))
    });
    let plain = page.replace('\\', "");
    for option in options {
        let option = option.trim_end_matches([',', '.', '`', ')', ';']);
        let option = option.split('=').next().unwrap_or_default();
        assert!(plain.contains(option), "{option} isn't in {plain}");
    }

    let ran = run(&["man", "explian"], "");
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(
        ran.stderr.contains("there is no command `explian`"),
        "{}",
        ran.stderr
    );
}

/// Where there is a formatter, it has nothing to complain about.
#[test]
fn pages_are_well_formed() {
    let there = Command::new("groff")
        .arg("--version")
        .stdout(Stdio::null())
        .status();
    if there.is_err() {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().display().to_string();
    run(&["man", "--output", &path], "");
    for entry in std::fs::read_dir(directory.path()).expect("written") {
        let page = entry.expect("an entry").path();
        let output = Command::new("groff")
            .args(["-man", "-Tutf8", "-ww", "-z"])
            .arg(&page)
            .output()
            .expect("groff");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {said}", page.display());
        assert_eq!(said, "", "{}", page.display());
    }
}
