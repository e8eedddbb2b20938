//! A reader of MessagePack, as far as tracing libraries use it.

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value};

/// How deep values may be within each other.
const DEEPEST: usize = 32;

/// Reads one value. Binary strings become text, and so do numbers that are keys of maps.
pub fn read(bytes: &[u8]) -> Result<Value> {
    let mut reader = Reader { bytes };
    let value = reader.value(0)?;
    if !reader.bytes.is_empty() {
        bail!("{} bytes follow the value", reader.bytes.len());
    }
    Ok(value)
}

struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    fn value(&mut self, depth: usize) -> Result<Value> {
        if depth > DEEPEST {
            bail!("values are more than {DEEPEST} deep within each other");
        }
        let kind = self.number(1)? as u8;
        Ok(match kind {
            0x00..=0x7f => kind.into(),
            0x80..=0x8f => self.map(usize::from(kind & 0x0f), depth)?,
            0x90..=0x9f => self.list(usize::from(kind & 0x0f), depth)?,
            0xa0..=0xbf => self.text(usize::from(kind & 0x1f))?,
            0xc0 => Value::Null,
            0xc2 => false.into(),
            0xc3 => true.into(),
            0xc4..=0xc6 => self.text_after(1 << (kind - 0xc4))?,
            0xca => f32::from_bits(self.number(4)? as u32).into(),
            0xcb => f64::from_bits(self.number(8)?).into(),
            0xcc..=0xcf => self.number(1 << (kind - 0xcc))?.into(),
            0xd0 => (self.number(1)? as i8).into(),
            0xd1 => (self.number(2)? as i16).into(),
            0xd2 => (self.number(4)? as i32).into(),
            0xd3 => (self.number(8)? as i64).into(),
            0xd9..=0xdb => self.text_after(1 << (kind - 0xd9))?,
            0xdc | 0xdd => {
                let length = self.number(2 << (kind - 0xdc))?;
                self.list(usize::try_from(length)?, depth)?
            }
            0xde | 0xdf => {
                let length = self.number(2 << (kind - 0xde))?;
                self.map(usize::try_from(length)?, depth)?
            }
            0xe0..=0xff => (kind as i8).into(),
            other => bail!("expected a value, found the byte {other:#04x}"),
        })
    }

    /// A list may say that it is longer than what follows, so that nothing is set aside for it.
    fn list(&mut self, length: usize, depth: usize) -> Result<Value> {
        let mut list = Vec::new();
        for _ in 0..length {
            list.push(self.value(depth + 1)?);
        }
        Ok(list.into())
    }

    fn map(&mut self, length: usize, depth: usize) -> Result<Value> {
        let mut map = Map::new();
        for _ in 0..length {
            let key = match self.value(depth + 1)? {
                Value::String(key) => key,
                Value::Number(key) => key.to_string(),
                other => bail!("a key of a map is neither text nor a number: {other}"),
            };
            map.insert(key, self.value(depth + 1)?);
        }
        Ok(map.into())
    }

    fn text_after(&mut self, width: usize) -> Result<Value> {
        let length = self.number(width)?;
        self.text(usize::try_from(length)?)
    }

    fn text(&mut self, length: usize) -> Result<Value> {
        Ok(String::from_utf8_lossy(self.take(length)?).into())
    }

    fn number(&mut self, width: usize) -> Result<u64> {
        let bytes = self.take(width)?.iter();
        Ok(bytes.fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self
            .bytes
            .split_at_checked(length)
            .with_context(|| format!("expected {length} bytes, found {}", self.bytes.len()))?;
        self.bytes = rest;
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_read() {
        for (bytes, value) in [
            (&b"\x07"[..], json!(7)),
            (b"\xff", json!(-1)),
            (b"\xc0", Value::Null),
            (b"\xc3", json!(true)),
            (b"\xa2ab", json!("ab")),
            (b"\xc4\x01a", json!("a")),
            (b"\xda\x00\x01a", json!("a")),
            (b"\xcd\x01\x00", json!(256)),
            (b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff", json!(u64::MAX)),
            (b"\xd1\xff\xfe", json!(-2)),
            (b"\xcb\x3f\xf8\x00\x00\x00\x00\x00\x00", json!(1.5)),
            (b"\x92\x01\x02", json!([1, 2])),
            (b"\xdd\x00\x00\x00\x01\x01", json!([1])),
            (b"\x81\xa1a\x90", json!({"a": []})),
            (b"\xde\x00\x01\xa1a\x01", json!({"a": 1})),
            (b"\x81\x07\x01", json!({"7": 1})),
        ] {
            assert_eq!(read(bytes).unwrap(), value, "{bytes:?}");
        }
    }

    #[test]
    fn what_is_none_is_told() {
        for (bytes, why) in [
            (&b""[..], "expected 1 bytes, found 0"),
            (b"\xa3ab", "expected 3 bytes, found 2"),
            (b"\xdd\xff\xff\xff\xff", "expected 1 bytes, found 0"),
            (
                b"\x81\xc0\x01",
                "a key of a map is neither text nor a number",
            ),
            (b"\xc1", "found the byte 0xc1"),
            (b"\x01\x01", "1 bytes follow"),
            (&[0x91; 100], "deep within each other"),
        ] {
            let error = read(bytes).unwrap_err().to_string();
            assert!(error.contains(why), "{bytes:?}: {error}");
        }
    }
}
