use crate::server::{Port, RedisServers, SslMode};

use super::*;

fn from(environment: &[(&str, &str)], file: Option<&str>) -> Result<Loaded, Problems> {
    load(&Sources {
        environment: environment
            .iter()
            .map(|&(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
        file: file.map(|text| ("mutt.toml".into(), text.to_owned())),
    })
}

#[test]
fn every_default_is_allowed() {
    let loaded = from(&[], None).expect("defaults fit");
    assert_eq!(loaded.settings.server_port_ingestor, 8080);
    for variable in VARIABLES {
        assert_eq!(
            check(variable, variable.default),
            Ok(()),
            "{}",
            variable.name
        );
    }
}

#[test]
fn defaults_agree_with_the_dynamic_keys() {
    for key in mutt_engine::dynamic::KEYS {
        let Some(name) = key.variable else { continue };
        if let Some(variable) = VARIABLES.iter().find(|variable| variable.name == name) {
            assert_eq!(variable.default, key.default, "{name}");
        }
    }
}

#[test]
fn environment_wins_over_file_wins_over_default() {
    let loaded = from(
        &[("MOOG_RATE_LIMIT", "7")],
        Some("moog_rate_limit = 9\nmoog_max_retries = 2\nrequired_fields = [\"a\", \"b\"]"),
    )
    .expect("fits");
    assert_eq!(loaded.settings.moog_rate_limit, 7);
    assert_eq!(loaded.settings.moog_max_retries, 2);
    assert_eq!(loaded.settings.required_fields, "a,b");
    assert_eq!(loaded.origins["MOOG_RATE_LIMIT"].1, Origin::Environment);
    assert_eq!(
        loaded.origins["MOOG_MAX_RETRIES"].1,
        Origin::File("mutt.toml".into())
    );
    assert_eq!(loaded.dynamic().integer("moog_rate_limit"), 7);
    assert_eq!(loaded.dynamic().integer("moog_max_retries"), 2);
}

#[test]
fn every_problem_is_listed_with_key_value_origin_and_what_is_allowed() {
    let problems = from(
        &[
            ("MOOG_RATE_LIMIT", "0"),
            ("MOOG_RATE_LIMT", "1"),
            ("MUTT_BACKEND", "oracle"),
            ("MUTT_INGESTOR_SERVICE_HOST", "10.0.0.1"),
            ("PATH", "/bin"),
        ],
        Some("nonsense = 1\nmoog_api_key = \"x\"\ntls_cert_file = 3"),
    )
    .expect_err("nothing of this fits");
    let text = problems.to_string();
    assert_eq!(problems.0.len(), 5, "{text}");
    assert!(text.contains(
        "MOOG_RATE_LIMIT (environment): '0' is not allowed; allowed is a whole number from 1 to \
         1000000 (requests)"
    ));
    assert!(text.contains("did you mean MOOG_RATE_LIMIT?"), "{text}");
    assert!(text.contains(
        "MUTT_BACKEND (environment): 'oracle' is not allowed; allowed is embedded or distributed"
    ));
    assert!(text.contains("NONSENSE (mutt.toml)"), "{text}");
    assert!(
        text.contains("MOOG_API_KEY (mutt.toml): a secret does not belong"),
        "{text}"
    );
}

#[test]
fn contradictions_are_problems() {
    let text = from(
        &[
            ("TLS_CERT_FILE", "/a"),
            ("MOOG_WEBHOOK_URL", "ftp://x"),
            ("SERVER_PORT_ALERTER", "8080"),
        ],
        None,
    )
    .expect_err("contradictions")
    .to_string();
    assert!(text.contains("set both or none"), "{text}");
    assert!(text.contains("begins with http://"), "{text}");
    assert!(
        text.contains("port 8080 is also SERVER_PORT_INGESTOR"),
        "{text}"
    );
}

#[test]
fn what_senders_over_tls_need_is_asked_for() {
    let problems = |variables: &[(&str, &str)]| match from(variables, None) {
        Ok(_) => String::new(),
        Err(problems) => problems.to_string(),
    };
    let own = [
        ("SYSLOG_TLS_CERT_FILE", "/a"),
        ("SYSLOG_TLS_KEY_FILE", "/b"),
    ];
    let shared = [("TLS_CERT_FILE", "/a"), ("TLS_KEY_FILE", "/b")];
    for files in [own, shared] {
        let [certificate, key] = files;
        let all = [
            certificate,
            key,
            ("SYSLOG_TLS_CLIENT_CA", "/c"),
            ("SYSLOG_TLS_PERMITTED_PEERS", "*.example.com"),
            ("SYSLOG_TLS_ADDR", "7514"),
        ];
        let loaded = from(&all, None).expect("fits");
        let files = loaded.settings.sender_certificate().expect("there is one");
        assert_eq!(files, (Path::new("/a"), Path::new("/b")));
    }
    for (variables, problem) in [
        (&own[..1], "belong together"),
        (&own[1..], "belong together"),
        (&[("SYSLOG_TLS_ADDR", "6514")], "need to see a certificate"),
        (&[("RELP_TLS_ADDR", "6515")], "need to see a certificate"),
        (
            &[("SYSLOG_TLS_CLIENT_CA", "/c")],
            "need to see a certificate",
        ),
        (
            &[
                own[0],
                own[1],
                ("SYSLOG_TLS_PERMITTED_PEERS", "a.example.com"),
            ],
            "set SYSLOG_TLS_CLIENT_CA",
        ),
        (
            &[("SYSLOG_TLS_PERMITTED_PEERS", "a*.example.com")],
            "leftmost label",
        ),
    ] {
        let text = problems(variables);
        assert!(text.contains(problem), "{variables:?}: {text}");
    }
    assert_eq!(problems(&[("SYSLOG_TLS_ADDR", "off")]), "");
}

#[test]
fn names_of_older_versions_are_understood_with_a_warning() {
    let loaded = from(
        &[
            ("UNHANDLED_THRESHOLD", "5"),
            ("REMEDIATION_INTERVAL", "9"),
            ("REMEDIATION_SCAN_INTERVAL", "8"),
        ],
        None,
    )
    .expect("fits");
    assert_eq!(loaded.settings.unhandled_event_threshold, 5);
    assert_eq!(
        loaded.settings.remediation_scan_interval, 8,
        "the present name wins"
    );
    assert_eq!(loaded.warnings.len(), 2, "{:?}", loaded.warnings);
}

const SERVERS_GIVEN: [(&str, &str); 2] = [("REDIS_HOST", "redis"), ("DB_HOST", "a,b:5433")];

#[test]
fn naming_a_redis_means_the_distributed_engine_unless_one_was_chosen() {
    let loaded = from(&SERVERS_GIVEN, None).expect("fits");
    assert_eq!(loaded.settings.backend, Backend::Distributed);
    assert_eq!(loaded.origins["MUTT_BACKEND"].1, Origin::Environment);
    let target = loaded.settings.redis_target().expect("named");
    assert_eq!(target.servers, RedisServers::One("redis".into(), 6379));
    assert!(target.tls);
    assert_eq!(
        loaded.settings.db_servers(),
        [("a".to_owned(), 5432), ("b".to_owned(), 5433)]
    );
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);

    let loaded = from(&SERVERS_GIVEN, Some("mutt_backend = \"embedded\"")).expect("fits");
    assert_eq!(loaded.settings.backend, Backend::Embedded);
    assert_eq!(loaded.warnings.len(), 2, "{:?}", loaded.warnings);
    assert!(
        loaded.warnings[0].contains("REDIS_HOST (environment) has no effect"),
        "{:?}",
        loaded.warnings
    );
    let loaded = from(&[("REDIS_HOST", "")], None).expect("empty is not set");
    assert_eq!(loaded.settings.backend, Backend::Embedded);
}

#[test]
fn the_distributed_engine_needs_its_servers() {
    let text = from(&[("MUTT_BACKEND", "distributed")], None)
        .expect_err("no servers")
        .to_string();
    assert!(text.contains("needs a Redis: set REDIS_HOST"), "{text}");
    assert!(text.contains("needs a PostgreSQL: set DB_HOST"), "{text}");
}

#[test]
fn settings_of_servers_that_contradict_are_problems() {
    let text = from(
        &[
            ("REDIS_URL", "redis://redis"),
            ("REDIS_HOST", "redis"),
            ("REDIS_TLS_ENABLED", "true"),
            ("DB_POOL_MIN_CONN", "20"),
            ("REDIS_PASSWRD", "hunter2"),
            ("DB_HOST", "pg"),
            ("ALERT_QUEUE_NAME", "mutt:ingest_queue"),
            ("VAULT_ADDR", "https://vault"),
        ],
        None,
    )
    .expect_err("contradictions");
    assert!(!text.to_string().contains("hunter2"), "{text}");
    let keys: Vec<&str> = text.0.iter().map(|problem| problem.key.as_str()).collect();
    assert_eq!(keys, ["REDIS_PASSWRD"], "unknown keys come first: {text}");
    assert!(
        text.to_string().contains("did you mean REDIS_PASS?"),
        "{text}"
    );
}

#[test]
fn every_contradiction_is_listed() {
    let problems = from(
        &[
            ("REDIS_URL", "redis://redis"),
            ("REDIS_HOST", "redis"),
            ("REDIS_TLS_ENABLED", "true"),
            ("DB_POOL_MIN_CONN", "20"),
            ("DB_HOST", "pg"),
            ("ALERT_QUEUE_NAME", "mutt:ingest_queue"),
            ("VAULT_ADDR", "https://vault"),
        ],
        None,
    )
    .expect_err("contradictions");
    let keys: Vec<&str> = problems
        .0
        .iter()
        .map(|problem| problem.key.as_str())
        .collect();
    assert_eq!(
        keys,
        [
            "REDIS_URL",
            "REDIS_TLS_ENABLED",
            "DB_POOL_MIN_CONN",
            "ALERT_QUEUE_NAME",
            "VAULT_ROLE_ID"
        ],
        "{problems}"
    );
}

#[test]
fn sizes_of_pools_that_sites_bring_along() {
    let servers = [("REDIS_HOST", "redis"), ("DB_HOST", "pg")];
    let with = |more: &[(&str, &str)]| {
        let all: Vec<_> = servers.iter().chain(more).copied().collect();
        from(&all, None)
    };
    let loaded = with(&[("DB_POOL_MAX_CONN", "1")]).expect("the least gives way");
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    for name in ["REDIS_POOL_MAX_CONN", "REDIS_MAX_CONNECTIONS"] {
        let loaded = with(&[(name, "1")]).expect("accepted");
        let warned = loaded.warnings.iter();
        let told = warned.filter(|warning| warning.contains("has no effect"));
        assert_eq!(told.count(), 1, "{:?}", loaded.warnings);
    }
}

#[test]
fn an_address_of_vault_alone_is_meant_for_another_program() {
    let addr = ("VAULT_ADDR", "https://vault:8200");
    let loaded = from(&[addr], None).expect("fits");
    assert!(loaded.settings.vault_addr.is_none());
    assert!(loaded.warnings[0].contains("VAULT_ADDR has no effect"));
    let text = from(&[addr, ("VAULT_AUTH", "kubernetes")], None)
        .expect_err("no role")
        .to_string();
    assert!(text.contains("VAULT_K8S_ROLE (default): "), "{text}");
    let loaded = from(&[addr, ("VAULT_ROLE_ID", "id")], None).expect("fits");
    assert_eq!(
        loaded.settings.vault_addr.expect("set").to_string(),
        "https://vault:8200"
    );
}

#[test]
fn a_password_in_an_address_is_never_shown() {
    let url = "rediss://mutt:hunter2@redis:6380/1";
    let loaded = from(&[("REDIS_URL", url), ("DB_HOST", "pg")], None).expect("fits");
    assert_eq!(
        loaded.origins["REDIS_URL"].0,
        "rediss://mutt:***@redis:6380/1"
    );
    assert!(!format!("{loaded:?}").contains("hunter2"));
    let text = from(&[("REDIS_URL", "rediss://mutt:hunter2@redis:x")], None)
        .expect_err("no port")
        .to_string();
    assert!(text.contains("***") && !text.contains("hunter2"), "{text}");
    let text = from(&[], Some(&format!("redis_url = \"{url}\"")))
        .expect_err("a secret in the file")
        .to_string();
    assert!(
        text.contains("does not belong into this file") && !text.contains("hunter2"),
        "{text}"
    );
    let loaded = from(&[("VAULT_ROLE_ID", "hunter2")], None).expect("fits");
    assert!(!format!("{loaded:?}").contains("hunter2"));
}

#[test]
fn old_names_of_servers_are_translated_and_links_of_kubernetes_are_no_settings() {
    let loaded = from(
        &[
            ("REDIS_HOST", "redis"),
            ("REDIS_PORT", "tcp://10.0.0.1:6379"),
            ("REDIS_CA_CERT_PATH", "/ca.pem"),
            ("DB_HOST", "pg"),
            ("DB_TLS_ENABLED", "false"),
            ("DB_TLS_CA_CERT_PATH", "/pg.pem"),
            ("MOOG_DLQ_NAME", "mutt:dlq:moog"),
        ],
        None,
    )
    .expect("fits");
    let settings = &loaded.settings;
    assert_eq!(settings.redis_port, Port(6379));
    assert_eq!(settings.redis_tls_ca_cert, Some("/ca.pem".into()));
    assert_eq!(settings.db_ssl_mode, SslMode::Disable);
    assert_eq!(settings.db_ssl_root_cert, Some("/pg.pem".into()));
    assert_eq!(loaded.warnings.len(), 4, "{:?}", loaded.warnings);
}
