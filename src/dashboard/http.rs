//! HTTP: who is let in, and what is answered.
//!
//! There are no passwords here: what keeps strangers out is the address that is listened on. What is left is
//! the browser of a user who may read: pages from elsewhere must not read through it. They get no
//! permission to (there are no CORS headers), and none by a name of theirs that suddenly means this machine
//! ([`Hosts`]). Nothing can be changed over HTTP.

use std::cell::RefCell;
use std::convert::Infallible;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Serialize;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::board::Board;
use super::metrics::{self, MetricsFormat};
use crate::clock::monotonic;
use crate::control::protocol::NodeStatus;
use meantime_core::time::Monotonic;

/// By which names browsers may ask.
///
/// A page of an attacker may have its own name lead to this machine, and its browser then takes the two for
/// one site. Such a request has that name in its header `Host`; addresses have no owner who could do that.
#[derive(Clone, Debug, Default)]
pub struct Hosts(Vec<String>);

impl Hosts {
    /// These, besides `localhost` and all addresses.
    pub fn new(names: &[String]) -> Hosts {
        Hosts(names.iter().map(|name| name.to_ascii_lowercase()).collect())
    }

    /// Whether a request with this header `Host` is answered.
    fn admit(&self, header: &str) -> bool {
        let port = |rest: &str| rest.is_empty() || rest.strip_prefix(':').is_some_and(is_port);
        if let Some((address, rest)) = header.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            return address.parse::<std::net::Ipv6Addr>().is_ok() && port(rest);
        }
        let (name, rest) = header.split_at(header.find(':').unwrap_or(header.len()));
        let name = name.to_ascii_lowercase();
        let is_known = name == "localhost" || name.parse::<IpAddr>().is_ok() || self.0.contains(&name);
        is_known && port(rest)
    }
}

/// Lets readers in, for ever.
pub(super) async fn accept(listener: TcpListener, hosts: Rc<Hosts>, board: Rc<RefCell<Board>>) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        // A connection beyond the limit waits in the kernel's queue.
        let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let (hosts, board) = (Rc::clone(&hosts), Rc::clone(&board));
                tokio::task::spawn_local(async move {
                    converse(stream, &hosts, &board).await;
                    drop(place);
                });
            }
            Err(error) => {
                log::debug!("cannot accept a connection: {error}");
                sleep(RECOVERY).await;
            }
        }
    }
}

/// Answers what is asked over a connection, and ends it after a while: it might be one that does not go on
/// reading.
async fn converse(stream: TcpStream, hosts: &Hosts, board: &RefCell<Board>) {
    let service = service_fn(|request: Request<Incoming>| {
        let answer = answer(&request, hosts, board, monotonic());
        async move { Ok::<_, Infallible>(answer) }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(IDLE).max_buf_size(REQUEST).max_headers(HEADERS);
    let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
    let ended = match timeout(CONVERSATION, connection.as_mut()).await {
        Ok(ended) => ended,
        Err(_) => {
            connection.as_mut().graceful_shutdown();
            timeout(IDLE, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        log::debug!("a connection has ended: {error}");
    }
}

fn answer<B>(
    request: &Request<B>,
    hosts: &Hosts,
    board: &RefCell<Board>,
    now: Monotonic,
) -> Response<Full<Bytes>> {
    let mut answer = refusal(request, hosts).unwrap_or_else(|| page(request, &board.borrow(), now));
    for (name, value) in HEADERS_OF_ALL {
        answer.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    answer
}

/// The answer to a request that is not followed.
fn refusal<B>(request: &Request<B>, hosts: &Hosts) -> Option<Response<Full<Bytes>>> {
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
    if !host.is_some_and(|host| hosts.admit(host)) {
        let why = "this is not asked by that name; start the dashboard with --host NAME\n";
        return Some(text(StatusCode::MISDIRECTED_REQUEST, why));
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut refusal = text(StatusCode::METHOD_NOT_ALLOWED, "there is nothing to change here\n");
        refusal.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return Some(refusal);
    }
    None
}

fn page<B>(request: &Request<B>, board: &Board, now: Monotonic) -> Response<Full<Bytes>> {
    let since = || query(request.uri().query().unwrap_or(""), "since");
    match request.uri().path() {
        "/" => fixed("text/html; charset=utf-8", include_str!("page/index.html")),
        "/app.js" => fixed("text/javascript; charset=utf-8", include_str!("page/app.js")),
        "/plot.js" => fixed("text/javascript; charset=utf-8", include_str!("page/plot.js")),
        "/app.css" => fixed("text/css; charset=utf-8", include_str!("page/app.css")),
        "/icon.svg" => fixed("image/svg+xml", include_str!("page/icon.svg")),
        "/healthz" => match board.health(now) {
            Ok(line) => text(StatusCode::OK, &format!("{line}\n")),
            Err(line) => text(StatusCode::SERVICE_UNAVAILABLE, &format!("{line}\n")),
        },
        "/metrics" => {
            let accept = request.headers().get(ACCEPT).and_then(|accept| accept.to_str().ok());
            let format = MetricsFormat::wanted(accept.unwrap_or(""));
            match metrics::page(board, now, format) {
                Ok(page) => response(StatusCode::OK, format.media_type(), page),
                Err(_) => text(StatusCode::INTERNAL_SERVER_ERROR, "the metrics cannot be written\n"),
            }
        }
        "/api/status" => status(board),
        "/api/overview" => json(StatusCode::OK, &board.overview(now)),
        "/api/history" => json(StatusCode::OK, &board.history(since())),
        "/api/events" => json(StatusCode::OK, &board.events(since())),
        _ => text(
            StatusCode::NOT_FOUND,
            "there is no such page; / is one, and /metrics, /healthz, /api/status\n",
        ),
    }
}

/// The node's answer to a status request.
fn status(board: &Board) -> Response<Full<Bytes>> {
    #[derive(Serialize)]
    struct NoStatus {
        error: String,
    }
    match board.answer() {
        Ok(answer) => match answer.response.status.node {
            NodeStatus::Server(_) => json(StatusCode::OK, &answer.response),
            NodeStatus::Client(_) => json(StatusCode::OK, &answer.response.status),
        },
        Err(why) => json(StatusCode::SERVICE_UNAVAILABLE, &NoStatus { error: why.to_string() }),
    }
}

/// A number in a query; 0 if there is none.
fn query(query: &str, name: &str) -> u64 {
    let mut fields = query.split('&').filter_map(|field| field.split_once('='));
    fields.find(|(field, _)| *field == name).and_then(|(_, value)| value.parse().ok()).unwrap_or(0)
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok()
}

fn fixed(media_type: &'static str, body: &'static str) -> Response<Full<Bytes>> {
    response(StatusCode::OK, media_type, body)
}

fn text(status: StatusCode, line: &str) -> Response<Full<Bytes>> {
    response(status, "text/plain; charset=utf-8", line.to_owned())
}

fn json(status: StatusCode, value: &impl Serialize) -> Response<Full<Bytes>> {
    match serde_json::to_string(value) {
        Ok(body) => response(status, "application/json", body),
        Err(_) => text(StatusCode::INTERNAL_SERVER_ERROR, "the answer cannot be written\n"),
    }
}

fn response(status: StatusCode, media_type: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A page of ours runs our script only, loads nothing from elsewhere, and is shown in no frame of another
/// page.
const HEADERS_OF_ALL: [(&str, &str); 4] = [
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-resource-policy", "same-origin"),
];

/// A page of a browser takes some; a dozen readers have room.
const CONNECTIONS: usize = 64;
/// Longer than the page's script pauses.
const IDLE: Duration = Duration::from_secs(20);
/// As long as a connection lasts; browsers make another.
const CONVERSATION: Duration = Duration::from_secs(300);
/// The least that the library takes; browsers send a tenth of it.
const REQUEST: usize = 8192;
/// Browsers send some twenty.
const HEADERS: usize = 64;
/// How long to wait when there are no file descriptors left: other connections may close meanwhile.
const RECOVERY: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_an_attacker_may_own_are_refused() {
        let hosts = Hosts::new(&["Server.lan".into()]);
        for good in [
            "127.0.0.1:5526",
            "localhost",
            "LOCALHOST:80",
            "[::1]:5526",
            "[::1]",
            "192.0.2.1",
            "server.lan:5526",
        ] {
            assert!(hosts.admit(good), "{good}");
        }
        for bad in [
            "evil.example",
            "evil.example:5526",
            "127.0.0.1.evil.example",
            "",
            "[::1",
            "localhost:",
            "localhost:x",
            "localhost:80:80",
            "[evil]:1",
        ] {
            assert!(!hosts.admit(bad), "{bad}");
        }
    }

    #[test]
    fn a_number_is_found_in_a_query() {
        assert_eq!(query("a=1&since=17", "since"), 17);
        assert_eq!((query("", "since"), query("since=x", "since"), query("since", "since")), (0, 0, 0));
    }
}
