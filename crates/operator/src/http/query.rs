//! The parameters of a query, decoded as forms are.

use http::Uri;

/// The parameters of a query.
#[derive(Debug)]
pub struct Query<'a>(&'a str);

impl<'a> Query<'a> {
    /// Of this address.
    #[must_use]
    pub fn of(uri: &'a Uri) -> Self {
        Self(uri.query().unwrap_or_default())
    }

    /// The first value of a parameter; empty if there is none.
    #[must_use]
    pub fn get(&self, name: &str) -> String {
        self.0
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .find(|(key, _)| decode(key) == name)
            .map(|(_, value)| decode(value))
            .unwrap_or_default()
    }
}

fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, more)) = rest.split_first() {
        let hex = |at: usize| more.get(at).and_then(|byte| (*byte as char).to_digit(16));
        rest = more;
        match (byte, hex(0), hex(1)) {
            (b'%', Some(high), Some(low)) => {
                bytes.push((high * 16 + low) as u8);
                rest = &more[2..];
            }
            (b'+', ..) => bytes.push(b' '),
            _ => bytes.push(byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries() {
        let check = |query: &str, want: [&str; 2]| {
            let uri: Uri = format!("/v1/dk-election?{query}").parse().unwrap();
            let query = Query::of(&uri);
            assert_eq!([query.get("token"), query.get("id")], want);
        };
        check("token=a&id=b", ["a", "b"]);
        check("id=b&namespace=&token=", ["", "b"]);
        check("token=a%2Bb+c%25&id=%e4%bd%a0", ["a+b c%", "你"]);
        check("token=%&id=%4", ["%", "%4"]);
        check("token=1&token=2", ["1", ""]);
        check("", ["", ""]);
    }
}
