//! `datakit-operator election`: which agent runs what.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use http::header::{ACCEPT, HOST};
use http::{HeaderValue, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{EXIT_OK, Streams, Usage};
use crate::http::election::ELECTION_PATH;
use crate::tls::client::{Trust, connector};

/// How long the operator may take.
const TIMEOUT: Duration = Duration::from_secs(10);

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
    let asked = async {
        let port = uri.port_u16().unwrap_or(443);
        let fail = || format!("failed to connect to {}", args.url);
        let stream = TcpStream::connect((host.as_str(), port)).await;
        let stream = stream.with_context(fail)?;
        let name = ServerName::try_from(host.clone()).with_context(fail)?;
        let stream = connector.connect(name, stream).await.with_context(fail)?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let accept = match args.output {
            Output::Text => "text/plain",
            Output::Json => "application/json",
        };
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        let request = Request::get(ELECTION_PATH)
            .header(HOST, HeaderValue::from_str(authority)?)
            .header(ACCEPT, accept)
            .body(Empty::<Bytes>::new())?;
        let answer = sender.send_request(request).await?;
        let status = answer.status();
        let body = answer.into_body().collect().await?.to_bytes();
        Ok::<_, anyhow::Error>((status, body))
    };
    let (status, body) = runtime
        .block_on(async { timeout(TIMEOUT, asked).await })
        .with_context(|| format!("{} did not answer within {TIMEOUT:?}", args.url))??;
    if status != StatusCode::OK {
        let said = String::from_utf8_lossy(&body);
        bail!("{} answered {status}: {}", args.url, said.trim_end());
    }
    streams.stdout.write_all(&body)?;
    if !body.ends_with(b"\n") {
        writeln!(streams.stdout)?;
    }
    Ok(EXIT_OK)
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
