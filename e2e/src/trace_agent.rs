//! An agent that tracing libraries send their spans to, and keeps them.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::{msgpack, otlp};

/// Longer bodies are refused.
const LONGEST: usize = 64 << 20;

/// A running agent. Its threads end with this process.
#[derive(Clone, Debug)]
pub struct TraceAgent {
    port: u16,
    heard: Arc<Mutex<Heard>>,
}

#[derive(Debug, Default)]
struct Heard {
    spans: Vec<Value>,
    requests: Vec<String>,
}

impl TraceAgent {
    /// Starts one on any port, for all of this network.
    pub fn start() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        let agent = Self {
            port: listener.local_addr()?.port(),
            heard: Arc::default(),
        };
        let heard = Arc::clone(&agent.heard);
        std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let heard = Arc::clone(&heard);
                // A client that gives up in the middle is no fault of this test.
                std::thread::spawn(move || drop(serve(connection, &heard)));
            }
        });
        Ok(agent)
    }

    /// Where it listens.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// All spans so far, as the library wrote them.
    #[must_use]
    pub fn spans(&self) -> Vec<Value> {
        self.heard().spans.clone()
    }

    /// What it was asked so far, for a look after a failure.
    #[must_use]
    pub fn requests(&self) -> Vec<String> {
        self.heard().requests.clone()
    }

    fn heard(&self) -> std::sync::MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn serve(connection: TcpStream, heard: &Mutex<Heard>) -> Result<()> {
    connection.set_read_timeout(Some(Duration::from_secs(60)))?;
    let mut answers = connection.try_clone()?;
    let mut reader = BufReader::new(connection);
    while let Some((line, body)) = request(&mut reader)? {
        let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
        let (status, answer, spans) = answer(&path, &body);
        {
            let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
            heard.requests.push(format!("{line}: {status}"));
            heard.spans.extend(spans);
        }
        let answer = answer.to_string();
        let length = answer.len();
        let head = format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}"
        );
        answers.write_all(format!("{head}\r\n\r\n{answer}").as_bytes())?;
    }
    Ok(())
}

/// Libraries ask what the agent knows, and send in one of those forms; some send in the one they
/// like best all the same.
fn answer(path: &str, body: &[u8]) -> (String, Value, Vec<Value>) {
    let spans = match path {
        "/info" => {
            let endpoints = ["/v0.4/traces", "/v0.5/traces"];
            let info =
                json!({"version": "7.60.0", "endpoints": endpoints, "client_drop_p0s": false});
            return ("200 OK".to_owned(), info, Vec::new());
        }
        "/v0.4/traces" => msgpack::read(body).map(|traces| of_traces(&traces).cloned().collect()),
        "/v0.5/traces" => msgpack::read(body).and_then(|body| in_words(&body)),
        // OpenTelemetry's libraries send to a path that ends so.
        _ if path.ends_with("/v1/traces") => otlp::spans(body),
        _ => return ("404 Not Found".to_owned(), json!({}), Vec::new()),
    };
    match spans {
        Ok(spans) => {
            let rates = json!({"rate_by_service": {"service:,env:": 1}});
            ("200 OK".to_owned(), rates, spans)
        }
        Err(error) => (format!("400 {error:#}"), json!({}), Vec::new()),
    }
}

/// The spans in a list of traces, each of which is a list of spans.
fn of_traces(traces: &Value) -> impl Iterator<Item = &Value> {
    let traces = traces.as_array().into_iter().flatten();
    traces.filter_map(Value::as_array).flatten()
}

/// Spans of the form 0.5, as they are in the form 0.4: there a span is a list of twelve values, and
/// each text a number, by which it is found in a list at the beginning.
fn in_words(body: &Value) -> Result<Vec<Value>> {
    const FIELDS: [&str; 12] = [
        "service",
        "name",
        "resource",
        "trace_id",
        "span_id",
        "parent_id",
        "start",
        "duration",
        "error",
        "meta",
        "metrics",
        "type",
    ];
    let word = |number: &Value| -> Result<String> {
        let number = match number {
            Value::String(digits) => digits.parse().ok(),
            other => other
                .as_u64()
                .and_then(|number| usize::try_from(number).ok()),
        };
        let word = number.and_then(|number| body[0].get(number)?.as_str());
        Ok(word.context("a text that isn't in the list")?.to_owned())
    };
    let mut spans = Vec::new();
    for values in of_traces(&body[1]) {
        let mut span = json!({});
        for (at, field) in FIELDS.iter().enumerate() {
            let value = &values[at];
            span[field] = match *field {
                "service" | "name" | "resource" | "type" => word(value)?.into(),
                "meta" | "metrics" => {
                    let mut map = serde_json::Map::new();
                    for (key, value) in value.as_object().into_iter().flatten() {
                        let value = match *field {
                            "meta" => word(value)?.into(),
                            _ => value.clone(),
                        };
                        map.insert(word(&key.as_str().into())?, value);
                    }
                    map.into()
                }
                _ => value.clone(),
            };
        }
        spans.push(span);
    }
    Ok(spans)
}

/// The first line and the body of the next request; none when the client has gone.
fn request(reader: &mut BufReader<TcpStream>) -> Result<Option<(String, Vec<u8>)>> {
    let first = line(reader)?;
    if first.is_empty() {
        return Ok(None);
    }
    let (mut length, mut chunked) = (0, false);
    loop {
        let line = line(reader)?;
        let Some((name, value)) = line.split_once(':') else {
            break;
        };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse()?,
            "transfer-encoding" => chunked = value.contains("chunked"),
            _ => {}
        }
    }
    let mut body = Vec::new();
    if !chunked {
        take(reader, length, &mut body)?;
        return Ok(Some((first, body)));
    }
    loop {
        let size = line(reader)?;
        let size = usize::from_str_radix(size.trim(), 16).context("the size of a chunk")?;
        take(reader, size, &mut body)?;
        line(reader)?;
        if size == 0 {
            return Ok(Some((first, body)));
        }
    }
}

fn line(reader: &mut BufReader<TcpStream>) -> Result<String> {
    let mut line = String::new();
    reader.take(64 << 10).read_line(&mut line)?;
    Ok(line.trim_end().to_owned())
}

fn take(reader: &mut BufReader<TcpStream>, size: usize, body: &mut Vec<u8>) -> Result<()> {
    if body.len() + size > LONGEST {
        bail!("a body of more than {LONGEST} bytes");
    }
    let read = reader.take(size as u64).read_to_end(body)?;
    if read < size {
        bail!("expected {size} bytes of a body, found {read}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn both_forms_say_the_same() {
        let span = json!({
            "service": "s", "name": "n", "resource": "r", "trace_id": 1, "span_id": 2, "parent_id": 0,
            "start": 3, "duration": 4, "error": 0, "meta": {"n": "r"}, "metrics": {"s": 1.5}, "type": "",
        });
        let body = json!([
            ["", "s", "n", "r"],
            [[[1, 2, 3, 1, 2, 0, 3, 4, 0, {"2": 3}, {"1": 1.5}, 0]]],
        ]);
        assert_eq!(in_words(&body).unwrap(), std::slice::from_ref(&span));
        assert_eq!(of_traces(&json!([[span]])).collect::<Vec<_>>(), [&span]);
        let unknown = json!([[""], [[[9, 0, 0, 1, 2, 0, 3, 4, 0, {}, {}, 0]]]]);
        assert!(in_words(&unknown).is_err());
    }
}
