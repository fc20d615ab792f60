//! The port that browsers open: pages, files, the API beside them, and the first way in.
#![allow(clippy::unwrap_used, reason = "a test ends where something is missing")]

mod support;

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};

use support::Mutt;

/// A server whose standard output is read.
struct Serve(Child);

impl Serve {
    async fn start(mutt: &Mutt) -> Self {
        let mut command = mutt.command(&["serve"]);
        let process = command.stdout(Stdio::piped()).stderr(Stdio::null());
        let serve = Self(process.spawn().unwrap());
        let url = format!("http://{}/health", mutt.webui.addr());
        let answers = async || reqwest::get(&url).await.is_ok();
        support::until("the server to answer", answers).await;
        serve
    }

    /// Ends it; gives the lines that it printed.
    fn end(mut self) -> Vec<String> {
        let pid = self.0.id().to_string();
        let kill = std::process::Command::new("kill").arg(pid).status();
        assert!(kill.unwrap().success());
        let lines = BufReader::new(self.0.stdout.take().unwrap()).lines();
        lines.map(Result::unwrap).collect()
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn pages_the_api_and_health_are_on_one_port() {
    let mut mutt = Mutt::new(&[]);
    mutt.start().await;
    let get = async |path: &str| {
        let url = format!("http://{}{path}", mutt.webui.addr());
        reqwest::get(url).await.unwrap()
    };
    for path in ["/", "/events", "/api-explorer"] {
        let page = get(path).await;
        assert_eq!(page.status(), 200, "{path}");
        let header = |name: &str| page.headers()[name].to_str().unwrap().to_owned();
        assert!(header("content-type").starts_with("text/html"), "{path}");
        assert!(header("content-security-policy").starts_with("default-src 'none'"));
        assert!(page.text().await.unwrap().contains("<title>MUTT</title>"));
    }
    for (path, status, kind) in [
        ("/api/v2/version", 200, "application/json"),
        ("/api/v2/openapi.json", 200, "application/json"),
        ("/api/v2/none", 404, "application/problem+json"),
        ("/api/v3/rules", 404, "application/json"),
        ("/assets/none.js", 404, "application/json"),
        ("/health", 200, "application/json"),
        ("/metrics", 200, "application/openmetrics-text"),
    ] {
        let answer = get(path).await;
        assert_eq!(answer.status(), status, "{path}");
        let got = answer.headers()["content-type"].to_str().unwrap();
        assert!(got.starts_with(kind), "{path}: {got}");
    }
}

#[tokio::test]
async fn a_login_link_is_for_a_terminal_only() {
    // What a pipe or a journal is told stays there, for others to read.
    let mutt = Mutt::new(&[]);
    let serve = Serve::start(&mutt).await;
    let printed = serve.end();
    assert!(printed.is_empty(), "{printed:?}");
}
