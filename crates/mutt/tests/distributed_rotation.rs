//! Secrets change while everything runs at load: not one post fails, nothing is spooled, every event
//! is decided once and delivered. Once with files and SIGHUP, once by the commands of
//! docs/secrets.md, run as they are written there, against a real Vault (OpenBao).

#![allow(
    clippy::unwrap_used,
    reason = "a test ends where something is not as it must be"
)]

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use mutt_testbed::{OpenBao, Redis};
use parking_lot::Mutex;
use serde_json::{Value, json};
use support::cluster::{Cluster, Role, Wanted};
use support::ledger::Ledger;
use support::until;
use tokio::task::JoinHandle;

/// What a process says when it knows new secrets.
const KNOWN: &str = "secrets changed: the new ones are in force";

fn knows(role: &Role) -> usize {
    role.log().matches(KNOWN).count()
}

/// Somebody who looks at the API all the time.
#[derive(Default)]
struct Viewer {
    key: Mutex<String>,
    seen: AtomicU64,
    refused: Mutex<Vec<u16>>,
    stop: AtomicBool,
}

impl Viewer {
    async fn look(self: Arc<Self>, url: String) {
        let client = reqwest::Client::new();
        while !self.stop.load(Ordering::Relaxed) {
            let key = self.key.lock().clone();
            let answer = client.get(&url).header("x-api-key", key).send().await;
            match answer.map_or(0, |answer| answer.status().as_u16()) {
                200 => _ = self.seen.fetch_add(1, Ordering::Relaxed),
                status => self.refused.lock().push(status),
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }

    async fn more(&self) {
        let before = self.seen.load(Ordering::Relaxed);
        until("the API answers", async || {
            self.seen.load(Ordering::Relaxed) > before + 2
        })
        .await;
    }
}

/// A cluster with an API, senders and a viewer.
struct World {
    cluster: Cluster,
    webui: Role,
    ledger: Arc<Ledger>,
    senders: Vec<JoinHandle<()>>,
    viewer: Arc<Viewer>,
    looking: JoinHandle<()>,
}

impl World {
    /// Starts everything; keys of ingest, API and sink are these.
    async fn start(mut cluster: Cluster, ingest: &str, api: &str, sink: &str) -> Self {
        cluster.mock.set_keys([sink]);
        let mut webui = cluster.another("webui", "webui");
        cluster.launch().await;
        webui.start().await;
        let ledger = Arc::new(Ledger::default());
        *ledger.key.lock() = Some(ingest.to_owned());
        let senders = cluster.senders(3, &ledger);
        let viewer = Arc::new(Viewer::default());
        api.clone_into(&mut viewer.key.lock());
        let looking = tokio::spawn(Arc::clone(&viewer).look(webui.url("/api/v2/status")));
        let world = Self {
            cluster,
            webui,
            ledger,
            senders,
            viewer,
            looking,
        };
        world.progress().await;
        world
    }

    fn roles(&mut self) -> Vec<&mut Role> {
        let mut roles = self.cluster.roles();
        roles.push(&mut self.webui);
        roles
    }

    /// Events are taken, decided and delivered, and the API answers.
    async fn progress(&self) {
        let delivered = self.delivered();
        self.cluster.progress(&self.ledger, 30).await;
        self.cluster.decisions(30).await;
        until("deliveries", async || self.delivered() > delivered + 10).await;
        self.viewer.more().await;
    }

    fn delivered(&self) -> u64 {
        let stats = self.cluster.mock.stats(std::time::Duration::from_secs(1));
        stats.delivered
    }

    /// Changes secrets where they are kept, and waits until every process knows.
    async fn tell(&mut self, change: impl FnOnce(&mut Cluster)) {
        let before: Vec<_> = self.roles().iter().map(|role| knows(role)).collect();
        change(&mut self.cluster);
        for role in self.roles() {
            role.signal("HUP");
        }
        for (role, before) in self.roles().into_iter().zip(before) {
            let what = format!("{} knows", role.name);
            until(&what, async || knows(role) > before).await;
        }
        self.progress().await;
    }

    /// What a post with this key is answered.
    async fn post(&self, key: &str) -> u16 {
        let client = reqwest::Client::new();
        let url = self.cluster.ingestor.url("/ingest");
        let answer = client.post(url).header("x-api-key", key).body("").send();
        answer.await.unwrap().status().as_u16()
    }

    /// A process that starts now finds its way with what is known now.
    async fn newcomer(&self) {
        let mut newcomer = self.cluster.another("webui", "newcomer");
        newcomer.start().await;
        until("a process that starts now connects", async || {
            newcomer.metric("mutt_redis_up ").await + newcomer.metric("mutt_postgres_up ").await
                > 1.5
        })
        .await;
        assert_eq!(newcomer.stop(), Some(0));
    }

    /// So far nobody felt anything.
    async fn assert_unnoticed(&mut self) {
        let refusals = self.ledger.refusals();
        assert!(refusals.is_empty(), "{refusals:?}");
        let refused = self.viewer.refused.lock().clone();
        assert!(refused.is_empty(), "{refused:?}");
        let spooled = self.cluster.ingestor.metric("mutt_spool_spooled_total");
        assert!(spooled.await < 0.5, "nothing is spooled needlessly");
        for role in self.roles() {
            for series in [
                "mutt_redis_connections_lost_total",
                "mutt_postgres_connect_failures_total",
                "mutt_postgres_call_failures_total",
            ] {
                let count = role.metric(series).await;
                assert!(count < 0.5, "{count} {series} of {}", role.name);
            }
        }
    }

    async fn settle_up(mut self) {
        self.viewer.stop.store(true, Ordering::Relaxed);
        self.looking.await.unwrap();
        self.cluster.settle_up(&self.ledger, self.senders).await;
        assert_eq!(self.webui.stop(), Some(0));
    }
}

// --- files --------------------------------------------------------------------------------------

fn write(dir: &Path, name: &str, value: &str) {
    // At once, as `install` does it: half a key must not be read.
    let beside = dir.join("beside");
    fs::write(&beside, value).unwrap();
    fs::rename(beside, dir.join(name)).unwrap();
}

const SECRETS: [&str; 5] = [
    "INGEST_API_KEY",
    "WEBUI_API_KEY",
    "MOOG_API_KEY",
    "REDIS_PASS",
    "DB_PASS",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_secret_changes_in_files_and_nobody_notices() {
    let dir = tempfile::tempdir().unwrap();
    let redis = Redis::builder().password("REDIS_PASS-0").start();
    let mut cluster = Cluster::prepare(Wanted {
        redis: Some(redis),
        ..Wanted::default()
    })
    .await;
    cluster.sql("ALTER ROLE mutt_app PASSWORD 'DB_PASS-0'");
    cluster.unset("DB_PASS_CURRENT");
    for secret in SECRETS {
        cluster.unset(secret);
        for (name, value) in [
            (secret.to_owned(), format!("{secret}-0")),
            (format!("{secret}_NEXT"), String::new()),
        ] {
            write(dir.path(), &name, &value);
            let file = dir.path().join(&name).display().to_string();
            cluster.set(&format!("{name}_FILE"), &file);
        }
    }
    let mut world = World::start(
        cluster,
        "INGEST_API_KEY-0",
        "WEBUI_API_KEY-0",
        "MOOG_API_KEY-0",
    )
    .await;

    for secret in SECRETS {
        let next = format!("{secret}-1");
        eprintln!("{next}");
        world
            .tell(|_| write(dir.path(), &format!("{secret}_NEXT"), &next))
            .await;
        match secret {
            "INGEST_API_KEY" => *world.ledger.key.lock() = Some(next.clone()),
            "WEBUI_API_KEY" => next.clone_into(&mut world.viewer.key.lock()),
            "MOOG_API_KEY" => world.cluster.mock.set_keys([&*next]),
            "REDIS_PASS" => world.cluster.redis.set_password(&next),
            _ => {
                let change = format!("ALTER ROLE mutt_app PASSWORD '{next}'");
                world.cluster.sql(&change);
            }
        }
        world.progress().await;
        world
            .tell(|_| {
                write(dir.path(), secret, &next);
                write(dir.path(), &format!("{secret}_NEXT"), "");
            })
            .await;
    }
    assert_eq!(world.post("INGEST_API_KEY-0").await, 401);
    world.newcomer().await;
    world.assert_unnoticed().await;

    // Nobody says a word: the file is there, and the servers refuse what processes know. Everything
    // is read again on a schedule too, but not in the time that a test has.
    write(dir.path(), "DB_PASS", "unannounced");
    world
        .cluster
        .sql("ALTER ROLE mutt_app PASSWORD 'unannounced'");
    world
        .cluster
        .sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'mutt_app'");
    world.progress().await;
    write(dir.path(), "REDIS_PASS", "unannounced");
    world.cluster.redis.set_password("unannounced");
    let all = ["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"];
    world.cluster.redis.command(&all);
    world.progress().await;
    assert!(world.ledger.refusals().is_empty());
    world.settle_up().await;
}

// --- the documentation --------------------------------------------------------------------------

const PAGE: &str = include_str!("../../../docs/secrets.md");

/// The commands of each numbered step below a heading, as they are written there.
fn steps(heading: &str) -> Vec<Vec<String>> {
    let lines = PAGE
        .lines()
        .skip_while(|line| *line != heading)
        .skip(1)
        .take_while(|line| !line.starts_with('#'));
    let mut steps: Vec<String> = Vec::new();
    for line in lines {
        let number = format!("{}. ", steps.len() + 1);
        if let Some(first) = line.strip_prefix(&number) {
            steps.push(first.to_owned());
        } else if let (Some(more), Some(step)) = (line.strip_prefix("   "), steps.last_mut()) {
            step.push(' ');
            step.push_str(more);
        }
    }
    assert!(!steps.is_empty(), "{heading} has steps");
    let is_command = |span: &&str| {
        ["vault ", "ACL ", "ALTER "]
            .iter()
            .any(|begin| span.starts_with(begin))
    };
    let spans = |step: &String| {
        let spans = step.split('`').skip(1).step_by(2);
        spans.filter(is_command).map(str::to_owned).collect()
    };
    steps.iter().map(spans).collect()
}

/// Runs a command of the documentation where an operator would.
fn run(command: &str, bao: &OpenBao, cluster: &Cluster) {
    eprintln!("{command}");
    if let Some(arguments) = command.strip_prefix("vault ") {
        let output = Command::new("sh")
            .args(["-c", &format!("\"$0\" {arguments}")])
            .arg(bao.program())
            .env("BAO_ADDR", bao.addr())
            .env("BAO_TOKEN", bao.root_token())
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{command}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    } else if command.starts_with("ALTER ") {
        cluster.sql(command);
    } else {
        let words: Vec<_> = command.split(' ').collect();
        cluster.redis.command(&words);
    }
}

/// As docs/secrets.md says for `AppRole`; the role id, and the secret id in a file.
fn vault(bao: &OpenBao, secret_id_file: &Path) -> String {
    bao.enable_kv2("secret");
    let policy = r#"path "secret/data/mutt" { capabilities = ["read"] }"#;
    bao.api("PUT", "sys/policies/acl/mutt", &json!({"policy": policy}));
    bao.api("POST", "sys/auth/approle", &json!({"type": "approle"}));
    let role = json!({"token_policies": "mutt", "token_ttl": "1h", "token_max_ttl": "24h"});
    bao.api("POST", "auth/approle/role/mutt", &role);
    let id = bao.api("POST", "auth/approle/role/mutt/secret-id", &json!({}));
    fs::write(secret_id_file, id["data"]["secret_id"].as_str().unwrap()).unwrap();
    let role = bao.api("GET", "auth/approle/role/mutt/role-id", &Value::Null);
    role["data"]["role_id"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_documentation_says_works_with_vault_and_nobody_notices() {
    let dir = tempfile::tempdir().unwrap();
    let bao = OpenBao::start();
    let id_file = dir.path().join("secret_id");
    let role_id = vault(&bao, &id_file);
    let secrets = json!({
        "INGEST_API_KEY": "old",
        "WEBUI_API_KEY": "api",
        "MOOG_API_KEY": "old",
        "REDIS_PASS_CURRENT": "old",
        "DB_PASS_CURRENT": "old",
    });
    bao.api("POST", "secret/data/mutt", &json!({"data": secrets}));

    let users = dir.path().join("users.acl");
    fs::write(&users, "").unwrap();
    let redis = Redis::builder().setting("aclfile", users.to_str().unwrap());
    let redis = redis.start();
    redis.command(&["ACL", "SETUSER", "mutt", "on", "~*", "&*", "+@all", ">old"]);
    let mut cluster = Cluster::prepare(Wanted {
        redis: Some(redis),
        settings: &[
            ("REDIS_USER", "mutt"),
            ("VAULT_ADDR", &bao.addr()),
            ("VAULT_ROLE_ID", &role_id),
            ("VAULT_SECRET_ID_FILE", &id_file.display().to_string()),
        ],
        ..Wanted::default()
    })
    .await;
    cluster.sql("ALTER ROLE mutt_app PASSWORD 'old'");
    for name in ["DB_PASS_CURRENT", "INGEST_API_KEY", "WEBUI_API_KEY"] {
        cluster.unset(name);
    }
    let mut world = World::start(cluster, "old", "api", "old").await;

    for (heading, count) in [
        ("### Keys of ingest and API", 3),
        ("### The key of the sink", 3),
        ("### Redis", 4),
        ("### PostgreSQL", 3),
    ] {
        let steps = steps(heading);
        assert_eq!(steps.len(), count, "{heading}: {steps:?}");
        for (index, commands) in steps.into_iter().enumerate() {
            eprintln!("{heading}, step {}", index + 1);
            if commands.is_empty() {
                assert_eq!(index, 1, "{heading}: what is to be done elsewhere");
                match heading {
                    "### Keys of ingest and API" => *world.ledger.key.lock() = Some("new".into()),
                    "### The key of the sink" => world.cluster.mock.set_keys(["new"]),
                    _ => panic!("{heading} has commands"),
                }
            }
            if commands.iter().any(|command| command.starts_with("vault")) {
                world
                    .tell(|cluster| commands.iter().for_each(|it| run(it, &bao, cluster)))
                    .await;
            } else {
                for command in commands {
                    run(&command, &bao, &world.cluster);
                }
                world.progress().await;
            }
        }
    }
    assert_eq!(world.post("old").await, 401);
    let acl = fs::read_to_string(&users).unwrap();
    assert!(acl.contains("user mutt on"), "{acl}");
    let old = world.cluster.redis.try_command(&["AUTH", "mutt", "old"]);
    assert!(old.unwrap_err().to_string().contains("WRONGPASS"));
    world.newcomer().await;
    world.assert_unnoticed().await;
    world.settle_up().await;
}
