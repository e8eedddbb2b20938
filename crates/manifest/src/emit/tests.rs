use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;
use crate::yaml;

fn read(text: &str) -> Option<Value> {
    yaml::parse(text).ok()?.map(|node| node.to_value())
}

#[test]
fn scalars_are_written_without_doubt() {
    let table = [
        (json!("nginx:1.22"), "nginx:1.22"),
        (json!("-javaagent:x"), "-javaagent:x"),
        (json!(" -javaagent:x"), "\" -javaagent:x\""),
        (json!("$(A) b"), "$(A) b"),
        (json!("0 * * * *"), "0 * * * *"),
        (json!("* 0 * * *"), "\"* 0 * * *\""),
        (json!(""), "\"\""),
        (json!("9529"), "\"9529\""),
        (json!("1.2.333"), "\"1.2.333\""),
        (json!("true"), "\"true\""),
        (json!("y"), "\"y\""),
        (json!("null"), "\"null\""),
        (json!("2026-11-23"), "\"2026-11-23\""),
        (json!("12:30"), "\"12:30\""),
        (json!("0x1f"), "\"0x1f\""),
        (json!("1e3"), "\"1e3\""),
        (json!("[{\"a\":1}]"), "'[{\"a\":1}]'"),
        (json!("it's \"x\""), "it's \"x\""),
        (json!("'it' \"x\""), "'''it'' \"x\"'"),
        (json!("a: b"), "\"a: b\""),
        (json!("a #b"), "\"a #b\""),
        (json!("a#b"), "a#b"),
        (json!("x\ty"), "\"x\\ty\""),
        (json!("\u{feff}\u{7f}"), "\"\\ufeff\\u007f\""),
        (json!(true), "true"),
        (json!(null), "null"),
        (json!(1.5), "1.5"),
        (json!(1000.0), "1000"),
        (json!(u64::MAX), "18446744073709551615"),
        (json!([]), "[]"),
        (json!({}), "{}"),
    ];
    for (value, expected) in table {
        assert_eq!(document(&value, Layout::default()), format!("{expected}\n"));
    }
}

#[test]
fn several_lines_become_block_scalars() {
    let table = [
        ("a\nb\n", "k: |\n  a\n  b\n"),
        ("a\nb", "k: |-\n  a\n  b\n"),
        ("a\n\n", "k: |+\n  a\n\n"),
        ("  a\nb\n", "k: |2\n    a\n  b\n"),
        ("\na\n", "k: |2\n\n  a\n"),
        ("\n", "k: \"\\n\"\n"),
        ("a\n \nb", "k: \"a\\n \\nb\"\n"),
        ("a\r\nb\n", "k: \"a\\r\\nb\\n\"\n"),
    ];
    for (text, expected) in table {
        let value = json!({ "k": text });
        let written = document(&value, Layout::default());
        assert_eq!(written, expected);
        assert_eq!(read(&written), Some(value));
    }
}

fn text() -> impl Strategy<Value = String> {
    let special = prop::sample::select(vec![
        "", " ", "\n", "\t", "- ", ": ", " #", "'", "\"", "\\", "|", ">", "&a", "*a", "!t", "%",
        "@", "`", "{", "}", "[", "]", ",", "?", "~", "null", "y", "no", "on", "0", "7", "e", "x",
        ".", "-", "+", "_", "1:2", "---", "...", "<<", "=", "\r", "é", "😀", "\u{85}", "\u{2028}",
        "\u{feff}", "\u{7f}", "\0", "word",
    ]);
    prop::collection::vec(special, 0..8).prop_map(|parts| parts.concat())
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        text().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        Just(Value::Null),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((text(), inner), 0..4)
                .prop_map(|entries| Value::from(Map::from_iter(entries))),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_written_reads_the_same(value in value(), step in 1_usize..5, dash in 0_usize..3) {
        let written = document(&value, Layout { step, dash });
        prop_assert_eq!(read(&written).unwrap_or(Value::Null), value, "{}", written);
    }
}
