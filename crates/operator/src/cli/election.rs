//! `datakit-operator election`: which agent runs what.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use datakit_operator_core::election::text::escaped;
use http::header::{ACCEPT, AUTHORIZATION, HOST};
use http::{HeaderValue, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{EXIT_OK, Streams, Usage};
use crate::http::election::ELECTION_PATH;
use crate::tls::client::{Trust, connector};

/// How long the operator may take for a page.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The largest page that is read.
const MAX_PAGE: usize = 4 << 20;

/// Options of `election`.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// A running operator; any replica will do
    #[arg(long, value_name = "URL", default_value = "https://localhost:9543")]
    url: String,

    /// Accept the operator's certificate only if these authorities (PEM) have signed it
    #[arg(long, value_name = "FILE", conflicts_with = "insecure")]
    ca_file: Option<PathBuf>,

    /// Accept any certificate, as agents do; without being told for this machine itself
    #[arg(long)]
    insecure: bool,

    /// Prove with this token who asks, where the operator wants to know and is not on this machine
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,

    /// What to print
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    output: Output,
}

/// What to print.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    /// A table
    #[default]
    Text,
    /// Everything, for programs
    Json,
}

const AFTER_HELP: &str = "\
Prints which agents are alive, when they were heard of last, the sum of the scores of their inputs, and the inputs: those \
without a remark may be running, `tentative` ones can't have been started yet. Below it what nobody has, and the replica \
that decides.

Examples:
  kubectl -n datakit exec deploy/datakit-operator -- datakit-operator election
  kubectl -n datakit port-forward service/datakit-operator 9543:443
  datakit-operator election
  kubectl -n datakit get secret datakit-operator-ca -o jsonpath='{.data.ca\\.crt}' | base64 -d > ca.crt
  datakit-operator election --url https://localhost:9543 --ca-file ca.crt --output json

Exit codes:
  0  printed
  1  the operator can't be reached, or nobody decides at the moment; what it says is on standard error
  2  wrong command line or CA file";

/// Asks an operator and prints its answer.
///
/// # Errors
///
/// If it can't be reached or has no table, and for output that can't be written.
pub fn run(args: &Args, streams: &mut Streams<'_>) -> anyhow::Result<u8> {
    let (uri, host) = address(&args.url)?;
    let trust = match &args.ca_file {
        Some(path) => Trust::Authorities(path.clone()),
        None if args.insecure || is_here(&host) => Trust::Anybody,
        None => {
            let why = anyhow!(
                "`{}` is another machine: name the authorities of its certificate with --ca-file, or accept any with --insecure",
                args.url
            );
            return Err(Usage::from(why).into());
        }
    };
    let connector = connector(&trust)
        .map_err(anyhow::Error::from)
        .map_err(Usage::from)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let accept = match args.output {
        Output::Text => "text/plain",
        Output::Json => "application/json",
    };
    let connect = async {
        let port = uri.port_u16().unwrap_or(443);
        let fail = || format!("failed to connect to {}", args.url);
        let stream = TcpStream::connect((host.as_str(), port)).await;
        let stream = stream.with_context(fail)?;
        let name = ServerName::try_from(host.clone()).with_context(fail)?;
        let stream = connector.connect(name, stream).await.with_context(fail)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok::<_, anyhow::Error>(sender)
    };
    let late = || format!("{} did not answer within {TIMEOUT:?}", args.url);
    let mut sender = runtime
        .block_on(async { timeout(TIMEOUT, connect).await })
        .with_context(late)??;
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let token = args.token_file.as_deref().map(bearer).transpose()?;
    let mut table = Printed::default();
    let mut from = Some(String::new());
    // Page by page: a table of many agents is larger than what this process may have beside a
    // running operator.
    while let Some(cursor) = from {
        let mut request = Request::get(format!("{ELECTION_PATH}?continue={cursor}"))
            .header(HOST, HeaderValue::from_str(authority)?)
            .header(ACCEPT, accept);
        if let Some(token) = &token {
            request = request.header(AUTHORIZATION, token);
        }
        let request = request.body(Empty::<Bytes>::new())?;
        let asked = async {
            sender.ready().await?;
            let answer = sender.send_request(request).await?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), MAX_PAGE).collect().await;
            let body = body.map_err(|error| anyhow!("failed to read a page of the table: {error}"));
            Ok::<_, anyhow::Error>((status, body?.to_bytes()))
        };
        let (status, body) = runtime
            .block_on(async { timeout(TIMEOUT, asked).await })
            .with_context(late)??;
        if status != StatusCode::OK {
            let said = String::from_utf8_lossy(&body);
            bail!(
                "{} answered {status}: {}",
                args.url,
                visible(said.trim_end())
            );
        }
        from = match args.output {
            Output::Text => table.text(&String::from_utf8_lossy(&body), streams)?,
            Output::Json => table.json(&body, streams)?,
        };
    }
    Ok(EXIT_OK)
}

/// What has been printed of a table.
#[derive(Default)]
struct Printed {
    pages: usize,
    agents: usize,
    unassigned: Vec<Value>,
}

impl Printed {
    /// Prints a page for people, and returns where the next one begins.
    fn text(&mut self, page: &str, streams: &mut Streams<'_>) -> anyhow::Result<Option<String>> {
        let (page, next) = match page.trim_end().rsplit_once("\ncontinue: ") {
            Some((page, next)) => (page, Some(next.to_owned())),
            None => (page.trim_end(), None),
        };
        let shown = match (&next, page.rsplit_once("\n\nholder: ")) {
            (Some(_), Some((shown, _))) => shown,
            _ => page,
        };
        // The names of the columns once.
        let shown = match shown.split_once('\n') {
            Some((head, rest)) if self.pages > 0 && head.starts_with("AGENT ") => rest,
            _ => shown,
        };
        self.pages += 1;
        writeln!(streams.stdout, "{}", visible(shown))?;
        Ok(next)
    }

    /// Prints a page for programs, all pages as one object, and returns where the next one begins.
    fn json(&mut self, page: &[u8], streams: &mut Streams<'_>) -> anyhow::Result<Option<String>> {
        let page: Value = serde_json::from_slice(page).context("the table is not JSON")?;
        let out = &mut streams.stdout;
        if self.pages == 0 {
            let (holder, phase) = (&page["holder"], &page["phase"]);
            write!(out, r#"{{"holder":{holder},"phase":{phase},"agents":["#)?;
        }
        self.pages += 1;
        for agent in page["agents"].as_array().into_iter().flatten() {
            let comma = if self.agents > 0 { "," } else { "" };
            write!(out, "{comma}{agent}")?;
            self.agents += 1;
        }
        self.unassigned
            .extend(page["unassigned"].as_array().into_iter().flatten().cloned());
        let next = page["continue"].as_str().map(str::to_owned);
        if next.is_none() {
            let unassigned = Value::from(std::mem::take(&mut self.unassigned));
            writeln!(out, r#"],"unassigned":{unassigned}}}"#)?;
        }
        Ok(next)
    }
}

/// A text of several lines as a terminal may show it, whoever wrote it.
fn visible(text: &str) -> String {
    let lines: Vec<_> = text.split('\n').map(escaped).collect();
    lines.join("\n")
}

/// The header that proves who asks.
fn bearer(path: &Path) -> anyhow::Result<HeaderValue> {
    let token = std::fs::read_to_string(path)
        .with_context(|| format!("failed to read the token in `{}`", path.display()))
        .map_err(Usage::from)?;
    let mut value = HeaderValue::from_str(&format!("Bearer {}", token.trim()))
        .map_err(|_| anyhow!("`{}` holds no token", path.display()))
        .map_err(Usage::from)?;
    value.set_sensitive(true);
    Ok(value)
}

/// The URL, and its host without the brackets of an IPv6 address.
fn address(url: &str) -> Result<(Uri, String), Usage> {
    let wrong = || {
        anyhow!(
            "`{url}` is not the URL of an operator; expected one such as https://localhost:9543"
        )
    };
    let uri: Uri = url.parse().map_err(|_| wrong())?;
    let host = match (uri.scheme_str(), uri.host()) {
        (Some("https"), Some(host)) => host.trim_matches(['[', ']']).to_owned(),
        _ => return Err(wrong().into()),
    };
    Ok((uri, host))
}

fn is_here(host: &str) -> bool {
    host == "localhost"
        || host
            .parse()
            .is_ok_and(|address: IpAddr| address.is_loopback())
}
