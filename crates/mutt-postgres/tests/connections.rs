//! Connections: TLS, passwords that change, servers that die, hosts to choose from.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use common::{
    APP, PASSWORD, PATIENCE, claim, database, empty_database, eventually, migrate, now, options,
};
use mutt_engine::{Audit, EngineError};
use mutt_postgres::{Applied, Postgres, PostgresOptions, SslMode};
use mutt_testbed::{Postgres as Server, Proxy};
use parking_lot::Mutex;

fn text(error: &EngineError) -> &str {
    match error {
        EngineError::Unavailable(text) => text,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn every_mode_of_tls_asks_what_libpq_asks() {
    let server = Server::builder().tls().fsync(false).start();
    let name = empty_database(&server);
    migrate(&server, &name).await;
    let foreign = Server::builder().tls().fsync(false).start();
    let ca = server.ca_file().unwrap().to_owned();
    let other = foreign.ca_file().unwrap().to_owned();
    // Only through TLS.
    let hba = server.dir().join("data/pg_hba.conf");
    std::fs::write(
        &hba,
        "local all all trust\nhostssl all all 127.0.0.1/32 scram-sha-256\n",
    )
    .unwrap();
    server.sql("SELECT pg_reload_conf()");

    // `nohost.invalid` is no name in the certificate; the address is reached all the same.
    let attempt = async |host: &str, ssl_mode, root: Option<&std::path::PathBuf>| {
        let options = PostgresOptions {
            hosts: vec![(host.to_owned(), server.port())],
            ssl_mode,
            ssl_root_cert: root.cloned(),
            ..options(&server, &name, APP)
        };
        let postgres = Postgres::open(options)?;
        postgres.ready().await
    };
    let ip = "127.0.0.1";
    eventually("pg_hba.conf is read", async || {
        attempt(ip, SslMode::Disable, None).await.err()
    })
    .await;
    for mode in [SslMode::Prefer, SslMode::Require] {
        attempt(ip, mode, None).await.unwrap();
    }
    for mode in [SslMode::Require, SslMode::VerifyCa, SslMode::VerifyFull] {
        attempt(ip, mode, Some(&ca)).await.unwrap();
        let error = attempt(ip, mode, Some(&other)).await.unwrap_err();
        assert!(text(&error).contains("DB_SSL_ROOT_CERT"), "{error}");
    }
    for mode in [SslMode::VerifyCa, SslMode::VerifyFull] {
        let error = attempt(ip, mode, None).await.unwrap_err();
        assert!(
            matches!(&error, EngineError::Unusable(text) if text.contains("DB_SSL_ROOT_CERT")),
            "{error}"
        );
    }
    let missing = std::path::PathBuf::from("/nowhere/ca.pem");
    let error = attempt(ip, SslMode::VerifyFull, Some(&missing))
        .await
        .unwrap_err();
    assert!(
        matches!(&error, EngineError::Unusable(text) if text.contains("/nowhere/ca.pem")),
        "{error}"
    );
    // 127.0.0.2 is this machine too, and is not in the certificate.
    let foreign_name = "127.0.0.2";
    server.sql("ALTER SYSTEM SET listen_addresses = '127.0.0.1,127.0.0.2'");
    std::fs::write(
        &hba,
        "local all all trust\nhostssl all all 127.0.0.0/8 scram-sha-256\n",
    )
    .unwrap();
    let conf = server.dir().join("data/testbed.conf");
    let settings = std::fs::read_to_string(&conf).unwrap().replace(
        "listen_addresses = '127.0.0.1'",
        "listen_addresses = '127.0.0.1,127.0.0.2'",
    );
    std::fs::write(&conf, settings).unwrap();
    server.restart();
    attempt(foreign_name, SslMode::VerifyCa, Some(&ca))
        .await
        .unwrap();
    let error = attempt(foreign_name, SslMode::VerifyFull, Some(&ca))
        .await
        .unwrap_err();
    assert!(text(&error).contains("not valid for name"), "{error}");
    // A server without TLS.
    let plain = Server::shared();
    let (name, _) = database(plain).await;
    let to_plain = |ssl_mode| PostgresOptions {
        ssl_mode,
        ..options(plain, &name, APP)
    };
    Postgres::open(to_plain(SslMode::Prefer))
        .unwrap()
        .ready()
        .await
        .unwrap();
    let error = Postgres::open(to_plain(SslMode::Require))
        .unwrap()
        .ready()
        .await
        .unwrap_err();
    assert!(text(&error).contains("DB_SSL_MODE"), "{error}");
}

#[tokio::test]
async fn errors_say_where_as_whom_and_what_to_do() {
    let server = Server::shared();
    let (name, _) = database(server).await;
    let good = options(server, &name, APP);
    let cases = [
        (
            PostgresOptions {
                hosts: vec![("127.0.0.1".to_owned(), 1)],
                ..good.clone()
            },
            vec!["127.0.0.1:1 ", "user mutt_app", "DB_HOST"],
        ),
        (
            PostgresOptions {
                hosts: vec![("no-such-host.invalid".to_owned(), 5432)],
                ..good.clone()
            },
            vec!["no-such-host.invalid:5432", "DB_HOST"],
        ),
        (
            PostgresOptions {
                passwords: Arc::new(|| vec!["wrong-1".into(), "wrong-2".into()]),
                ..good.clone()
            },
            vec!["user mutt_app", "every password", "DB_PASS_NEXT"],
        ),
        (
            PostgresOptions {
                database: "nothing".to_owned(),
                ..good.clone()
            },
            vec!["database nothing", "DB_NAME"],
        ),
    ];
    for (options, words) in cases {
        let error = Postgres::open(options).unwrap().ready().await.unwrap_err();
        for word in words {
            assert!(text(&error).contains(word), "{error}");
        }
        assert!(
            !text(&error).contains("wrong-") && !text(&error).contains(PASSWORD),
            "{error}"
        );
    }
    let none = PostgresOptions {
        hosts: Vec::new(),
        ..good
    };
    assert!(matches!(
        Postgres::open(none),
        Err(EngineError::Unusable(_))
    ));
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_given_up_in_time() {
    // A port that takes connections and says nothing.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let options = PostgresOptions {
        connect_timeout: Duration::from_millis(200),
        ..PostgresOptions::new("127.0.0.1", silent.local_addr().unwrap().port(), APP)
    };
    let postgres = Postgres::open(options).unwrap();
    let error = tokio::time::timeout(PATIENCE, postgres.ready())
        .await
        .unwrap()
        .unwrap_err();
    assert!(text(&error).contains("no answer within"), "{error}");
}

#[tokio::test]
async fn a_busy_pool_says_so() {
    let server = Server::shared();
    let (name, postgres) = database(server).await;
    let one = Postgres::open(PostgresOptions {
        pool_max: 1,
        connect_timeout: Duration::from_secs(2),
        ..options(server, &name, APP)
    })
    .unwrap();
    one.ready().await.unwrap();
    assert_eq!(
        (
            one.pool_status().size,
            one.pool_status().idle,
            one.pool_status().max
        ),
        (1, 1, 1)
    );
    // The only connection waits for a lock.
    let owner = format!(
        "host=127.0.0.1 port={} user=postgres password=postgres dbname={name}",
        server.port()
    );
    let (blocker, connection) = tokio_postgres::connect(&owner, tokio_postgres::NoTls)
        .await
        .unwrap();
    tokio::spawn(connection);
    blocker
        .batch_execute("BEGIN; LOCK audit_total")
        .await
        .unwrap();
    let waiting = tokio::spawn({
        let one = one.clone();
        async move { one.audit_count().await }
    });
    eventually("it waits", async || {
        (one.pool_status().idle == 0).then_some(())
    })
    .await;
    let error = one.ready().await.unwrap_err();
    assert!(text(&error).contains("DB_POOL_MAX_CONN"), "{error}");
    // The lock is waited for five seconds, then that is an error, and the connection is good.
    let error = waiting.await.unwrap().unwrap_err();
    assert!(text(&error).contains("lock"), "{error}");
    blocker.batch_execute("ROLLBACK").await.unwrap();
    one.audit_count().await.unwrap();
    assert_eq!(one.pool_status().size, 1);
    one.close().await;
    assert_eq!(one.pool_status().size, 0);
    let error = one.ready().await.unwrap_err();
    assert!(text(&error).contains("stopping"), "{error}");
    postgres.ready().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_changes_under_load_without_a_failure() {
    let server = Server::builder().fsync(false).start();
    let name = empty_database(&server);
    migrate(&server, &name).await;
    let passwords = Arc::new(Mutex::new(vec![PASSWORD.to_owned()]));
    let postgres = Postgres::open(PostgresOptions {
        passwords: {
            let passwords = Arc::clone(&passwords);
            Arc::new(move || passwords.lock().iter().cloned().map(Into::into).collect())
        },
        pool_max: 4,
        ..options(&server, &name, APP)
    })
    .unwrap();
    let (stop, number) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    let workers: Vec<_> = (0..4)
        .map(|_| {
            let (postgres, stop, number) =
                (postgres.clone(), Arc::clone(&stop), Arc::clone(&number));
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let number = number.fetch_add(1, Ordering::Relaxed);
                    let (events, rows) = claim(5, now());
                    let applied = postgres.apply(number, "pod", &events, &rows, b"").await;
                    assert_eq!(applied.unwrap(), Applied::Now);
                }
            })
        })
        .collect();
    let progress = async || {
        let start = number.load(Ordering::Relaxed);
        eventually("work goes on", async || {
            (number.load(Ordering::Relaxed) > start + 50).then_some(())
        })
        .await;
    };
    let mut current = PASSWORD.to_owned();
    for round in 0..5 {
        let next = format!("secret-{round}");
        progress().await;
        // As the documentation says: NEXT is told, the server changes, CURRENT follows.
        *passwords.lock() = vec![current.clone(), next.clone()];
        postgres.renew();
        server.sql(&format!("ALTER ROLE {APP} PASSWORD '{next}'"));
        postgres.renew();
        progress().await;
        *passwords.lock() = vec![next.clone()];
        postgres.renew();
        current = next;
    }
    progress().await;
    stop.store(true, Ordering::Relaxed);
    for worker in workers {
        worker.await.unwrap();
    }
    assert_eq!(
        postgres.audit_count().await.unwrap(),
        number.load(Ordering::Relaxed) * 5
    );
    // Every connection is younger than the last change.
    let error = Postgres::open(options(&server, &name, APP))
        .unwrap()
        .ready()
        .await
        .unwrap_err();
    assert!(text(&error).contains("DB_PASS_CURRENT"), "{error}");
}

#[tokio::test]
async fn connections_are_opened_ahead_and_again_after_they_ended() {
    let server = Server::builder().fsync(false).start();
    let name = empty_database(&server);
    migrate(&server, &name).await;
    let refusals = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&refusals);
    let postgres = Postgres::open(PostgresOptions {
        pool_min: 3,
        on_refused: Some(Arc::new(move || {
            counter.fetch_add(1, Ordering::Relaxed);
        })),
        ..options(&server, &name, APP)
    })
    .unwrap();
    let counts = || {
        let status = postgres.pool_status();
        (status.size, status.idle, status.up)
    };
    assert_eq!(counts(), (0, 0, false));
    postgres.tend().await.unwrap();
    assert_eq!(counts(), (3, 3, true));
    postgres.renew();
    postgres.tend().await.unwrap();
    assert_eq!(counts(), (3, 3, true));
    server.kill();
    let error = eventually("the end is noticed", async || postgres.tend().await.err()).await;
    assert!(text(&error).contains("DB_HOST"), "{error}");
    assert_eq!(counts(), (0, 0, false));
    assert!(postgres.pool_status().failed_connects > 0);
    assert_eq!(
        refusals.load(Ordering::Relaxed),
        0,
        "nobody refused a password"
    );
    server.restart();
    eventually("they are back", async || postgres.tend().await.ok()).await;
    assert_eq!(counts(), (3, 3, true));

    let before = postgres.pool_status().failed_calls;
    server.sql_in(&name, "ALTER TABLE audit_total RENAME TO elsewhere");
    postgres.audit_count().await.unwrap_err();
    assert_eq!(postgres.pool_status().failed_calls, before + 1);

    server.sql(&format!("ALTER ROLE {APP} PASSWORD 'another'"));
    postgres.renew();
    postgres.tend().await.unwrap_err();
    assert_eq!(refusals.load(Ordering::Relaxed), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_server_loses_and_repeats_nothing() {
    let server = Arc::new(Server::start());
    let name = empty_database(&server);
    migrate(&server, &name).await;
    let postgres = Postgres::open(PostgresOptions {
        connect_timeout: Duration::from_secs(5),
        ..options(&server, &name, APP)
    })
    .unwrap();
    let (stop, done) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    let workers: Vec<_> = (0..3_u64)
        .map(|worker| {
            let (postgres, stop, done) = (postgres.clone(), Arc::clone(&stop), Arc::clone(&done));
            tokio::spawn(async move {
                let mut step = 0;
                while !stop.load(Ordering::Relaxed) {
                    let number = worker * 1_000_000 + step;
                    let (events, rows) = claim(20, now());
                    // Handed in until it is known what became of it, as the engine does.
                    while let Err(error) = postgres.apply(number, "pod", &events, &rows, b"e").await
                    {
                        assert!(error.is_temporary(), "{error:?}");
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                    step += 1;
                    done.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for _ in 0..4 {
        let start = done.load(Ordering::Relaxed);
        eventually("work goes on", async || {
            (done.load(Ordering::Relaxed) > start + 30).then_some(())
        })
        .await;
        let server = Arc::clone(&server);
        tokio::task::spawn_blocking(move || {
            server.kill();
            server.restart();
        })
        .await
        .unwrap();
    }
    stop.store(true, Ordering::Relaxed);
    for worker in workers {
        worker.await.unwrap();
    }
    let expected = done.load(Ordering::Relaxed) * 20;
    assert_eq!(postgres.audit_count().await.unwrap(), expected);
    assert_eq!(
        server.sql_in(&name, "SELECT count(*) FROM event_audit_log"),
        expected.to_string()
    );
    assert_eq!(
        server.sql_in(
            &name,
            "SELECT count(DISTINCT event_id) FROM event_audit_log"
        ),
        expected.to_string()
    );
}

/// A standby of a server: a copy of its files that follows nobody yet.
fn standby_of(primary: &Server, dir: &std::path::Path) -> Server {
    primary.terminate();
    let copied = std::process::Command::new("cp")
        .arg("-a")
        .arg(primary.dir().join("data"))
        .arg(dir.join("data"))
        .status();
    assert!(copied.expect("cp runs").success());
    // With the owner of the other files.
    let signal = std::process::Command::new("cp")
        .arg("-a")
        .arg(dir.join("data/PG_VERSION"))
        .arg(dir.join("data/standby.signal"))
        .status();
    assert!(signal.expect("cp runs").success());
    primary.restart();
    Server::builder().fsync(false).dir(dir).start()
}

/// The first host is away or a standby: the one that can be written to is found, also after a
/// fail-over.
#[tokio::test]
async fn the_host_that_can_be_written_to_is_found() {
    let primary = Server::builder().fsync(false).start();
    let name = empty_database(&primary);
    migrate(&primary, &name).await;
    let dir = tempfile::tempdir().unwrap();
    let standby = standby_of(&primary, dir.path());
    let away = ("127.0.0.1".to_owned(), 1);
    let (first, second) = (
        ("127.0.0.1".to_owned(), standby.port()),
        ("127.0.0.1".to_owned(), primary.port()),
    );
    let open = |hosts| {
        let options = PostgresOptions {
            hosts,
            ..options(&primary, &name, APP)
        };
        Postgres::open(options).unwrap()
    };
    for hosts in [
        vec![away.clone(), second.clone()],
        vec![first.clone(), second.clone()],
        vec![first.clone(), away.clone(), second.clone()],
    ] {
        let postgres = open(hosts);
        postgres.ready().await.unwrap();
        postgres.claim_block().await.unwrap();
    }
    let error = open(vec![away, first.clone()]).ready().await.unwrap_err();
    assert!(
        text(&error).contains("127.0.0.1:1 ") && text(&error).contains("can only be read"),
        "{error}"
    );

    let postgres = open(vec![first, second]);
    postgres.ready().await.unwrap();
    primary.kill();
    postgres.ready().await.unwrap_err();
    standby.sql("SELECT pg_promote()");
    eventually("the new primary is found", async || {
        postgres.claim_block().await.ok()
    })
    .await;
    standby.kill();
}

/// A primary that can only be read from now on: its connections are not kept.
#[tokio::test]
async fn connections_to_a_former_primary_are_left() {
    let server = Server::builder().fsync(false).start();
    let name = empty_database(&server);
    migrate(&server, &name).await;
    let postgres = Postgres::open(options(&server, &name, APP)).unwrap();
    let (events, rows) = claim(1, now());
    postgres.apply(1, "pod", &events, &rows, b"").await.unwrap();
    let recovery = "ALTER SYSTEM SET default_transaction_read_only = ";
    server.sql(&format!("{recovery}on"));
    server.sql("SELECT pg_reload_conf()");
    let error = eventually("it refuses", async || {
        let number = postgres.claim_block().await.ok();
        postgres
            .apply(number.unwrap_or(9), "pod", &events, &[], b"")
            .await
            .err()
    })
    .await;
    assert!(text(&error).contains("read"), "{error}");
    let error = postgres.ready().await.unwrap_err();
    assert!(text(&error).contains("can only be read"), "{error}");
    server.sql(&format!("{recovery}off"));
    server.sql("SELECT pg_reload_conf()");
    eventually("it is back", async || postgres.claim_block().await.ok()).await;
}

#[tokio::test]
async fn a_frozen_server_is_noticed_and_its_return_too() {
    let server = Server::builder().fsync(false).start();
    let name = empty_database(&server);
    migrate(&server, &name).await;
    let postgres = Postgres::open(PostgresOptions {
        connect_timeout: Duration::from_millis(500),
        statement_timeout: Duration::from_millis(500),
        ..options(&server, &name, APP)
    })
    .unwrap();
    eventually("connected", async || postgres.ready().await.ok()).await;
    server.pause();
    let start = Instant::now();
    let error = postgres.ready().await.unwrap_err();
    assert!(text(&error).contains("in time"), "{error}");
    assert!(start.elapsed() < PATIENCE);
    server.resume();
    eventually("it is back", async || postgres.ready().await.ok()).await;
}

/// The network swallows the answer to a commit: handed in again, the claim is found applied.
#[tokio::test]
async fn a_commit_whose_answer_is_lost_happens_once() {
    let server = Server::shared();
    let (name, direct) = database(server).await;
    let proxy = Proxy::to_port(server.port());
    let postgres = Postgres::open(PostgresOptions {
        hosts: vec![("127.0.0.1".to_owned(), proxy.port())],
        statement_timeout: Duration::from_millis(500),
        ..options(server, &name, APP)
    })
    .unwrap();
    let (events, rows) = claim(10, now());
    // The statements are known to the server before answers are lost.
    let applied = postgres.apply(1, "pod", &events, &rows, b"").await.unwrap();
    assert_eq!(applied, Applied::Now);
    let (events, rows) = claim(10, now());
    proxy.lose_answers();
    let error = postgres
        .apply(2, "pod", &events, &[], b"two")
        .await
        .unwrap_err();
    assert!(text(&error).contains("in time"), "{error}");
    proxy.thaw();
    let again = postgres
        .apply(2, "pod", &events, &[], b"other")
        .await
        .unwrap();
    assert_eq!(again, Applied::Before(b"two".to_vec()));

    // Cut off anywhere between BEGIN and COMMIT, a claim is applied whole or not at all.
    for number in 3..30 {
        let apply = postgres.apply(number, "pod", &events, &rows, b"e");
        let cut = async {
            tokio::time::sleep(Duration::from_micros(number * 100)).await;
            proxy.cut();
        };
        let (applied, ()) = tokio::join!(apply, cut);
        if applied.is_err() {
            eventually("it is known what became of it", async || {
                postgres
                    .apply(number, "pod", &events, &rows, b"e")
                    .await
                    .ok()
            })
            .await;
        }
    }
    // All of them had the same events.
    assert_eq!(direct.audit_count().await.unwrap(), 20);
    assert_eq!(
        server.sql_in(&name, "SELECT count(*) FROM event_audit_log"),
        "20"
    );
}
