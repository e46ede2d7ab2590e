//! The dashboard at real processes: what it serves is what the node says, whatever becomes of that, and
//! nothing else.

#![cfg(feature = "dashboard")]
#![expect(clippy::disallowed_types, reason = "the test is an HTTP client")]

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;
use support::{PATIENCE, Process, pause, wait_until};
use tempfile::TempDir;

/// A server, two clients whose clocks are wrong, and a dashboard.
struct Cluster {
    server: Process,
    alice: Process,
    _bob: Process,
    dashboard: Dashboard,
    dir: TempDir,
}

/// A running dashboard.
struct Dashboard {
    process: Process,
    /// Where it listens.
    address: String,
}

/// What was answered.
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Cluster {
    fn start() -> Cluster {
        let dir = TempDir::new().unwrap();
        let dashboard = Dashboard::start(&dir.path().join("server").display().to_string());
        // Of a network that only these tests use: no other server gets its port while it is down.
        let server = start_server(&dir, "127.84.16.1:0");
        let address = server.address();
        let client = |name: &str, offset: &str| {
            let control = dir.path().join(name).display().to_string();
            let options = ["--simulate-offset", offset, "--control", &control];
            support::client(&address, name, &options)
        };
        let (alice, bob) = (client("alice", "2.5s"), client("bob \"the\" <b>", "-1h"));
        dashboard
            .wait_for("the cluster to agree", || dashboard.get("/healthz").body == "3 of 3 clocks agree\n");
        Cluster { server, alice, _bob: bob, dashboard, dir }
    }
}

fn start_server(dir: &TempDir, listen: &str) -> Process {
    let control = dir.path().join("server").display().to_string();
    support::server(listen, &["--interval", "500ms", "--control", &control])
}

impl Dashboard {
    fn start(control: &str) -> Dashboard {
        let process =
            Process::start("dashboard", &["dashboard", "--listen", "127.0.0.1:0", "--control", control]);
        wait_until(PATIENCE, "the dashboard to listen", || process.said().ends_with("/\n"));
        let said = process.said();
        let address =
            said.trim().strip_prefix("Dashboard on http://").unwrap().trim_end_matches('/').to_owned();
        Dashboard { process, address }
    }

    /// Sends these bytes, and reads until it hangs up.
    fn exchange(&self, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        // It may hang up before it has read all.
        let _ = stream.write_all(request);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8(answer).unwrap()
    }

    fn ask(&self, method: &str, path: &str, fields: &str) -> Answer {
        let request = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n{fields}\r\n");
        let text = self.exchange(request.as_bytes());
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{request}: {text}"));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
    }

    fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &format!("Host: {}\r\n", self.address))
    }

    fn json(&self, path: &str) -> Value {
        let answer = self.get(path);
        assert!(answer.head.contains("content-type: application/json"), "{}", answer.head);
        serde_json::from_str(&answer.body).unwrap()
    }

    /// What is said of a member.
    fn member(&self, name: &str) -> Value {
        let overview = self.json("/api/overview");
        let members = overview["members"].as_array().unwrap();
        members.iter().find(|member| member["name"] == name).cloned().unwrap_or_default()
    }

    fn wait_for(&self, what: &str, done: impl FnMut() -> bool) {
        wait_until(PATIENCE * 2, &format!("{what}\n{}", self.process.log()), done);
    }
}

/// The value of a sample whose line begins so.
fn sample(page: &str, start: &str) -> f64 {
    let line = page.lines().find(|line| line.starts_with(start) && !line.starts_with('#'));
    let value = line.unwrap_or_else(|| panic!("no {start} in\n{page}")).rsplit(' ').next().unwrap();
    value.parse().unwrap()
}

#[test]
fn what_is_served_is_what_the_node_says() {
    let cluster = Cluster::start();
    let dashboard = &cluster.dashboard;
    let overview = || dashboard.json("/api/overview");
    dashboard.wait_for("all to be well", || {
        let overview = overview();
        overview["healthy"] == true && overview["members_total"] == 2
    });
    let page = dashboard.get("/metrics");
    assert_eq!(page.status, 200);
    assert!(page.head.contains("content-type: text/plain; version=0.0.4"), "{}", page.head);
    assert_eq!(sample(&page.body, "meantime_node_up "), 1.0);
    assert_eq!(sample(&page.body, "meantime_members "), 3.0);
    assert_eq!(sample(&page.body, "meantime_member_up{name=\"bob \\\"the\\\" <b>\","), 1.0);
    let bound = sample(&page.body, "meantime_member_bound_seconds{name=\"alice\",");
    assert!(bound > 0.0 && bound < 1.0, "{bound}");
    assert!(sample(&page.body, "meantime_rounds_total ") >= 1.0);
    assert!(sample(&page.body, "meantime_datagrams_lost_total ") >= 0.0);
    let asks_for =
        format!("Host: {}\r\nAccept: application/openmetrics-text; version=1.0.0\r\n", dashboard.address);
    let page = dashboard.ask("GET", "/metrics", &asks_for);
    assert!(
        page.head.contains("application/openmetrics-text") && page.body.ends_with("# EOF\n"),
        "{}",
        page.body
    );

    let status = dashboard.json("/api/status");
    assert_eq!((&status["role"], status["clients"].as_array().unwrap().len()), (&"server".into(), 2));
    let history = dashboard.json("/api/history");
    let newest = history["newest"].as_u64().unwrap();
    assert_eq!(history["samples"].as_array().unwrap().len() as u64, newest);
    dashboard
        .wait_for("another round", || dashboard.json("/api/history")["newest"].as_u64().unwrap() > newest);
    let later = dashboard.json(&format!("/api/history?since={newest}"));
    assert_eq!(later["samples"][0]["number"].as_u64(), Some(newest + 1));
    let events = dashboard.json("/api/events");
    let kinds: Vec<&str> =
        events["events"].as_array().unwrap().iter().filter_map(|e| e["event"].as_str()).collect();
    assert!(kinds.contains(&"connected") && kinds.contains(&"time_agreed"), "{kinds:?}");
}

#[test]
fn a_client_that_stops_is_lost_and_one_that_sends_a_leave_has_left() {
    let mut cluster = Cluster::start();
    let dashboard = &cluster.dashboard;
    assert_eq!(dashboard.member("alice")["presence"], "present");
    cluster.alice.signal(Signal::SIGKILL);
    dashboard.wait_for("alice to be lost", || dashboard.member("alice")["presence"] == "lost");
    assert_eq!(sample(&dashboard.get("/metrics").body, "meantime_member_up{name=\"alice\","), 0.0);
    let control = cluster.dir.path().join("alice").display().to_string();
    cluster.alice = support::client(&cluster.server.address(), "alice", &["--control", &control]);
    dashboard.wait_for("alice to be back", || dashboard.member("alice")["presence"] == "present");
    assert_eq!(dashboard.json("/api/overview")["members_total"], 2);
    cluster.alice.signal(Signal::SIGTERM);
    dashboard.wait_for("alice to have left", || dashboard.member("alice")["presence"] == "left");
    assert!(!dashboard.get("/metrics").body.contains("meantime_member_up{name=\"alice\""));
}

#[test]
fn a_server_that_goes_and_comes_back_is_told_and_seen_again() {
    let mut cluster = Cluster::start();
    let dashboard = &cluster.dashboard;
    let address = cluster.server.address();
    cluster.server.signal(Signal::SIGKILL);
    dashboard.wait_for("the server to be missed", || dashboard.get("/healthz").body.contains("any more"));
    let health = dashboard.get("/healthz");
    assert_eq!((health.status, health.body.lines().count()), (503, 1), "{}", health.body);
    let page = dashboard.get("/metrics").body;
    assert_eq!(sample(&page, "meantime_node_up "), 0.0);
    assert!(!page.contains("meantime_member"), "{page}");
    assert_eq!(dashboard.get("/api/status").status, 503);
    assert!(dashboard.json("/api/overview")["no_answer"].is_string());
    cluster.server = start_server(&cluster.dir, &address);
    dashboard.wait_for("the server to be seen", || dashboard.get("/healthz").status == 200);
    let events = dashboard.json("/api/events");
    let kinds: Vec<&str> =
        events["events"].as_array().unwrap().iter().filter_map(|e| e["event"].as_str()).collect();
    assert!(kinds.contains(&"no_answer") && kinds.contains(&"answers_again"), "{kinds:?}");
}

#[test]
fn a_client_can_be_watched_too() {
    let cluster = Cluster::start();
    let dashboard = Dashboard::start(&cluster.dir.path().join("alice").display().to_string());
    dashboard.wait_for("the client to be well", || {
        dashboard.get("/healthz").body == "the client is synchronized\n"
            && dashboard.json("/api/history")["newest"].as_u64() > Some(2)
    });
    let page = dashboard.get("/metrics").body;
    assert_eq!(sample(&page, "meantime_registered "), 1.0);
    assert_eq!(sample(&page, "meantime_synchronized "), 1.0);
}

#[test]
fn pages_and_what_is_none() {
    let dir = TempDir::new().unwrap();
    let dashboard = Dashboard::start(&dir.path().join("nobody").display().to_string());
    for (path, kind) in [
        ("/", "text/html"),
        ("/app.js", "text/javascript"),
        ("/plot.js", "text/javascript"),
        ("/app.css", "text/css"),
    ] {
        let answer = dashboard.get(path);
        assert_eq!(answer.status, 200, "{path}");
        assert!(answer.head.contains(kind), "{path}: {}", answer.head);
        assert!(answer.head.contains("content-security-policy: default-src 'none'"), "{}", answer.head);
        assert!(!answer.head.contains("access-control"), "{}", answer.head);
        // Offline means that nothing is loaded from elsewhere.
        assert!(!answer.body.replace("http://www.w3.org/", "").contains("://"), "{path} names another site");
    }
    let host = format!("Host: {}\r\n", dashboard.address);
    let head = dashboard.ask("HEAD", "/", &host);
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    assert_eq!(dashboard.get("/healthz").status, 503);
    for path in ["/nothing", "/..%2f..%2fetc/passwd", "/api/", "/app.js/"] {
        assert_eq!(dashboard.get(path).status, 404, "{path}");
    }
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        let answer = dashboard.ask(method, "/", &host);
        assert!(
            answer.status == 405 && answer.head.contains("allow: get, head"),
            "{method}: {}",
            answer.head
        );
    }
    for strange in ["Host: evil.example\r\n", "Host: evil.example:80\r\n", ""] {
        assert_eq!(dashboard.ask("GET", "/api/status", strange).status, 421, "{strange}");
    }
}

#[test]
fn a_bad_request_disturbs_no_other_and_a_signal_ends_the_dashboard() {
    let dir = TempDir::new().unwrap();
    let mut dashboard = Dashboard::start(&dir.path().join("nobody").display().to_string());
    assert!(dashboard.exchange(b"\x16\x03\x01 nonsense\r\n\r\n").starts_with("HTTP/1.1 400"));
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(100_000));
    assert!(!dashboard.exchange(long.as_bytes()).contains(" 200 "));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "X-A: b\r\n".repeat(500));
    assert!(dashboard.exchange(many.as_bytes()).starts_with("HTTP/1.1 431"));
    // More who say nothing than have room: as soon as some of them go, others come in.
    let idle: Vec<TcpStream> = (0..100).map(|_| TcpStream::connect(&dashboard.address).unwrap()).collect();
    pause(Duration::from_millis(200));
    drop(idle);
    assert_eq!(dashboard.get("/app.css").status, 200);
    let (status, took) = dashboard.process.end(Signal::SIGTERM);
    assert!(status.success() && took < Duration::from_secs(20), "{status} after {took:?}");
}
