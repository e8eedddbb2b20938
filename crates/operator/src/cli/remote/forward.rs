//! One request to a port of a pod, on the way that `kubectl port-forward` takes: to the API server,
//! from there to the node's kubelet, and to the pod's own loopback address.
//!
//! The connection to the API server becomes a WebSocket (RFC 6455). Each message of the protocol
//! `v4.channel.k8s.io` begins with a byte that says what it is: 0 for bytes of the connection to the
//! pod, 1 for why there is none. The first message of each kind holds the port.
//!
//! This is all that is needed here. The library's own support for it would bring eight more crates.

use base64_simd::STANDARD;
use http::header::{
    CONNECTION, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Collected, Limited};
use hyper_util::rt::TokioIo;
use kube::Client;
use kube::client::Body;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;

use super::TIMEOUT;
use crate::error::Chain;
use crate::tls::provider;

const PROTOCOL: &str = "v4.channel.k8s.io";
/// The largest answer that is read, in bytes.
const LONGEST: usize = 8 << 20;
/// What kind of frame it is (RFC 6455, section 5.2).
const CONTINUED: u8 = 0;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;
/// What a message is about.
const DATA: u8 = 0;
const ERROR: u8 = 1;

/// Asks a pod for a path over HTTP. The error says everything.
pub(in crate::cli) async fn get(
    client: &Client,
    namespace: &str,
    pod: &str,
    port: u16,
    path: &str,
) -> Result<(StatusCode, Vec<u8>), String> {
    let asked = async {
        let mut stream = connect(client, namespace, pod, port).await?;
        exchange(&mut stream, path).await
    };
    let late = |_| format!("no answer within {} seconds", TIMEOUT.as_secs());
    timeout(TIMEOUT, asked).await.map_err(late)?
}

async fn connect(
    client: &Client,
    namespace: &str,
    pod: &str,
    port: u16,
) -> Result<impl AsyncRead + AsyncWrite + Unpin + use<>, String> {
    let uri = format!("/api/v1/namespaces/{namespace}/pods/{pod}/portforward?ports={port}");
    let request = Request::get(uri)
        .header(CONNECTION, "Upgrade")
        .header(UPGRADE, "websocket")
        .header(SEC_WEBSOCKET_VERSION, "13")
        .header(
            SEC_WEBSOCKET_KEY,
            STANDARD.encode_to_string(random::<16>()?),
        )
        .header(SEC_WEBSOCKET_PROTOCOL, PROTOCOL)
        .body(Body::empty())
        .map_err(|error| error.to_string())?;
    let answer = client.send(request).await;
    let answer = answer.map_err(|error| Chain(&error).to_string())?;
    let status = answer.status();
    if status != StatusCode::SWITCHING_PROTOCOLS {
        let body = Limited::new(answer.into_body(), LONGEST).collect().await;
        let body = body.map(Collected::to_bytes).unwrap_or_default();
        let said: Value = serde_json::from_slice(&body).unwrap_or_default();
        let said = said["message"].as_str().map(str::to_owned);
        let said = said.unwrap_or_else(|| String::from_utf8_lossy(&body).into_owned());
        return Err(format!("the API server answered {status}: {}", said.trim()));
    }
    let spoken = answer.headers().get(SEC_WEBSOCKET_PROTOCOL);
    if spoken.is_none_or(|spoken| spoken != PROTOCOL) {
        return Err(format!(
            "the API server doesn't forward ports by {PROTOCOL}; use `kubectl port-forward` and --url"
        ));
    }
    let upgraded = hyper::upgrade::on(answer).await;
    upgraded
        .map(TokioIo::new)
        .map_err(|error| Chain(&error).to_string())
}

async fn exchange<S>(stream: &mut S, path: &str) -> Result<(StatusCode, Vec<u8>), String>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let broken = |error: std::io::Error| format!("the connection to the pod broke: {error}");
    let mut message = vec![DATA];
    message.extend(
        format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").bytes(),
    );
    write(stream, BINARY, &message).await?;
    let mut received = Received::default();
    let mut message = Vec::new();
    while !is_complete(&received.data) {
        let Some(frame) = read(stream).await.map_err(broken)? else {
            break;
        };
        match frame.kind {
            CLOSE => break,
            PING => write(stream, PONG, &frame.payload).await?,
            PONG => {}
            kind => {
                if kind != CONTINUED {
                    message.clear();
                }
                message.extend(frame.payload);
                if message.len() + received.data.len() > LONGEST {
                    return Err("the answer is too long".to_owned());
                }
                if frame.is_last {
                    received.take(&message);
                    message.clear();
                }
            }
        }
    }
    match received.error.trim_ascii() {
        b"" => parse(&received.data),
        error => Err(String::from_utf8_lossy(error).into_owned()),
    }
}

/// What came from the pod.
#[derive(Default)]
struct Received {
    data: Vec<u8>,
    error: Vec<u8>,
    /// Whether the port has come, on either.
    ports: [bool; 2],
}

impl Received {
    fn take(&mut self, message: &[u8]) {
        let (all, port) = match message.first() {
            Some(&DATA) => (&mut self.data, &mut self.ports[0]),
            Some(&ERROR) => (&mut self.error, &mut self.ports[1]),
            _ => return,
        };
        let mut rest = &message[1..];
        if !*port && rest.len() >= 2 {
            *port = true;
            rest = &rest[2..];
        }
        all.extend(rest);
    }
}

/// Part of a message, or a message about the connection.
struct Frame {
    kind: u8,
    is_last: bool,
    payload: Vec<u8>,
}

/// The next frame; nothing if there is none.
async fn read(stream: &mut (impl AsyncRead + Unpin)) -> std::io::Result<Option<Frame>> {
    let mut head = [0; 2];
    match stream.read_exact(&mut head).await {
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let length = match head[1] & 0x7f {
        126 => u64::from(stream.read_u16().await?),
        127 => stream.read_u64().await?,
        short => u64::from(short),
    };
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    // Servers don't mask what they send.
    if length > LONGEST || head[1] & 0x80 != 0 {
        return Err(std::io::ErrorKind::InvalidData.into());
    }
    let mut payload = vec![0; length];
    stream.read_exact(&mut payload).await?;
    Ok(Some(Frame {
        kind: head[0] & 0x0f,
        is_last: head[0] & 0x80 != 0,
        payload,
    }))
}

/// Writes one frame, which is short.
async fn write(
    stream: &mut (impl AsyncWrite + Unpin),
    kind: u8,
    payload: &[u8],
) -> Result<(), String> {
    let mut frame = vec![0x80 | kind];
    match u16::try_from(payload.len()) {
        Ok(length @ ..126) => frame.push(0x80 | length as u8),
        Ok(length) => {
            frame.push(0x80 | 126);
            frame.extend(length.to_be_bytes());
        }
        Err(_) => return Err("a message is too long".to_owned()),
    }
    let mask = random::<4>()?;
    frame.extend(mask);
    let masked = payload.iter().zip(mask.iter().cycle());
    frame.extend(masked.map(|(byte, mask)| byte ^ mask));
    let written = async {
        stream.write_all(&frame).await?;
        stream.flush().await
    };
    let written = written.await;
    written.map_err(|error| format!("the connection to the pod broke: {error}"))
}

fn random<const N: usize>() -> Result<[u8; N], String> {
    provider::random().ok_or_else(|| "the operating system has no randomness".to_owned())
}

/// Head and body of an answer, if its head has come.
fn split(answer: &[u8]) -> Option<(&str, &[u8])> {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&answer[..end]).ok()?;
    Some((head, &answer[end + 4..]))
}

fn length(head: &str) -> Option<usize> {
    head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let is_length = name.eq_ignore_ascii_case("content-length");
        is_length.then(|| value.trim().parse().ok())?
    })
}

fn is_complete(answer: &[u8]) -> bool {
    split(answer).is_some_and(|(head, body)| length(head).is_some_and(|all| body.len() >= all))
}

fn parse(answer: &[u8]) -> Result<(StatusCode, Vec<u8>), String> {
    let (head, body) = split(answer).ok_or("the pod broke the connection off")?;
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    let status = status.and_then(|code: u16| StatusCode::from_u16(code).ok());
    let status = status.ok_or("the pod's answer isn't HTTP")?;
    if length(head).is_some_and(|all| body.len() < all) {
        return Err("the pod broke its answer off".to_owned());
    }
    Ok((status, body.to_vec()))
}

#[cfg(test)]
mod tests {
    use tokio::io::duplex;

    use super::*;

    const PORT: [u8; 2] = 9544_u16.to_le_bytes();

    fn frame(head: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![head];
        match u16::try_from(payload.len()).unwrap() {
            length @ ..126 => frame.push(length as u8),
            length => {
                frame.push(126);
                frame.extend(length.to_be_bytes());
            }
        }
        frame.extend(payload);
        frame
    }

    fn message(channel: u8, bytes: &[u8]) -> Vec<u8> {
        frame(0x80 | BINARY, &[&[channel], bytes].concat())
    }

    /// What comes of these bytes of the API server, and what was sent to it.
    fn asked(frames: &[Vec<u8>]) -> (Result<(u16, String), String>, Vec<u8>) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(async {
            let (mut near, mut far) = duplex(1 << 16);
            far.write_all(&frames.concat()).await.unwrap();
            let request = async {
                let frame = read_masked(&mut far).await;
                // Nothing more comes.
                far.shutdown().await.unwrap();
                frame
            };
            let (answer, request) = tokio::join!(exchange(&mut near, "/status"), request);
            let text = |(status, body): (StatusCode, Vec<u8>)| {
                (status.as_u16(), String::from_utf8(body).unwrap())
            };
            (answer.map(text), request)
        })
    }

    async fn read_masked(stream: &mut (impl AsyncRead + Unpin)) -> Vec<u8> {
        let mut head = [0; 6];
        stream.read_exact(&mut head).await.unwrap();
        assert_eq!(head[0], 0x82);
        let mut payload = vec![0; usize::from(head[1] & 0x7f)];
        stream.read_exact(&mut payload).await.unwrap();
        let mask = head[2..].iter().cycle();
        payload
            .iter()
            .zip(mask)
            .map(|(byte, mask)| byte ^ mask)
            .collect()
    }

    #[test]
    fn an_answer_in_pieces() {
        let long = "x".repeat(300);
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", long.len());
        let frames = [
            message(DATA, &PORT),
            message(ERROR, &PORT),
            frame(0x80 | PING, b"?"),
            message(DATA, head.as_bytes()),
            // One message in two frames, a ping between them.
            frame(BINARY, &[&[DATA], &long.as_bytes()[..200]].concat()),
            frame(0x80 | PING, b""),
            frame(0x80 | CONTINUED, &long.as_bytes()[200..]),
        ];
        let (answer, request) = asked(&frames);
        assert_eq!(answer, Ok((200, long)));
        assert_eq!(request[0], DATA);
        let request = String::from_utf8(request[1..].to_vec()).unwrap();
        assert!(request.starts_with("GET /status HTTP/1.1\r\n"), "{request}");
    }

    #[test]
    fn what_goes_wrong_is_said() {
        let head = |length: usize| {
            let head = format!("HTTP/1.1 403 Forbidden\r\ncontent-length: {length}\r\n\r\nno");
            message(DATA, &[&PORT, head.as_bytes()].concat())
        };
        let check = |frames: &[Vec<u8>], want: Result<(u16, &str), &str>| {
            let (answer, _) = asked(frames);
            let answer = answer.as_ref();
            let found = answer.map(|(status, body)| (*status, body.as_str()));
            assert_eq!(found.map_err(String::as_str), want);
        };
        check(&[head(2)], Ok((403, "no")));
        check(&[head(3)], Err("the pod broke its answer off"));
        let refused = [&PORT[..], b"connection refused\n"].concat();
        check(
            &[message(DATA, &PORT), message(ERROR, &refused)],
            Err("connection refused"),
        );
        check(
            &[message(DATA, &PORT)],
            Err("the pod broke the connection off"),
        );
        check(
            &[frame(0x80 | CLOSE, &[3, 232])],
            Err("the pod broke the connection off"),
        );
        check(
            &[message(DATA, b"..what\r\n\r\n")],
            Err("the pod's answer isn't HTTP"),
        );
        let (answer, _) = asked(&[vec![0x82, 127, 255, 255, 255, 255, 255, 255, 255, 255]]);
        assert!(answer.unwrap_err().contains("broke"));
    }
}
