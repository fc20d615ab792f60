//! OpenBao servers start, keep their data and die when they should.

use mutt_testbed::OpenBao;
use serde_json::{Value, json};

#[test]
fn a_killed_server_comes_back_with_its_data() {
    let bao = OpenBao::start();
    bao.enable_kv2("secret");
    bao.api(
        "POST",
        "secret/data/mutt",
        &json!({"data": {"key": "value"}}),
    );
    bao.kill();
    assert!(bao.try_api("GET", "sys/health", &Value::Null).is_err());
    bao.restart();
    let read = bao.api("GET", "secret/data/mutt", &Value::Null);
    assert_eq!(read["data"]["data"]["key"], "value");

    bao.seal();
    let error = bao
        .try_api("GET", "secret/data/mutt", &Value::Null)
        .unwrap_err();
    assert!(error.to_string().contains("503"), "{error}");
    bao.unseal();
    bao.api("GET", "secret/data/mutt", &Value::Null);
}
