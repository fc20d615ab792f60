//! How much of a bare COPY's speed is left with everything that `apply` does around it.
//!
//! Run by hand: `cargo test -p mutt-postgres --release --test speed -- --ignored --nocapture`.

mod common;

use std::time::{Duration, Instant};

use bytes::Bytes;
use common::{APP, claim, empty_database, migrate, now, options};
use futures_util::SinkExt as _;
use mutt_postgres::Postgres;
use mutt_testbed::Postgres as Server;
use tokio_postgres::NoTls;

const ROWS: usize = 1000;
const CLAIMS: u64 = 40;
const ROUNDS: u64 = 5;

/// A COPY of rows of the same kind, in the binary format, made before the clock starts.
struct Bare {
    client: tokio_postgres::Client,
}

impl Bare {
    async fn new(server: &Server, name: &str) -> Self {
        let config = format!(
            "host=127.0.0.1 port={} user=postgres password=postgres dbname={name}",
            server.port()
        );
        let (client, connection) = tokio_postgres::connect(&config, NoTls)
            .await
            .expect("connected");
        tokio::spawn(connection);
        Self { client }
    }

    /// What the last claim wrote, in the binary format of COPY, with new ids.
    async fn data(&self) -> Bytes {
        // Ids that grow with time, as MUTT makes them: random ones would be slower to index.
        let sql = "COPY (SELECT (lpad(to_hex((extract(epoch FROM clock_timestamp()) * 1000)::bigint), 12, '0') \
             || '7' || substr(md5(random()::text), 1, 3) || '8' \
             || substr(md5(random()::text), 1, 15))::uuid, event_timestamp, received_at, hostname, source, \
             syslog_severity, trap_oid, environment, matched_rule_id, rule_version, \
             handling_decision, team_assignment, forwarded_to_moog, correlation_id, raw_message \
             FROM event_audit_log ORDER BY id DESC LIMIT 1000) TO STDOUT (FORMAT binary)";
        let stream = self.client.copy_out(sql).await.expect("started");
        let parts: Vec<Bytes> = futures_util::TryStreamExt::try_collect(stream)
            .await
            .expect("read");
        parts.concat().into()
    }

    async fn copy(&self, data: Bytes) {
        let sql = "COPY event_audit_log (event_id, event_timestamp, received_at, hostname, source, \
             syslog_severity, trap_oid, environment, matched_rule_id, rule_version, \
             handling_decision, team_assignment, forwarded_to_moog, correlation_id, raw_message) \
             FROM STDIN (FORMAT binary)";
        let sink = self.client.copy_in(sql).await.expect("started");
        let mut sink = std::pin::pin!(sink);
        sink.feed(data).await.expect("sent");
        assert_eq!(sink.finish().await.expect("written"), ROWS as u64);
    }
}

#[tokio::test]
#[ignore = "takes a minute of an idle machine"]
async fn apply_beside_a_bare_copy() {
    let server = Server::builder().setting("shared_buffers", "256MB").start();
    let name = empty_database(&server);
    migrate(&server, &name).await;
    let postgres = Postgres::open(options(&server, &name, APP)).expect("good options");
    let bare = Bare::new(&server, &name).await;
    let effects = vec![7; 20_000];
    let mut number = 0;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let mut spent = Duration::ZERO;
        let mut claims = Vec::new();
        for _ in 0..CLAIMS {
            let (events, rows) = claim(ROWS, now());
            let start = Instant::now();
            postgres
                .apply(number, "pod", &events, &rows, &effects)
                .await
                .expect("applied");
            spent += start.elapsed();
            claims.push(number);
            number += 1;
        }
        let start = Instant::now();
        postgres.forget(&claims).await.expect("forgotten");
        spent += start.elapsed();
        ours.push(spent);

        let mut spent = Duration::ZERO;
        for _ in 0..CLAIMS {
            let data = bare.data().await;
            let start = Instant::now();
            bare.copy(data).await;
            spent += start.elapsed();
        }
        theirs.push(spent);
    }
    ours.sort_unstable();
    theirs.sort_unstable();
    let rate = |spent: Duration| (CLAIMS * ROWS as u64) as f64 / spent.as_secs_f64();
    let middle = ours.len() / 2;
    println!(
        "apply {:.0} rows/s, bare COPY {:.0} rows/s, ratio {:.2}",
        rate(ours[middle]),
        rate(theirs[middle]),
        rate(ours[middle]) / rate(theirs[middle])
    );
}
