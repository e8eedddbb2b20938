//! An agent that tracing libraries send their spans to, and keeps them.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::msgpack;

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

/// Libraries ask what the agent knows, and send in that form: `/v0.4/traces`, a list of traces, each a list of spans.
fn answer(path: &str, body: &[u8]) -> (String, Value, Vec<Value>) {
    let ok = "200 OK".to_owned();
    match path {
        "/info" => {
            let info = json!({"version": "7.60.0", "endpoints": ["/v0.4/traces"], "client_drop_p0s": false});
            (ok, info, Vec::new())
        }
        "/v0.4/traces" => match msgpack::read(body) {
            Ok(traces) => {
                let traces = traces.as_array().into_iter().flatten();
                let spans = traces.filter_map(Value::as_array).flatten();
                let spans = spans.cloned().collect();
                (ok, json!({"rate_by_service": {"service:,env:": 1}}), spans)
            }
            Err(error) => (format!("400 {error:#}"), json!({}), Vec::new()),
        },
        _ => ("404 Not Found".to_owned(), json!({}), Vec::new()),
    }
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
