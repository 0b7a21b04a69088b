//! Asks a controller's API: at a URL, or through a kubeconfig and the API server's port-forward.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use tokio::time::{Instant, timeout_at};
use url::Url;

use crate::cli::World;
use crate::cli::flags::ControllerFlags;
use crate::discovery::{self, Access, forward};
use crate::net::{self, Resolver};
use crate::spec::IpPreference;
use crate::target::{Endpoint, Host};

/// The port of a controller's API.
const PORT: u16 = 9853;
/// The controllers' namespace.
const NAMESPACE: &str = "meshprobe-plain";
/// How long asking may take.
const TIMEOUT: Duration = Duration::from_secs(20);
/// The largest answer that is taken, bytes.
const MOST: usize = 256 * 1024 * 1024;

/// The body of a controller's answer to `path`, which must be 200.
pub(crate) async fn get(
    flags: &ControllerFlags,
    world: &World,
    path: &str,
) -> anyhow::Result<Bytes> {
    let answer = match &flags.server {
        Some(server) => at(server, path).await?,
        None => forwarded(flags, world, path).await?,
    };
    let status = answer.status();
    let body = answer.into_body();
    if !status.is_success() {
        let told = String::from_utf8_lossy(&body);
        bail!("the controller answers {status}: {}", told.trim());
    }
    Ok(body)
}

async fn forwarded(
    flags: &ControllerFlags,
    world: &World,
    path: &str,
) -> anyhow::Result<Response<Bytes>> {
    let (files, context) = (kubeconfigs(flags, world), flags.context.clone());
    let told = "give --server URL, or a kubeconfig";
    let client = discovery::client(&Access::Kubeconfig { files, context }).await.context(told)?;
    let ask = forward::Ask {
        namespace: flags.namespace.clone().unwrap_or_else(|| NAMESPACE.to_owned()),
        port: PORT,
        path: path.to_owned(),
        timeout: TIMEOUT,
        most: MOST,
    };
    Ok(forward::get(&client, &ask).await?)
}

/// `--kubeconfig`, the files of `KUBECONFIG` that exist, or the one of the home directory.
fn kubeconfigs(flags: &ControllerFlags, world: &World) -> Vec<PathBuf> {
    if let Some(file) = &flags.kubeconfig {
        return vec![file.clone()];
    }
    let variable = |name: &str| world.environment.get(name).filter(|value| !value.is_empty());
    if let Some(list) = variable("KUBECONFIG") {
        let files = std::env::split_paths(list).filter(|file| !file.as_os_str().is_empty());
        return files.filter(|file| file.exists()).collect();
    }
    let home = variable("HOME").map(|home| Path::new(home).join(".kube/config"));
    home.into_iter().filter(|file| file.exists()).collect()
}

/// Asks at `server`, an `http://` URL without a path.
async fn at(server: &str, path: &str) -> anyhow::Result<Response<Bytes>> {
    let url = Url::parse(server).ok().filter(|url| url.scheme() == "http" && url.has_host());
    let Some(url) = url else {
        bail!("--server {server}: write http://HOST:PORT (the API speaks no TLS)");
    };
    let host: Host = url.host_str().unwrap_or_default().parse()?;
    let endpoint = Endpoint { host, port: url.port().unwrap_or(80) };
    let asking = async {
        let ips = match &endpoint.host {
            Host::Ip(ip) => vec![*ip],
            Host::Name(name) => {
                let hosts = Path::new("/etc/hosts");
                let resolver = Resolver::load(Path::new("/etc/resolv.conf"), hosts)?;
                resolver
                    .resolve_all(name, IpPreference::default())
                    .await
                    .map_err(|fault| anyhow::anyhow!("{fault}"))?
            }
        };
        let mut last = None;
        for ip in ips {
            match net::connect((ip, endpoint.port).into()).await {
                Ok(stream) => return exchange(stream, &endpoint, path).await,
                Err(fault) => last = Some(fault),
            }
        }
        match last {
            Some(fault) => bail!("{}", fault.detail),
            None => bail!("the name has no address"),
        }
    };
    let answered = timeout_at(Instant::now() + TIMEOUT, asking).await;
    let answered = answered.unwrap_or_else(|_| bail!("no answer within {TIMEOUT:?}"));
    answered.with_context(|| format!("{server} does not answer"))
}

async fn exchange(
    stream: net::Stream,
    endpoint: &Endpoint,
    path: &str,
) -> anyhow::Result<Response<Bytes>> {
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let request = Request::get(path).header(header::HOST, endpoint.to_string());
    let (head, body) =
        sender.send_request(request.body(Empty::<Bytes>::new())?).await?.into_parts();
    let body = Limited::new(body, MOST).collect().await;
    connection.abort();
    match body {
        Ok(body) => Ok(Response::from_parts(head, body.to_bytes())),
        Err(error) => bail!("{error}"),
    }
}
