//! The null server: everything of the operator's server but the review.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use datakit_operator::http::{body, respond};
use datakit_operator::listen::{Answer, Bound, Handler, Limits, Memory, Received, Transport};
use datakit_operator::telemetry::metrics::ListenerMetrics;
use datakit_operator::tls::callers::Callers;
use datakit_operator::tls::replicas::Replicas;
use datakit_operator::tls::{self, Identity, Names, Source};
use http::{Request, StatusCode};
use hyper::body::Bytes;

/// Options of the null server.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[arg(long)]
    listen: SocketAddr,
    #[arg(long)]
    write_ca: PathBuf,
    #[arg(long)]
    answer_bytes: usize,
    #[arg(long)]
    workers: usize,
}

struct Null {
    bodies: body::Reader,
    answer: Bytes,
}

impl Handler for Null {
    fn no_room(&self) -> Answer {
        respond::no_room()
    }

    async fn handle(&self, request: Request<Received>) -> Answer {
        match self.bodies.read(request.into_body()).await {
            Ok(_) => respond::with_body(StatusCode::OK, respond::JSON, self.answer.clone()),
            Err(unreadable) => unreadable.answer(),
        }
    }
}

/// Serves until killed.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    // As many threads as the operator takes by default.
    let workers = match args.workers {
        0 => std::thread::available_parallelism()
            .map_or(1, usize::from)
            .min(4),
        workers => workers,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers)
        .thread_name("worker")
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let names = Names {
            service: "null".to_owned(),
            namespace: "bench".to_owned(),
            extra: Vec::new(),
        };
        let material = Source::Ephemeral(names.clone()).load()?;
        let identity = Arc::new(Identity::new(material.key));
        let acceptor = tls::acceptor(Arc::clone(&identity))?;
        let replicas = Arc::new(Replicas::new(identity, &names));
        let handler = Null {
            bodies: body::Reader::new(body::Limits::default()),
            answer: vec![b' '; args.answer_bytes].into(),
        };
        let mut running = Bound::bind(args.listen).await?.serve(
            Transport::Tls {
                acceptor,
                callers: Arc::new(Callers::new(replicas, None)),
            },
            Limits::default(),
            Memory::of(48 << 20),
            handler,
            ListenerMetrics::default(),
        );
        // Written last: whoever waits for the file can connect at once.
        tls::write_ca(&args.write_ca, &material.ca_pem.unwrap_or_default())?;
        running.broken().await;
        running.drain(Duration::ZERO).await;
        Ok(())
    })
}
