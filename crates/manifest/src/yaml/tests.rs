use serde_json::{Value, json};

use crate::{Content, Format, Source};

/// The values of a text, `None` for what is broken.
fn values(text: &str) -> Vec<Option<Value>> {
    let source = Source::parse("test", text);
    let contents = source
        .documents
        .iter()
        .filter_map(|document| match &document.content {
            Content::Nothing => None,
            Content::Value(parsed) => Some(Some(parsed.value.clone())),
            Content::Broken(_) => Some(None),
        });
    contents.collect()
}

#[test]
fn documents_mean_what_kubernetes_reads() {
    let table = [
        ("empty", "", vec![]),
        ("comments only", "# a\n\n# b\n", vec![]),
        ("markers only", "---\n---\n...\n", vec![]),
        ("null", "null\n", vec![Some(Value::Null)]),
        (
            "byte order mark",
            "\u{feff}a: 1\n",
            vec![Some(json!({"a": 1}))],
        ),
        (
            "CRLF",
            "a:\r\n- 1\r\nb: |\r\n  x\r\n  y\r\n",
            vec![Some(json!({"a": [1], "b": "x\ny\n"}))],
        ),
        (
            "commented marker",
            "--- # one\na: 1\n--- # two\nb: 2\n",
            vec![Some(json!({"a": 1})), Some(json!({"b": 2}))],
        ),
        (
            "end marker",
            "a: 1\n...\n---\nb: 2\n",
            vec![Some(json!({"a": 1})), Some(json!({"b": 2}))],
        ),
        (
            "directive",
            "%YAML 1.1\n---\na: 1\n",
            vec![Some(json!({"a": 1}))],
        ),
        (
            "content beside the marker",
            "--- {a: 1}\n",
            vec![Some(json!({"a": 1}))],
        ),
        (
            "a broken one between",
            "a: 1\n---\nb: [\n---\nc: 3\n",
            vec![Some(json!({"a": 1})), None, Some(json!({"c": 3}))],
        ),
        (
            "tab in content",
            "a: \"x\ty\"\nb: x\ty\n",
            vec![Some(json!({"a": "x\ty", "b": "x\ty"}))],
        ),
        (
            "keys",
            "on: 1\n8080: 2\n1.5: 3\n\"y\": 4\n",
            vec![Some(json!({"true": 1, "8080": 2, "1.5": 3, "y": 4}))],
        ),
        (
            "repeated key",
            "a: 1\nb: 2\na: 3\n",
            vec![Some(json!({"a": 3, "b": 2}))],
        ),
        (
            "no value",
            "a:\nb: ~\nc: ''\n",
            vec![Some(json!({"a": null, "b": null, "c": ""}))],
        ),
        (
            "anchor and alias",
            "a: &x [1, &y k]\nb: *x\n*y : 2\n",
            vec![Some(json!({"a": [1, "k"], "b": [1, "k"], "k": 2}))],
        ),
        (
            "anchor redefined",
            "a: &x 1\nb: &x 2\nc: *x\n",
            vec![Some(json!({"a": 1, "b": 2, "c": 2}))],
        ),
        (
            "merge: keys below win over it, it wins over keys above",
            "d: &d {p: 1, q: 1}\na: {p: 2, <<: *d}\nb: {<<: *d, q: 2}\n",
            vec![Some(
                json!({"d": {"p": 1, "q": 1}, "a": {"p": 1, "q": 1}, "b": {"p": 1, "q": 2}}),
            )],
        ),
        (
            "merge: the first of a list wins",
            "d: &d {p: 1}\ne: &e {p: 2, q: 2}\na:\n  <<: [*d, *e]\n",
            vec![Some(
                json!({"d": {"p": 1}, "e": {"p": 2, "q": 2}, "a": {"p": 1, "q": 2}}),
            )],
        ),
        (
            "quoted merge key",
            "a: {'<<': 1}\n",
            vec![Some(json!({"a": {"<<": 1}}))],
        ),
        (
            "tags",
            "a: !!str 1\nb: !x 1\nc: ! 1\nd: !!int \"3\"\n",
            vec![Some(json!({"a": "1", "b": "1", "c": "1", "d": 3}))],
        ),
        (
            "block scalars",
            "a: |\n  x\n   y\n\nb: >-\n  p\n  q\n\n  r\nc: |2\n   z\n",
            vec![Some(json!({"a": "x\n y\n", "b": "p q\nr", "c": " z\n"}))],
        ),
        (
            "kept line feeds",
            "a: |+\n  x\n\nb: 1\n",
            vec![Some(json!({"a": "x\n\n", "b": 1}))],
        ),
        (
            "block scalar cut off",
            "a: |\n  x",
            vec![Some(json!({"a": "x"}))],
        ),
        (
            "escapes",
            r#"a: "\u00e9\x41\/\n\
   b""#,
            vec![Some(json!({"a": "éA/\nb"}))],
        ),
        (
            "several lines",
            "a: x\n  y\n\n  z\nb: 'p\n  q'\n",
            vec![Some(json!({"a": "x y\nz", "b": "p q"}))],
        ),
        (
            "numbers",
            "a: [0.10, 1e3, 0644, 12345678901234567890]\n",
            vec![Some(
                json!({"a": [0.1, 1000, 420, 12_345_678_901_234_567_890_u64]}),
            )],
        ),
        (
            "JSON stream",
            "{\"a\": 1}{\"b\": 2}\n{\"c\": 3}",
            vec![
                Some(json!({"a": 1})),
                Some(json!({"b": 2})),
                Some(json!({"c": 3})),
            ],
        ),
        (
            "JSON with separators",
            "{\"a\": 1}\n---\n{\"b\": 2}\n",
            vec![Some(json!({"a": 1})), Some(json!({"b": 2}))],
        ),
        ("YAML in brackets", "{a: 1}\n", vec![Some(json!({"a": 1}))]),
    ];
    for (name, text, expected) in table {
        assert_eq!(values(text), expected, "{name}");
        let source = Source::parse("test", text);
        let texts: String = source
            .documents
            .iter()
            .map(|document| source.text(document))
            .collect();
        assert_eq!(
            texts,
            text.trim_start_matches('\u{feff}'),
            "{name}: no byte may get lost"
        );
    }
}

#[test]
fn errors_name_the_place() {
    let check = |text: &str, number: usize, line: usize, column: usize, message: &str| {
        let source = Source::parse("test", text);
        let broken = source
            .documents
            .iter()
            .find_map(|document| match &document.content {
                Content::Broken(error) => Some((document, error)),
                _ => None,
            });
        let (document, error) = broken.unwrap_or_else(|| panic!("not broken: {text}"));
        let found = (document.number, document.line_of(error), error.column);
        assert_eq!(found, (number, line, column), "{text}: {error}");
        assert!(error.message.contains(message), "{text}: {error}");
    };
    check(
        "a: 1\n---\n# c\n---\nb: [1,\nc: 2\n",
        2,
        5,
        4,
        "unclosed bracket",
    );
    check("a: b: c\n", 1, 1, 5, "mapping values are not allowed");
    check("a: 1\n b: 2\n", 1, 2, 3, "");
    check("a: *nope\n", 1, 1, 4, "unknown anchor");
    check("a: &x [*x]\n", 1, 1, 8, "contain the anchor itself");
    check("a: .inf\n", 1, 1, 4, "can't be written as JSON");
    check("a: !!int x\n", 1, 1, 10, "an integer");
    check("? {a: 1}\n: 2\n", 1, 1, 3, "a key must be a text");
    check("~: 2\n", 1, 1, 1, "can't be null");
    check("a: {<<: 1}\n", 1, 1, 9, "`<<` takes an object");
    check("{\"a\": 1}\n{\"b\" 2}\n", 2, 2, 6, "expected `:`");
    check("{\"a\": [1}\n", 1, 1, 9, "expected `,` or `]`");
}

#[test]
fn known_mistakes_get_a_hint() {
    let hint = |text: &str| {
        let source = Source::parse("test", text);
        let broken = source
            .documents
            .iter()
            .find_map(|document| match &document.content {
                Content::Broken(error) => Some(error.clone()),
                _ => None,
            });
        broken.expect("broken").hint.unwrap_or_default()
    };
    assert!(hint("a: {{ .Values.a }}\n").contains("helm template"));
    assert!(hint("a:\n\tb: [\n").contains("tabs"));
    assert!(hint("<<<<<<< HEAD\na: 1\n=======\na: 2\n>>>>>>> other\n").contains("merge conflict"));
    assert_eq!(hint("a: [\n"), "");
}

#[test]
fn aliases_can_not_be_used_to_grow_without_bound() {
    let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let before = format!("*a{}", level - 1);
        text.push_str(&format!(
            "a{level}: &a{level} [{}]\n",
            vec![before; 10].join(", ")
        ));
    }
    assert_eq!(values(&text), [None]);
}

#[test]
fn formats_are_told_apart() {
    let format = |text: &str| Source::parse("test", text).formats().next();
    assert_eq!(format("{\"a\": 1}"), Some(Format::Json));
    assert_eq!(format("{a: 1}"), Some(Format::Yaml));
    assert_eq!(format("a: 1"), Some(Format::Yaml));
    assert_eq!(format("# nothing"), None);
}
