use proptest::prelude::*;
use serde_json::Value;

use super::*;

/// `¦` marks the place where the mistake is reported.
fn check(text: &str, path: &str, reason: &str) {
    let at = text.find('¦').expect("a mark");
    let text = text.replace('¦', "");
    let fault = walk(&text, &mut |_, _| {}).expect_err(&text);
    let found = (fault.at, fault.path.as_str(), fault.reason.as_str());
    assert_eq!(found, (at, path, reason), "{text}");
    assert!(serde_json::from_str::<Value>(&text).is_err(), "{text}");
}

#[test]
fn says_what_was_written_and_what_to_do() {
    let comment = "comments aren't JSON; remove this one";
    check("{\"a\": 1, ¦// one\n\"b\": 2}", "a", comment);
    check("{\"a\": {¦/* one */}}", "a", comment);
    check("¦# one\n{}", "", comment);
    check("{\"a\": [¦//\n]}", "a[0]", comment);
    check("{} ¦// end", "", comment);
    let comma = |closed: char| format!("a comma before `{closed}` isn't JSON; remove it");
    check("{\"a\": 1¦, \n}", "a", &comma('}'));
    check("{\"a\": [1¦,]}", "a[0]", &comma(']'));
    let single = "text in single quotes isn't JSON; write it in double quotes (\")";
    check("{¦'a': 1}", "", single);
    check("{\"a\": ¦'x'}", "a", single);
    check("{\"a\": ¦“x”}", "a", "`“` (U+201C) isn't JSON; write `\"`");
    check(
        "{\"a\": 1¦，\"b\": 2}",
        "a",
        "`，` (U+FF0C) isn't JSON; write `,`",
    );
    check(
        "{\"a\":¦\u{a0}1}",
        "a",
        "U+00A0 is a blank that JSON doesn't have; write an ordinary one",
    );
    check(
        "{\n¦\u{feff}\"a\": 1}",
        "",
        "a byte order mark (U+FEFF), which can't be seen, isn't JSON; remove it",
    );
    check(
        "{¦a: 1}",
        "",
        "expected a key in double quotes or `}`, found `a`",
    );
    check(
        "{\"a\": 1, ¦b: 1}",
        "a",
        "expected a key in double quotes, found `b`",
    );
    check("{\"a\" ¦= 1}", "a", "expected `:` after the key, found `=`");
    check(
        "{\"a\": 1 ¦\"b\": 2}",
        "a",
        "expected `,` or `}`, found `\"b\"`",
    );
    check("{\"a\": [1¦}", "a[0]", "expected `,` or `]`, found `}`");
    check("{\"a\": ¦,}", "a", "expected a value, found `,`");
    check(
        "{\"a\": ¦True}",
        "a",
        "expected a value, found `True`; JSON has true, false, null and numbers, and text in double quotes",
    );
    check("{\"a\": ¦007}", "a", "`007` isn't a number in JSON");
    check("{\"a\": ¦+1}", "a", "`+1` isn't a number in JSON");
    check("{\"a\": ¦-1e999}", "a", "the number `-1e999` is too large");
    check(
        "{\"a\": \"x¦\\d+\"}",
        "a",
        "`\\d` isn't an escape in JSON; a backslash is written `\\\\`",
    );
    check(
        "{\"a\": ¦\"x\n\"}",
        "a",
        "this string doesn't end on its line; close it, or write a line break as `\\n`",
    );
    check(
        "{\"a\": \"x¦\t\"}",
        "a",
        "the control character U+0009 in a string is written as an escape, such as `\\t` for a tab",
    );
    check("{\"a\": ¦\"x}", "a", "this string isn't closed");
    check(
        "{\"a\": {\"b\": ¦[[1], 2",
        "a.b",
        "the text ends, but this `[` isn't closed",
    );
    check(
        "{} ¦x",
        "",
        "expected the end, since the document is complete, found `x`",
    );
}

proptest! {
    /// The parser has the last word, and what it refuses is explained.
    #[test]
    fn explains_what_a_parser_refuses(parts in prop::collection::vec(prop_oneof![
        Just("{"), Just("}"), Just("["), Just("]"), Just(":"), Just(","), Just("\"a\""), Just("1"),
        Just("-0.5e1"), Just("01"), Just("true"), Just("nul"), Just(" "), Just("\n"), Just("//"),
        Just("\""), Just("\\"), Just("\\u00"), Just("'"), Just("é"), Just("\u{feff}"), Just("{\"b\":"),
    ], 0..12)) {
        let text = parts.concat();
        let parsed = serde_json::from_str::<Value>(&text);
        let walked = walk(&text, &mut |_, _| {});
        prop_assert_eq!(parsed.is_ok(), walked.is_ok(), "{:?}: {:?} {:?}", text, parsed, walked);
        if let Err(fault) = walked {
            prop_assert!(text.is_char_boundary(fault.at), "{:?}: {:?}", text, fault);
        }
    }
}
