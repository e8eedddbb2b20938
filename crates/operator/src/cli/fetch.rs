//! What is at a URL, for manifests that are named by one.

use std::io;

/// Gets what is at an `http` or `https` URL. Redirections are followed, a proxy of the environment
/// is used, and certificates are checked against those that the system trusts.
///
/// # Errors
/// With the reason; for another answer than success as well.
#[cfg(feature = "server")]
pub(super) fn fetch(url: &str) -> io::Result<Vec<u8>> {
    client::fetch(url).map_err(io::Error::other)
}

/// Refuses: there is no client in a build without the server.
///
/// # Errors
/// Always.
#[cfg(not(feature = "server"))]
pub(super) fn fetch(_url: &str) -> io::Result<Vec<u8>> {
    Err(io::Error::other(
        "this program was built without the feature `server`, and so without a client for URLs; download it first",
    ))
}

#[cfg(feature = "server")]
mod client {
    use std::time::Duration;

    use anyhow::{Context as _, bail, ensure};
    use http::header::LOCATION;
    use http::{Request, Response, StatusCode, Uri};
    use http_body_util::{BodyExt as _, Limited};
    use kube::client::Body;
    use kube::{Client, Config};

    /// How long all of it may take.
    const TIMEOUT: Duration = Duration::from_secs(30);
    /// Bytes that are read of an answer.
    const MOST: usize = 64 << 20;
    /// Redirections that are followed.
    const MOST_REDIRECTIONS: usize = 5;

    pub(super) fn fetch(url: &str) -> anyhow::Result<Vec<u8>> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let fetched = runtime.block_on(async { tokio::time::timeout(TIMEOUT, get(url)).await });
        fetched.with_context(|| format!("no answer within {} s", TIMEOUT.as_secs()))?
    }

    async fn get(url: &str) -> anyhow::Result<Vec<u8>> {
        let mut uri: Uri = url.parse().context("it is no URL")?;
        for _ in 0..=MOST_REDIRECTIONS {
            let response = ask(&uri).await?;
            let status = response.status();
            if status.is_redirection() && status != StatusCode::NOT_MODIFIED {
                uri = target(&uri, &response)?;
                continue;
            }
            ensure!(status.is_success(), "the server answered {status}");
            let body = Limited::new(response.into_body(), MOST).collect().await;
            let body = body.map_err(|error| anyhow::anyhow!(error));
            let body =
                body.with_context(|| format!("failed to read the answer of up to {MOST} bytes"))?;
            return Ok(body.to_bytes().into());
        }
        bail!("more than {MOST_REDIRECTIONS} redirections")
    }

    /// Asks one server. The client is that for API servers, without anybody's credentials.
    async fn ask(uri: &Uri) -> anyhow::Result<Response<Body>> {
        let server = Uri::builder()
            .scheme(uri.scheme_str().unwrap_or_default())
            .authority(uri.authority().context("it names no server")?.as_str())
            .path_and_query("/")
            .build()?;
        let mut config = Config::new(server);
        config.connect_timeout = Some(TIMEOUT);
        config.read_timeout = Some(TIMEOUT);
        config.proxy_url = None;
        let client = Client::try_from(config)?;
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let request = Request::get(path).body(Body::empty())?;
        Ok(client.send(request).await?)
    }

    /// Where a redirection leads: a whole URL, or a path on the same server.
    fn target(from: &Uri, response: &Response<Body>) -> anyhow::Result<Uri> {
        let location = response.headers().get(LOCATION);
        let location = location.context("the server redirects to nowhere")?;
        let location: Uri = location
            .to_str()?
            .parse()
            .context("the server redirects to no URL")?;
        let mut parts = location.into_parts();
        parts.scheme = parts.scheme.or_else(|| from.scheme().cloned());
        parts.authority = parts.authority.or_else(|| from.authority().cloned());
        let uri = Uri::from_parts(parts)?;
        let is_safe = from.scheme_str() != Some("https") || uri.scheme_str() == Some("https");
        ensure!(
            is_safe,
            "the server redirects from https to `{uri}`, which is not followed"
        );
        Ok(uri)
    }
}
