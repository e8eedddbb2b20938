//! What an unquoted YAML scalar means to Kubernetes.
//!
//! `kubectl` and the API server read YAML with the rules of YAML 1.1 as its Go library applies
//! them, which differ from YAML 1.2 where it hurts: `on` is a boolean, `0644` is 420, `12e03` is a
//! number, `12:30` is not. The table in the tests was checked against that library.

use serde_json::{Number, Value};

/// A scalar that has no JSON value: `.nan`, `.inf`, or a tag that its text does not fit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ScalarError {
    /// JSON has no infinity and no not-a-number.
    #[error("`{text}` can't be written as JSON")]
    NotFinite {
        /// The scalar as written.
        text: String,
    },
    /// `!!int abc`.
    #[error("`{text}` is not {expected}, which its tag `!!{tag}` asks for")]
    Tag {
        /// The scalar as written.
        text: String,
        /// The part of the tag after `!!`.
        tag: String,
        /// What a text with this tag has to be.
        expected: &'static str,
    },
}

/// The value of a plain (unquoted, untagged) scalar.
pub(super) fn plain(text: &str) -> Result<Value, ScalarError> {
    if let Some(value) = word(text) {
        return Ok(value);
    }
    match number(text) {
        Some(Parsed::Integer(number)) => Ok(Value::Number(number)),
        Some(Parsed::Float(float)) => float_value(float, text),
        None => Ok(Value::String(text.to_owned())),
    }
}

/// The value of a scalar with one of the tags of YAML's own schema; `tag` is the part after `!!`.
pub(super) fn tagged(tag: &str, text: &str) -> Result<Value, ScalarError> {
    let wrong = |expected| ScalarError::Tag {
        text: text.to_owned(),
        tag: tag.to_owned(),
        expected,
    };
    match tag {
        "null" => match plain(text) {
            Ok(Value::Null) => Ok(Value::Null),
            _ => Err(wrong("empty, `null` or `~`")),
        },
        "bool" => match plain(text) {
            Ok(value @ Value::Bool(_)) => Ok(value),
            _ => Err(wrong("a boolean")),
        },
        "int" => match number(text) {
            Some(Parsed::Integer(number)) => Ok(Value::Number(number)),
            _ => Err(wrong("an integer")),
        },
        "float" => match number(text) {
            Some(Parsed::Integer(number)) => Ok(Value::Number(number)),
            Some(Parsed::Float(float)) => float_value(float, text),
            None => Err(wrong("a number")),
        },
        "binary" => base64(text)
            .map(Value::String)
            .ok_or_else(|| wrong("base64 of a text")),
        // `!!str`, `!!timestamp` and tags of other schemas: the text itself.
        _ => Ok(Value::String(text.to_owned())),
    }
}

/// The JSON object key that a plain scalar in key position becomes, or none if it can't be one
/// (`null`).
pub(super) fn key(text: &str) -> Option<String> {
    match word(text) {
        Some(Value::Bool(true)) => return Some("true".to_owned()),
        Some(Value::Bool(false)) => return Some("false".to_owned()),
        Some(_) => return None,
        None => {}
    }
    match number(text) {
        Some(Parsed::Integer(number)) => Some(number.to_string()),
        Some(Parsed::Float(float)) => Some(float_key(float)),
        None => Some(text.to_owned()),
    }
}

/// Whether some YAML reader in use takes this plain text for something else than a string: the
/// rules above, those of YAML 1.2, and the base-60 numbers and dates of YAML 1.1.
pub(super) fn ambiguous(text: &str) -> bool {
    if word(text).is_some() || number(text).is_some() || matches!(text, "=" | "<<") {
        return true;
    }
    let numeric = |c: char| c.is_ascii_hexdigit() || "_.:+-xXoOtTzZ".contains(c);
    text.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c))
        && text.contains(|c: char| c.is_ascii_digit())
        && text.chars().all(numeric)
        || text
            .trim_start_matches(['+', '-', '.'])
            .eq_ignore_ascii_case("inf")
        || text.trim_start_matches('.').eq_ignore_ascii_case("nan")
}

enum Parsed {
    Integer(Number),
    Float(f64),
}

fn word(text: &str) -> Option<Value> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Some(Value::Null),
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            Some(Value::Bool(true))
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            Some(Value::Bool(false))
        }
        _ => None,
    }
}

fn number(text: &str) -> Option<Parsed> {
    match text {
        ".nan" | ".NaN" | ".NAN" => return Some(Parsed::Float(f64::NAN)),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => {
            return Some(Parsed::Float(f64::INFINITY));
        }
        "-.inf" | "-.Inf" | "-.INF" => return Some(Parsed::Float(f64::NEG_INFINITY)),
        _ => {}
    }
    let first = *text.as_bytes().first()?;
    if first == b'.' {
        // Digits may only be separated between digits here, unlike below.
        let separators_fit = text.split('_').collect::<Vec<_>>().windows(2).all(|sides| {
            sides[0].ends_with(|c: char| c.is_ascii_digit())
                && sides[1].starts_with(|c: char| c.is_ascii_digit())
        });
        let digits = text.replace('_', "");
        return (separators_fit && is_decimal(&digits))
            .then(|| float(&digits))
            .flatten();
    }
    if !(first.is_ascii_digit() || matches!(first, b'+' | b'-')) {
        return None;
    }
    let digits: String = text.chars().filter(|&c| c != '_').collect();
    if let Some(integer) = integer(&digits) {
        return Some(Parsed::Integer(integer));
    }
    is_decimal(&digits).then(|| float(&digits)).flatten()
}

/// An integer with an optional base prefix: `0x`, `0o`, `0b`, and a bare leading `0` for octal.
fn integer(text: &str) -> Option<Number> {
    let (negative, signed, magnitude) = match text.as_bytes().first()? {
        b'-' => (true, true, &text[1..]),
        b'+' => (false, true, &text[1..]),
        _ => (false, false, text),
    };
    let (radix, digits) = match magnitude.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &magnitude[2..]),
        [b'0', b'o' | b'O', ..] => (8, &magnitude[2..]),
        [b'0', b'b' | b'B', ..] => (2, &magnitude[2..]),
        [b'0', _, ..] => (8, &magnitude[1..]),
        _ => (10, magnitude),
    };
    // `from_str_radix` would take another sign.
    if digits.starts_with(['+', '-']) {
        return None;
    }
    let value = i128::from(u64::from_str_radix(digits, radix).ok()?);
    let value = if negative { -value } else { value };
    match (i64::try_from(value), u64::try_from(value)) {
        (Ok(value), _) => Some(value.into()),
        // The unsigned range is only reached without a sign.
        (_, Ok(value)) if !signed => Some(value.into()),
        _ => None,
    }
}

/// Whether the text is a decimal number: `-1`, `.5`, `1.`, `1e3`.
fn is_decimal(text: &str) -> bool {
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let rest = text.strip_prefix(['+', '-']).unwrap_or(text);
    let whole = digits(rest);
    let mut rest = &rest[whole..];
    if let Some(after) = rest.strip_prefix('.') {
        let fraction = digits(after);
        if whole + fraction == 0 {
            return false;
        }
        rest = &after[fraction..];
    } else if whole == 0 {
        return false;
    }
    match rest.strip_prefix(['e', 'E']) {
        None => rest.is_empty(),
        Some(exponent) => {
            let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
            !exponent.is_empty() && digits(exponent) == exponent.len()
        }
    }
}

/// A decimal text as a float; none if it is beyond the range, which makes it a string.
fn float(text: &str) -> Option<Parsed> {
    let value: f64 = text.parse().ok()?;
    value.is_finite().then_some(Parsed::Float(value))
}

/// Decodes base64, padding required, line breaks ignored.
fn base64(text: &str) -> Option<String> {
    let digits: Vec<u8> = text
        .bytes()
        .filter(|byte| !byte.is_ascii_whitespace())
        .collect();
    let mut bytes = Vec::with_capacity(digits.len() / 4 * 3);
    for (index, group) in digits.chunks(4).enumerate() {
        let padding = group.iter().rev().take_while(|&&byte| byte == b'=').count();
        if group.len() != 4 || padding > 2 || padding > 0 && (index + 1) * 4 != digits.len() {
            return None;
        }
        let mut bits = 0_u32;
        for &byte in &group[..4 - padding] {
            let digit = match byte {
                b'A'..=b'Z' => byte - b'A',
                b'a'..=b'z' => byte - b'a' + 26,
                b'0'..=b'9' => byte - b'0' + 52,
                b'+' => 62,
                b'/' => 63,
                _ => return None,
            };
            bits = bits << 6 | u32::from(digit);
        }
        bits <<= 6 * padding;
        bytes.extend_from_slice(&bits.to_be_bytes()[1..4 - padding]);
    }
    String::from_utf8(bytes).ok()
}

/// A float as JSON: whole numbers lose their fraction, since nothing that reads JSON can tell.
fn float_value(float: f64, text: &str) -> Result<Value, ScalarError> {
    const EXACT: f64 = 9_007_199_254_740_992.0; // 2^53: up to here every whole float is one integer
    if float.fract() == 0.0 && float.abs() <= EXACT && !(float == 0.0 && float.is_sign_negative()) {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "whole and within 2^53, checked above"
        )]
        return Ok(Value::Number((float as i64).into()));
    }
    Number::from_f64(float)
        .map(Value::Number)
        .ok_or_else(|| ScalarError::NotFinite {
            text: text.to_owned(),
        })
}

/// A float as an object key: the shortest digits at single precision, with an exponent from a
/// million on.
fn float_key(float: f64) -> String {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the rule says single precision"
    )]
    let single = float as f32;
    if single.is_nan() {
        return ".nan".to_owned();
    }
    if single.is_infinite() {
        return if single > 0.0 { ".inf" } else { "-.inf" }.to_owned();
    }
    let scientific = format!("{single:e}");
    let Some((mantissa, exponent)) = scientific.split_once('e') else {
        return scientific;
    };
    match exponent.parse::<i32>() {
        Ok(exponent) if single != 0.0 && !(-4..6).contains(&exponent) => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{mantissa}e{sign}{:02}", exponent.unsigned_abs())
        }
        _ => single.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn plain_scalars_mean_what_kubernetes_reads() {
        let s = |text: &str| Value::String(text.to_owned());
        let table = [
            // Words.
            ("", Value::Null),
            ("~", Value::Null),
            ("null", Value::Null),
            ("NULL", Value::Null),
            ("nULL", s("nULL")),
            ("true", json!(true)),
            ("True", json!(true)),
            ("tRUE", s("tRUE")),
            ("yes", json!(true)),
            ("y", json!(true)),
            ("Y", json!(true)),
            ("on", json!(true)),
            ("ON", json!(true)),
            ("oN", s("oN")),
            ("no", json!(false)),
            ("n", json!(false)),
            ("off", json!(false)),
            ("False", json!(false)),
            ("nginx", s("nginx")),
            // Integers.
            ("0", json!(0)),
            ("-0", json!(0)),
            ("+12", json!(12)),
            ("0644", json!(420)),
            ("-0644", json!(-420)),
            ("0o644", json!(420)),
            ("0O644", json!(420)),
            ("0x1F", json!(31)),
            ("-0x1F", json!(-31)),
            ("0b101", json!(5)),
            ("-0b101", json!(-5)),
            ("1_000", json!(1000)),
            ("1_", json!(1)),
            ("_1", s("_1")),
            ("0_7", json!(7)),
            ("08", json!(8)),
            ("0x", s("0x")),
            ("0xg", s("0xg")),
            ("--1", s("--1")),
            ("+-1", s("+-1")),
            ("0x-1", s("0x-1")),
            ("9223372036854775807", json!(9_223_372_036_854_775_807_i64)),
            (
                "-9223372036854775808",
                json!(-9_223_372_036_854_775_808_i64),
            ),
            (
                "18446744073709551615",
                json!(18_446_744_073_709_551_615_u64),
            ),
            ("18446744073709551616", json!(18_446_744_073_709_551_616.0)),
            ("+18446744073709551615", json!(18_446_744_073_709_551_615.0)),
            // Floats.
            ("0.10", json!(0.1)),
            (".5", json!(0.5)),
            ("-.5", json!(-0.5)),
            ("1.", json!(1)),
            ("1e3", json!(1000)),
            ("12e03", json!(12000)),
            ("1E-2", json!(0.01)),
            ("1_0.5", json!(10.5)),
            (".1_0", json!(0.1)),
            (".1__0", s(".1__0")),
            ("1e400", s("1e400")),
            ("1e", s("1e")),
            ("1e+", s("1e+")),
            (".", s(".")),
            ("-", s("-")),
            ("+", s("+")),
            (".e3", s(".e3")),
            ("1.2.3", s("1.2.3")),
            ("inf", s("inf")),
            ("NaN", s("NaN")),
            // Neither base 60 nor dates.
            ("12:30", s("12:30")),
            ("12:30:45", s("12:30:45")),
            ("2026-11-23", s("2026-11-23")),
            ("2026-11-23T01:02:03Z", s("2026-11-23T01:02:03Z")),
            // What Kubernetes is full of.
            ("100m", s("100m")),
            ("64Mi", s("64Mi")),
            ("v1", s("v1")),
            ("1.22", json!(1.22)),
            ("10.0.0.1", s("10.0.0.1")),
        ];
        for (text, expected) in table {
            assert_eq!(plain(text), Ok(expected), "`{text}`");
        }
        for text in [".nan", ".inf", "-.Inf", "+.INF"] {
            assert!(plain(text).is_err(), "`{text}`");
        }
    }

    #[test]
    fn tags_of_the_yaml_schema() {
        let table = [
            ("str", "12", Some(json!("12"))),
            ("int", "0x10", Some(json!(16))),
            ("int", "1.5", None),
            ("float", "3", Some(json!(3))),
            ("float", "x", None),
            ("bool", "on", Some(json!(true))),
            ("bool", "1", None),
            ("null", "", Some(Value::Null)),
            ("null", "x", None),
            ("timestamp", "2026-11-23", Some(json!("2026-11-23"))),
            ("binary", "aGVsbG8=", Some(json!("hello"))),
            ("binary", "aGVs\nbG8gdGhlcmU=", Some(json!("hello there"))),
            ("binary", "aGVsbG8", None),
            ("binary", "/w==", None),
        ];
        for (tag, text, expected) in table {
            assert_eq!(tagged(tag, text).ok(), expected, "!!{tag} {text}");
        }
    }

    #[test]
    fn keys_become_strings() {
        let table = [
            ("name", Some("name")),
            ("on", Some("true")),
            ("n", Some("false")),
            ("8080", Some("8080")),
            ("0644", Some("420")),
            ("1.5", Some("1.5")),
            ("1.0", Some("1")),
            ("1000000.0", Some("1e+06")),
            ("123456.5", Some("123456.5")),
            ("0.00001", Some("1e-05")),
            ("0.0", Some("0")),
            (".inf", Some(".inf")),
            ("null", None),
            ("~", None),
        ];
        for (text, expected) in table {
            assert_eq!(key(text).as_deref(), expected, "`{text}`");
        }
    }

    #[test]
    fn ambiguous_texts_are_quoted() {
        let quoted = [
            "",
            "~",
            "yes",
            "y",
            "off",
            "null",
            "1",
            "-1",
            "0x1f",
            "1e3",
            "1_000",
            "12:30",
            "2026-11-23",
            "0.10",
            "+.inf",
            ".NaN",
            "<<",
            "=",
            "1.2.3",
        ];
        for text in quoted {
            assert!(ambiguous(text), "`{text}`");
        }
        for text in [
            "a",
            "100m",
            "nginx:1.22",
            "-javaagent:x",
            "v1",
            "--flag",
            "/bin/sh",
            "1 2",
        ] {
            assert!(!ambiguous(text), "`{text}`");
        }
    }
}
