//! Amounts of CPU and memory as Kubernetes writes them, compared exactly.

use std::cmp::Ordering;
use std::fmt;

/// A Kubernetes resource quantity: `100m`, `64Mi`, `0.5`, `1e3`.
///
/// Grammar and rounding are those of
/// <https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/>: what is
/// smaller than a billionth is rounded away from zero. The text is kept as written; equality and
/// order are by value, so `1` equals `1000m`.
#[derive(Debug, Clone)]
pub struct Quantity {
    text: String,
    value: Decimal,
}

/// The units in which a resource's amounts are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Units {
    /// None.
    Plain,
    /// Those of bytes.
    Bytes,
}

/// Why a text is no quantity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// Nothing at all.
    #[error("the quantity is empty")]
    Empty,
    /// No digit where the number should be.
    #[error("a quantity starts with a number, such as 100m or 64Mi")]
    Number,
    /// Something after the number that is no unit.
    #[error("the unit is none of n, u, m, k, M, G, T, P, E, Ki, Mi, Gi, Ti, Pi, Ei or an exponent")]
    Unit,
    /// An exponent or a number of digits that is beyond reason.
    #[error("the quantity is out of range")]
    Range,
}

/// `sign × digits × 10^exponent`; `digits` has no leading and no trailing zero and is empty for
/// zero.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Decimal {
    negative: bool,
    /// Most significant first, each 0 to 9.
    digits: Vec<u8>,
    exponent: i64,
}

/// Nobody writes longer ones; the limit bounds the work on hostile input.
const MAX_LENGTH: usize = 256;
/// The smallest amount that Kubernetes keeps is a billionth.
const NANO: i64 = -9;
const MILLI: i64 = -3;

impl Quantity {
    /// Reads a quantity; surrounding white space is dropped as Kubernetes does.
    pub fn parse(text: &str) -> Result<Self, QuantityError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(QuantityError::Empty);
        }
        if text.len() > MAX_LENGTH {
            return Err(QuantityError::Range);
        }
        let (negative, rest) = match text.as_bytes()[0] {
            b'-' => (true, &text[1..]),
            b'+' => (false, &text[1..]),
            _ => (false, text),
        };
        let (whole, rest) = split_digits(rest);
        let (fraction, rest) = match rest.strip_prefix('.') {
            Some(rest) => split_digits(rest),
            None => ("", rest),
        };
        if whole.is_empty() && fraction.is_empty() {
            return Err(QuantityError::Number);
        }
        let unit = Unit::parse(rest)?;
        let mut digits: Vec<u8> = whole
            .bytes()
            .chain(fraction.bytes())
            .map(|b| b - b'0')
            .collect();
        let mut exponent = -(fraction.len() as i64);
        match unit {
            Unit::Decimal(power) => exponent += power,
            Unit::Binary(power) => {
                for _ in 0..power {
                    multiply(&mut digits, 1024);
                }
            }
        }
        let value = Decimal {
            negative,
            digits,
            exponent,
        }
        .normalized()
        .rounded_up_to(NANO);
        Ok(Self {
            text: text.to_owned(),
            value,
        })
    }

    /// Reads a quantity from JSON, where it may be a string or a plain number.
    pub fn from_json(value: &serde_json::Value) -> Option<Self> {
        match value {
            serde_json::Value::String(text) => Self::parse(text).ok(),
            serde_json::Value::Number(number) => Self::parse(&number.to_string()).ok(),
            _ => None,
        }
    }

    /// The amount of a text in thousandths, as [`milli`](Self::milli) has it; `None` if it is no
    /// quantity or beyond what any resource comes in. What people write (`500m`, `2`, `64Mi`) is
    /// read without the detour.
    pub fn milli_of(text: &str) -> Option<i128> {
        let (whole, unit) = split_digits(text);
        let factor: Option<i128> = match unit {
            "m" => Some(1),
            "" => Some(1000),
            "k" => Some(1_000_000),
            "M" => Some(1_000_000_000),
            "G" => Some(1_000_000_000_000),
            "Ki" => Some(1000 << 10),
            "Mi" => Some(1000 << 20),
            "Gi" => Some(1000 << 30),
            _ => None,
        };
        match factor {
            Some(factor) if (1..=12).contains(&whole.len()) => {
                let digits = whole
                    .bytes()
                    .fold(0, |value, digit| value * 10 + i128::from(digit - b'0'));
                Some(digits * factor)
            }
            _ => Self::parse(text).ok()?.milli(),
        }
    }

    /// The amount in thousandths, rounded away from zero; `None` beyond what any resource comes in.
    pub fn milli(&self) -> Option<i128> {
        /// So that sums of many amounts stay far from the end of the type.
        const DIGITS: i64 = 30;
        if self.value.magnitude() - MILLI > DIGITS {
            return None;
        }
        let rounded = self.value.clone().rounded_up_to(MILLI);
        let digits = rounded
            .digits
            .iter()
            .fold(0i128, |value, digit| value * 10 + i128::from(*digit));
        let zeros = u32::try_from(rounded.exponent - MILLI).ok()?;
        let amount = digits * 10i128.checked_pow(zeros)?;
        Some(if rounded.negative { -amount } else { amount })
    }

    /// The quantity of an amount in thousandths, in the largest unit in which it is a whole number.
    pub fn from_milli(amount: i128, units: Units) -> Self {
        let digits = amount.unsigned_abs().to_string();
        let value = Decimal {
            negative: amount < 0,
            digits: digits.bytes().map(|digit| digit - b'0').collect(),
            exponent: MILLI,
        };
        Self {
            text: units.write(amount),
            value: value.normalized(),
        }
    }

    /// The quantity as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Below zero; Kubernetes refuses such an amount of a resource.
    pub fn is_negative(&self) -> bool {
        self.value.negative
    }

    /// Exactly zero, in whichever unit.
    pub fn is_zero(&self) -> bool {
        self.value.digits.is_empty()
    }
}

impl Units {
    fn write(self, milli: i128) -> String {
        if milli % 1000 != 0 {
            return format!("{milli}m");
        }
        let amount = milli / 1000;
        let units: &[(&str, i128)] = match self {
            Self::Plain => &[],
            Self::Bytes => &[
                ("Ti", 1 << 40),
                ("Gi", 1 << 30),
                ("Mi", 1 << 20),
                ("Ki", 1 << 10),
                ("G", 1_000_000_000),
                ("M", 1_000_000),
                ("k", 1000),
            ],
        };
        let unit = units
            .iter()
            .find(|(_, size)| amount != 0 && amount % size == 0);
        match unit {
            Some((unit, size)) => format!("{}{unit}", amount / size),
            None => amount.to_string(),
        }
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.value.compare(&other.value)
    }
}

enum Unit {
    /// A power of ten.
    Decimal(i64),
    /// A power of 1024.
    Binary(u32),
}

impl Unit {
    fn parse(text: &str) -> Result<Self, QuantityError> {
        Ok(match text {
            "n" => Self::Decimal(-9),
            "u" => Self::Decimal(-6),
            "m" => Self::Decimal(-3),
            "" => Self::Decimal(0),
            "k" => Self::Decimal(3),
            "M" => Self::Decimal(6),
            "G" => Self::Decimal(9),
            "T" => Self::Decimal(12),
            "P" => Self::Decimal(15),
            "E" => Self::Decimal(18),
            "Ki" => Self::Binary(1),
            "Mi" => Self::Binary(2),
            "Gi" => Self::Binary(3),
            "Ti" => Self::Binary(4),
            "Pi" => Self::Binary(5),
            "Ei" => Self::Binary(6),
            _ => Self::Decimal(Self::exponent(text)?),
        })
    }

    fn exponent(text: &str) -> Result<i64, QuantityError> {
        let signed = text.strip_prefix(['e', 'E']).ok_or(QuantityError::Unit)?;
        let digits = signed.strip_prefix(['+', '-']).unwrap_or(signed);
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(QuantityError::Unit);
        }
        // Kubernetes keeps the exponent in 32 bits.
        let value: i32 = signed.parse().map_err(|_| QuantityError::Range)?;
        Ok(i64::from(value))
    }
}

impl Decimal {
    fn normalized(mut self) -> Self {
        let leading = self.digits.iter().take_while(|d| **d == 0).count();
        self.digits.drain(..leading);
        while self.digits.last() == Some(&0) {
            self.digits.pop();
            self.exponent += 1;
        }
        if self.digits.is_empty() {
            self.exponent = 0;
            self.negative = false;
        }
        self
    }

    /// Rounds away from zero to a multiple of `10^exponent`. Expects a normalised number.
    fn rounded_up_to(mut self, exponent: i64) -> Self {
        if self.exponent >= exponent || self.digits.is_empty() {
            return self;
        }
        // The last digit of a normalised number isn't zero, so dropping any digits always rounds.
        let kept = self.magnitude().saturating_sub(exponent).max(0) as usize;
        self.digits.truncate(kept);
        self.exponent = exponent;
        let nines = self.digits.iter().rev().take_while(|d| **d == 9).count();
        let stop = self.digits.len() - nines;
        self.digits.truncate(stop);
        self.exponent += nines as i64;
        match self.digits.last_mut() {
            Some(last) => *last += 1,
            None => self.digits.push(1),
        }
        self
    }

    /// The position of the first digit: 3 for 100, 1 for 1, 0 for 0.1.
    fn magnitude(&self) -> i64 {
        self.digits.len() as i64 + self.exponent
    }

    fn compare_absolute(&self, other: &Self) -> Ordering {
        match (self.digits.is_empty(), other.digits.is_empty()) {
            (true, true) => Ordering::Equal,
            (true, false) => Ordering::Less,
            (false, true) => Ordering::Greater,
            // Equally long before the point; with no trailing zeros, the longer of two equal
            // beginnings is greater.
            (false, false) => self
                .magnitude()
                .cmp(&other.magnitude())
                .then_with(|| self.digits.cmp(&other.digits)),
        }
    }

    fn compare(&self, other: &Self) -> Ordering {
        match (self.negative, other.negative) {
            (false, false) => self.compare_absolute(other),
            (true, true) => other.compare_absolute(self),
            (true, false) => Ordering::Less,
            (false, true) => Ordering::Greater,
        }
    }
}

fn split_digits(text: &str) -> (&str, &str) {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    text.split_at(end)
}

/// Multiplies a decimal number in place.
fn multiply(digits: &mut Vec<u8>, factor: u32) {
    let mut carry = 0;
    for digit in digits.iter_mut().rev() {
        let product = u32::from(*digit) * factor + carry;
        *digit = (product % 10) as u8;
        carry = product / 10;
    }
    while carry > 0 {
        digits.insert(0, (carry % 10) as u8);
        carry /= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_short_way_finds_what_the_long_one_does() {
        for text in [
            "0",
            "1",
            "500m",
            "2",
            "64Mi",
            "1Gi",
            "3Ki",
            "10k",
            "5M",
            "7G",
            "007",
            "123456789012",
            "1234567890123",
            "0.5",
            "1e3",
            "-1",
            "+2",
            " 3",
            "1Ti",
            "1E",
            "",
            "x",
            "m",
            "9999999999999999999999999999999999999999",
            "3u",
        ] {
            let long = Quantity::parse(text)
                .ok()
                .and_then(|quantity| quantity.milli());
            assert_eq!(Quantity::milli_of(text), long, "{text}");
        }
    }
    use proptest::prelude::*;

    fn quantity(text: &str) -> Quantity {
        Quantity::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn equal_values_in_different_words() {
        for group in [
            &[
                "1",
                "1000m",
                "+1",
                "1.",
                "1.0",
                "01",
                "1e0",
                "0.1e1",
                "10e-1",
                " 1 ",
                "1000000000n",
            ][..],
            &["64Mi", "65536Ki", "67108864", "0.0625Gi", "67108864000m"],
            &["1E", "1e18", "1000P", "1E18"],
            &["1Ei", "1024Pi", "1152921504606846976"],
            &["0", "-0", "0Ki", "0.000", "0e9999", ".0"],
            &[".5", "500m", "0.5"],
            &["0.1n", "1n", "0.0000000001", "1e-2000000000"],
            &["1.0000000001", "1.000000001"],
            &["0.9999999991", "0.9999999999", "999999999.9n", "1"],
            &["-1.5Ki", "-1536"],
            &["1k", "1e+3"],
        ] {
            for text in group {
                assert_eq!(quantity(text), quantity(group[0]), "{text} = {}", group[0]);
            }
        }
    }

    #[test]
    fn order_is_exact() {
        let ascending = [
            "-1Ei",
            "-2",
            "-1",
            "-1m",
            "0",
            "1n",
            "2n",
            "1u",
            "1m",
            "99m",
            "100m",
            "0.1001",
            "1",
            "1.5",
            "999",
            "1k",
            "1Ki",
            "1M",
            "1Mi",
            "9007199254740992",
            "9007199254740993",
            "9223372036854775807",
            "8Ei",
            "1e30",
            "1e2000000000",
        ];
        for pair in ascending.windows(2) {
            assert!(quantity(pair[0]) < quantity(pair[1]), "{pair:?}");
            assert!(quantity(pair[1]) > quantity(pair[0]), "{pair:?}");
        }
    }

    #[test]
    fn refuses_what_kubernetes_refuses() {
        use QuantityError as E;
        let check = |text: &str, expected: QuantityError| {
            assert_eq!(Quantity::parse(text).err(), Some(expected), "{text:?}");
        };
        check("", E::Empty);
        check("  ", E::Empty);
        check("abc", E::Number);
        check("m", E::Number);
        check(".", E::Number);
        check("--1", E::Number);
        check("1 Mi", E::Unit);
        check("1mi", E::Unit);
        check("1MB", E::Unit);
        check("1K", E::Unit);
        check("1e", E::Unit);
        check("1e1.5", E::Unit);
        check("1e+-1", E::Unit);
        check("1.2.3", E::Unit);
        check("100m\0", E::Unit);
        check("١", E::Number);
        check("1e99999999999", E::Range);
        check(&"1".repeat(300), E::Range);
    }

    #[test]
    fn thousandths() {
        for (text, expected) in [
            ("0", Some(0)),
            ("1", Some(1000)),
            ("100m", Some(100)),
            ("1n", Some(1)),
            ("999999999n", Some(1000)),
            ("1.0005", Some(1001)),
            ("-1.5", Some(-1500)),
            ("64Mi", Some(67_108_864_000)),
            ("8Ei", Some(9_223_372_036_854_775_808_000)),
            ("1e26", Some(10i128.pow(29))),
            ("1e27", None),
            ("1e2000000000", None),
            ("0e2000000000", Some(0)),
        ] {
            assert_eq!(quantity(text).milli(), expected, "{text}");
        }
    }

    #[test]
    fn json_may_hold_text_or_a_number() {
        use serde_json::json;
        for (value, expected) in [
            (json!("1Gi"), Some("1073741824")),
            (json!(2), Some("2")),
            (json!(0.5), Some("500m")),
            (json!(null), None),
            (json!(true), None),
            (json!("much"), None),
        ] {
            assert_eq!(
                Quantity::from_json(&value),
                expected.map(quantity),
                "{value}"
            );
        }
    }

    #[test]
    fn keeps_the_text() {
        assert_eq!(quantity(" 0.50 ").as_str(), "0.50");
        assert!(quantity("-1m").is_negative());
        assert!(!quantity("-0").is_negative());
        assert!(quantity("0Ki").is_zero());
    }

    proptest! {
        #[test]
        fn agrees_with_integers(a in -10_000_000i64..10_000_000, b in -10_000_000i64..10_000_000) {
            let units: [(&str, i128); 5] = [("u", 1), ("m", 1_000), ("", 1_000_000), ("Ki", 1_024_000_000), ("M", 1_000_000_000_000)];
            for (left, x) in units {
                for (right, y) in units {
                    let expected = (i128::from(a) * x).cmp(&(i128::from(b) * y));
                    prop_assert_eq!(quantity(&format!("{a}{left}")).cmp(&quantity(&format!("{b}{right}"))), expected);
                }
            }
        }

        #[test]
        fn any_text_is_answered(text in "[-+]?[0-9.]{0,6}[a-zA-Z]{0,3}[-+]?[0-9]{0,12}") {
            if let Ok(quantity) = Quantity::parse(&text) {
                prop_assert_eq!(quantity.as_str(), text);
            }
        }
    }
}
