//! The pretend Moogsoft's own control API.
#![allow(clippy::unwrap_used, reason = "a test ends where something is missing")]

use std::time::Duration;

use mutt_forwarder::MockMoog;
use mutt_forwarder::mock::Stats;

#[tokio::test]
async fn it_records_fails_on_demand_and_says_what_it_can_do() {
    let mock = MockMoog::start("127.0.0.1:0".parse().unwrap())
        .await
        .unwrap();
    let base = format!("http://{}", mock.local_addr());
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let post = |body: &str| client.post(mock.url()).body(body.to_owned()).send();

    assert_eq!(post(r#"{"external_id":"a"}"#).await.unwrap().status(), 200);
    let faults = client.post(format!("{base}/mock/faults"));
    let answer = faults
        .body(r#"{"status":503,"count":1,"retry_after":7}"#)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
    let failed = post(r#"{"external_id":"a"}"#).await.unwrap();
    assert_eq!(
        (failed.status().as_u16(), &failed.headers()["retry-after"]),
        (503, &"7".parse().unwrap())
    );
    assert_eq!(post(r#"{"external_id":"a"}"#).await.unwrap().status(), 200);

    let reset = client
        .post(format!("{base}/mock/faults"))
        .body(r#"[{"reset":true}]"#);
    reset.send().await.unwrap();
    assert!(post("{}").await.is_err());
    client
        .delete(format!("{base}/mock/faults"))
        .send()
        .await
        .unwrap();
    assert_eq!(post("{}").await.unwrap().status(), 200);

    let wrong = client
        .post(format!("{base}/mock/faults"))
        .body(r#"{"stauts":503}"#);
    let wrong = wrong.send().await.unwrap();
    assert_eq!(wrong.status(), 400);
    assert!(wrong.text().await.unwrap().contains("stauts"));

    mock.set_keys(["k"]);
    assert_eq!(post("{}").await.unwrap().status(), 401);
    let keyed = client
        .post(mock.url())
        .header("apiKey", "k")
        .body("{}")
        .send()
        .await
        .unwrap();
    assert_eq!(keyed.status(), 200);

    let stats: serde_json::Value = get(&client, &format!("{base}/mock/stats?period=3600")).await;
    assert_eq!(stats["total"], 7);
    assert_eq!(stats["most_in_window"], 7);
    assert_eq!(
        (&stats["unique"], &stats["repeats"]),
        (&1.into(), &1.into())
    );
    assert_eq!(stats["by_status"]["0"], 1);
    let received = get(&client, &format!("{base}/mock/received?limit=2")).await;
    assert_eq!(received.as_array().unwrap().len(), 2);
    assert!(
        get(&client, &format!("{base}/mock/faults"))
            .await
            .as_array()
            .unwrap()
            .is_empty()
    );

    let address = mock.local_addr();
    let Stats { total, .. } = mock.stats(Duration::from_secs(1));
    assert_eq!(total, 7);
    drop(mock);
    let start = std::time::Instant::now();
    while tokio::net::TcpStream::connect(address).await.is_ok() {
        assert!(
            start.elapsed() < Duration::from_secs(30),
            "it ends when it is dropped"
        );
        tokio::task::yield_now().await;
    }
}

async fn get(client: &reqwest::Client, url: &str) -> serde_json::Value {
    let body = client.get(url).send().await.unwrap().bytes().await.unwrap();
    serde_json::from_slice(&body).unwrap()
}
