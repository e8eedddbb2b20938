#![allow(
    clippy::needless_pass_by_value,
    reason = "expectations read best where they stand"
)]

use expect_test::{Expect, expect};
use serde_json::{Value, json};

use crate::{Content, Source};

/// Applies a JSON patch to the only document of a text.
fn edited(text: &str, operations: Value) -> (String, bool) {
    let source = Source::parse("test", text);
    let document = source.documents.last().expect("a document");
    let Content::Value(parsed) = &document.content else {
        panic!("{:?}", document.content)
    };
    let operations: json_patch::Patch = serde_json::from_value(operations).expect("a patch");
    let mut value = parsed.value.clone();
    json_patch::patch(&mut value, &operations).expect("applies");
    let (text, anew) = source.rewritten(document, parsed, &value);
    let again = Source::parse("test", &text);
    let Content::Value(again) = &again.documents[0].content else {
        panic!("{text}")
    };
    assert_eq!(again.value, value, "{text}");
    (text, anew)
}

fn check(text: &str, operations: Value, expected: Expect) {
    let (edited, anew) = edited(text, operations);
    assert!(!anew, "{edited}");
    expected.assert_eq(&edited);
}

const POD: &str = "\
# The shop's front end.
kind: Pod # bare
metadata:
  name: 'web'   # quoted
spec:
  containers:
  # The server.
  - name: web
    image: \"nginx\"  # pinned elsewhere
    env:
    - name: A
      value: 010  # a number, says YAML

    # nothing more

  - image: redis
    name: cache
  volumes: []  # none yet
";

#[test]
fn additions_leave_the_rest_alone() {
    check(
        POD,
        json!([
            {"op": "add", "path": "/spec/containers/0/env/-", "value": {"name": "B", "value": "yes"}},
            {"op": "add", "path": "/spec/containers/0/volumeMounts", "value": [{"name": "v", "mountPath": "/v"}]},
            {"op": "add", "path": "/spec/containers/1/env", "value": [{"name": "B", "value": "1"}]},
            {"op": "add", "path": "/spec/containers/-", "value": {"name": "side", "command": ["sh", "-c"]}},
            {"op": "replace", "path": "/spec/volumes", "value": [{"name": "v", "emptyDir": {}}]},
            {"op": "add", "path": "/spec/initContainers", "value": [{"name": "init"}]},
        ]),
        expect![[r#"
            # The shop's front end.
            kind: Pod # bare
            metadata:
              name: 'web'   # quoted
            spec:
              containers:
              # The server.
              - name: web
                image: "nginx"  # pinned elsewhere
                env:
                - name: A
                  value: 010  # a number, says YAML
                - name: B
                  value: "yes"
                volumeMounts:
                - name: v
                  mountPath: /v

                # nothing more

              - image: redis
                name: cache
                env:
                - name: B
                  value: "1"
              - name: side
                command:
                - sh
                - -c
              volumes:  # none yet
              - name: v
                emptyDir: {}
              initContainers:
              - name: init
        "#]],
    );
}

#[test]
fn removals_and_replacements() {
    check(
        POD,
        json!([
            {"op": "replace", "path": "/spec/containers/0/env/0/value", "value": "8"},
            {"op": "remove", "path": "/spec/containers/0/image"},
            {"op": "remove", "path": "/spec/containers/1/image"},
            {"op": "remove", "path": "/spec/volumes"},
            {"op": "replace", "path": "/metadata/name", "value": "two\nlines\n"},
        ]),
        expect![[r#"
            # The shop's front end.
            kind: Pod # bare
            metadata:
              name: "two\nlines\n"   # quoted
            spec:
              containers:
              # The server.
              - name: web
                env:
                - name: A
                  value: "8"  # a number, says YAML

                # nothing more

              - name: cache
        "#]],
    );
}

#[test]
fn whole_lists_come_and_go() {
    let text = "a:\n- x\nb: 1\n";
    check(
        text,
        json!([{"op": "remove", "path": "/a/0"}]),
        expect![[r#"
        a: []
        b: 1
    "#]],
    );
    check(
        "a: {}\nb: 1",
        json!([{"op": "add", "path": "/a/k", "value": [[1, [2]], []]}]),
        expect![[r#"
        a:
          k:
          - - 1
            - - 2
          - []
        b: 1"#]],
    );
}

#[test]
fn items_before_the_first() {
    check(
        "a:\n  # about x\n  - x\n  - y\n",
        json!([{"op": "add", "path": "/a/0", "value": {"name": "w", "v": "1"}}]),
        expect![[r#"
            a:
              - name: w
                v: "1"
              # about x
              - x
              - y
        "#]],
    );
}

#[test]
fn the_layout_is_the_documents_own() {
    check(
        "a:\n    b:\n      - x\n",
        json!([{"op": "add", "path": "/c", "value": {"d": {"e": ["f"]}}}]),
        expect![[r#"
            a:
                b:
                  - x
            c:
                d:
                    e:
                      - f
        "#]],
    );
    check(
        "a: 1\r\nb:\r\n- x\r\n",
        json!([{"op": "add", "path": "/b/-", "value": {"y": 1, "z": 2}}]),
        expect!["a: 1\r\nb:\r\n- x\r\n- \"y\": 1\r\n  z: 2\r\n"],
    );
    check(
        "a: 1",
        json!([{"op": "add", "path": "/b", "value": [1]}]),
        expect![[r#"
        a: 1
        b:
        - 1"#]],
    );
}

#[test]
fn block_scalars_keep_their_content() {
    check(
        "a: |\n  x\n\nb: |+\n  y\n\nc:\n- |-\n  z\n",
        json!([
            {"op": "add", "path": "/d", "value": "1\n2\n"},
            {"op": "add", "path": "/c/-", "value": "  3\n4"},
        ]),
        expect![[r#"
            a: |
              x

            b: |+
              y

            c:
            - |-
              z
            - |2-
                3
              4
            d: |
              1
              2
        "#]],
    );
}

#[test]
fn brackets() {
    check(
        "a: {x: 1, l: [p, q,]}  # c\nb: [\n  1,\n  2,\n]\n",
        json!([
            {"op": "add", "path": "/a/z", "value": "on"},
            {"op": "add", "path": "/a/l/-", "value": "r"},
            {"op": "remove", "path": "/a/x"},
            {"op": "add", "path": "/b/0", "value": 0},
            {"op": "remove", "path": "/b/2"},
        ]),
        expect![[r#"
            a: {l: [p, q, "r",], "z": "on"}  # c
            b: [
              0,
              1,
            ]
        "#]],
    );
}

#[test]
fn json_keeps_its_form() {
    check(
        "{\n    \"a\": [\n        {\"name\": \"x\", \"n\": 1.50}\n    ],\n    \"big\": 12345678901234567890123\n}\n",
        json!([
            {"op": "add", "path": "/a/-", "value": {"name": "y"}},
            {"op": "add", "path": "/a/0/m", "value": [1]},
            {"op": "add", "path": "/b", "value": {"c": []}},
        ]),
        expect![[r#"
            {
                "a": [
                    {"name": "x", "n": 1.50, "m": [1]},
                    {
                        "name": "y"
                    }
                ],
                "big": 12345678901234567890123,
                "b": {
                    "c": []
                }
            }
        "#]],
    );
    check(
        r#"{"a":[1],"b":2}"#,
        json!([{"op": "add", "path": "/a/-", "value": {"c": 1}}]),
        expect![[r#"{"a":[1,{"c":1}],"b":2}"#]],
    );
}

#[test]
fn what_aliases_share_is_written_out() {
    // Changing the anchor's text would change what the alias stands for.
    let text = "# head\n---\na: &x\n  b: 1 # one\nc: *x\n";
    let (edited, anew) = edited(text, json!([{"op": "add", "path": "/a/d", "value": 2}]));
    assert!(anew);
    expect![[r#"
        ---
        a:
          b: 1
          d: 2
        c:
          b: 1
    "#]]
    .assert_eq(&edited);
    // Where the alias itself changes, only it is written out.
    check(
        "a: &x\n  b: 1 # one\nc: *x\n",
        json!([{"op": "add", "path": "/c/d", "value": 2}]),
        expect![[r#"
        a: &x
          b: 1 # one
        c:
          b: 1
          d: 2
    "#]],
    );
    check(
        "a: &x {b: 1}\nc:\n  <<: *x\n",
        json!([{"op": "add", "path": "/c/d", "value": 2}]),
        expect![[r#"
        a: &x {b: 1}
        c:
          b: 1
          d: 2
    "#]],
    );
}

#[test]
fn a_text_keeps_its_quotes() {
    let text = "a: 'x'\nb: \"x\"\nc: x\nd: {e: 'x', f: [\"x\"]}\nh: 'x' # why\n";
    let places = ["/a", "/b", "/c", "/d/e", "/d/f/0", "/h"];
    let set = |value: &str| -> Value {
        let replace = |path: &&str| json!({"op": "replace", "path": path, "value": value});
        places.iter().map(replace).collect()
    };
    check(
        text,
        set("it's y"),
        expect![[r#"
            a: 'it''s y'
            b: "it's y"
            c: it's y
            d: {e: 'it''s y', f: ["it's y"]}
            h: 'it''s y' # why
        "#]],
    );
    check(
        text,
        set(""),
        expect![[r#"
            a: ''
            b: ""
            c: ""
            d: {e: '', f: [""]}
            h: '' # why
        "#]],
    );
    // Several lines don't stand between single quotes.
    check(
        "a: 'x'\nb: \"x\"\n",
        json!([
            {"op": "replace", "path": "/a", "value": "y\nz"},
            {"op": "replace", "path": "/b", "value": "y\nz"}
        ]),
        expect![[r#"
            a: |-
              y
              z
            b: "y\nz"
        "#]],
    );
}
