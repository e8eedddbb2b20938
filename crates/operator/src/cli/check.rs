//! `datakit-operator check`: whether an installation is well, asked of the cluster as an
//! administrator.
//!
//! Nothing is changed: the only thing that is sent is a pod as a dry run, which shows whether the
//! API server asks the operator and gets an answer.

mod election;
mod installation;
mod kinds;
mod preparation;
mod registration;
mod report;

use std::io::IsTerminal as _;

use datakit_operator_core::version::KubernetesVersion;
use kube::Client;

use self::report::{Found, Report, Style};
use super::remote::{Installation, Unanswered, ask};
use super::{EXIT_FAILURE, EXIT_OK, Streams};

/// The oldest Kubernetes that is supported.
const OLDEST: &str = "1.24";

/// What to do where the operator itself has to say more.
const LOG: &str = "look at `kubectl describe` of the pods, and at their log";

/// Options of `check`.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// Check whether the operator can be installed, instead of how it is
    #[arg(long)]
    pre: bool,

    #[command(flatten)]
    installation: Installation,

    /// Namespace in which a pod is created as a dry run
    #[arg(long, value_name = "NAME", default_value = "default")]
    dry_run_namespace: String,

    /// What to print
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value_t)]
    output: Output,
}

/// What to print.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    /// A line for each check, and below those that didn't pass what can be done
    #[default]
    Text,
    /// Only what isn't well
    Short,
    /// One JSON object, see below
    Json,
}

const AFTER_HELP: &str = "\
Asks the API server with the rights of the kubeconfig. What they don't suffice for is said and left out. Nothing is \
changed: a pod is created as a dry run, which stores nothing.

With `-o json`, the object has these keys:
  checks[]  name; outcome: ok, warning, failed or skipped; message; remedy: or null; link: to the heading in the
            documentation
  failed, warnings: how many
Names, outcomes and keys are kept from version to version; new ones may be added.

The marks are plain letters where the locale (LC_ALL, LC_CTYPE, LANG) isn't UTF-8. Colours are for terminals; NO_COLOR \
switches them off.

Examples:
  datakit-operator check --pre
  datakit-operator check
  datakit-operator check -n observability --service-name my-operator -o json

Exit codes:
  0  all is well, perhaps with warnings
  1  something failed, or the API server can't be reached
  2  wrong command line or kubeconfig";

/// What the checks ask about, and with what.
struct Subject<'a> {
    client: Client,
    namespace: &'a str,
    name: &'a str,
    dry_run_namespace: &'a str,
}

/// Checks an installation, or whether there can be one.
///
/// # Errors
///
/// For a kubeconfig that can't be used, and for output that can't be written.
pub fn run(args: &Args, streams: &mut Streams<'_>) -> anyhow::Result<u8> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let report = runtime.block_on(check(args))?;
    match args.output {
        Output::Json => writeln!(streams.stdout, "{:#}", report.to_json())?,
        Output::Text | Output::Short => {
            let style = Style::of(std::io::stdout().is_terminal(), |name| {
                std::env::var(name).ok()
            });
            let short = args.output == Output::Short;
            streams
                .stdout
                .write_all(report.text(style, short).as_bytes())?;
        }
    }
    Ok(if report.failed() == 0 {
        EXIT_OK
    } else {
        EXIT_FAILURE
    })
}

async fn check(args: &Args) -> anyhow::Result<Report> {
    let installation = &args.installation;
    let subject = Subject {
        client: installation.connect().await?,
        namespace: &installation.namespace,
        name: &installation.service_name,
        dry_run_namespace: &args.dry_run_namespace,
    };
    let mut report = Report::default();
    let answers = report.add("api-server", api_server(&subject).await);
    if !answers {
        return Ok(report);
    }
    if args.pre {
        preparation::check(&subject, &mut report).await;
    } else {
        installation::check(&subject, &mut report).await;
    }
    Ok(report)
}

async fn api_server(subject: &Subject<'_>) -> Found {
    let asked = ask(subject.client.apiserver_version()).await;
    let info = match asked {
        Ok(info) => info,
        Err(error) => {
            return Found::failed(
                format!("the API server can't be asked: {error}"),
                "check the kubeconfig with `kubectl version`, and the network to the cluster",
            );
        }
    };
    let oldest: Option<KubernetesVersion> = OLDEST.parse().ok();
    match KubernetesVersion::from_fields(&info.major, &info.minor) {
        Ok(version) if Some(version) < oldest => Found::failed(
            format!(
                "Kubernetes {}, expected {OLDEST} or newer",
                info.git_version
            ),
            "upgrade the cluster",
        ),
        Ok(_) => Found::Ok(format!("Kubernetes {}", info.git_version)),
        Err(_) => Found::warning(
            format!("a version that can't be read: {}", info.git_version),
            format!("it should be {OLDEST} or newer"),
        ),
    }
}

/// What couldn't be looked at, if the reason isn't that it isn't there.
fn unread(error: &Unanswered, what: &str) -> Found {
    match error.code {
        403 => Found::Skipped(format!("{what} may not be read by you: {}", error.why)),
        _ => Found::failed(
            format!("{what} can't be read: {}", error.why),
            "run the check again; if it stays, look at the API server",
        ),
    }
}
