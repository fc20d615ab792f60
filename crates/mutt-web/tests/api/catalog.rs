//! Development hosts, teams and their imports, unhandled signatures.

use serde_json::json;

use crate::support::World;

async fn import(world: &World, path: &str, kind: &str, body: &str) -> crate::support::Answer {
    let request = world.request("POST", path).header("content-type", kind);
    world.send(request.body(body.to_owned())).await
}

#[tokio::test]
async fn teams_are_imported() {
    let world = World::new().await;
    let team = json!({"hostname": "fw1", "team_assignment": "Net"});
    world.post("/api/v2/teams", team).await.is(201);
    let csv = "hostname,team_assignment\nFW1,Sec\n sw1 , Net\n\"a,b\",\"Zürich\"\n";
    let dry = import(&world, "/api/v2/teams/import?dry_run=true", "text/csv", csv)
        .await
        .is(200);
    assert_eq!(
        dry,
        json!({"dry_run": true, "new": 2, "changed": 1, "unchanged": 0})
    );
    assert_eq!(
        world.get("/api/v2/teams").await.is(200)["teams"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    let done = import(
        &world,
        "/api/v2/teams/import?reason=merge",
        "text/csv; charset=utf-8",
        csv,
    )
    .await
    .is(200);
    assert_eq!((&done["new"], &done["changed"]), (&json!(2), &json!(1)));
    let teams = world.get("/api/v2/teams").await.is(200);
    assert_eq!(
        teams["teams"],
        json!([
            {"hostname": "a,b", "team_assignment": "Zürich"},
            {"hostname": "fw1", "team_assignment": "Sec"},
            {"hostname": "sw1", "team_assignment": "Net"},
        ])
    );
    let again = json!([{"hostname": "sw1", "team_assignment": "Net"}]).to_string();
    let done = import(&world, "/api/v2/teams/import", "application/json", &again)
        .await
        .is(200);
    assert_eq!(done["unchanged"], 1);
    let audit = world
        .get("/api/v2/config-audit?table_name=device_teams")
        .await
        .is(200);
    assert_eq!(audit["total"], 4);
    assert_eq!(audit["changes"][0]["reason"], "merge");
}

#[tokio::test]
async fn an_import_with_a_wrong_row_changes_nothing() {
    let world = World::new().await;
    for (kind, body, field) in [
        ("text/csv", "hostname\na\n", "body"),
        (
            "text/csv",
            "hostname,team_assignment\na,b\n,c\n",
            "[1].hostname",
        ),
        (
            "text/csv",
            "hostname,team_assignment\na,b\nA,c\n",
            "[1].hostname",
        ),
        (
            "text/csv",
            "hostname,team_assignment\na,\n",
            "[0].team_assignment",
        ),
        (
            "application/json",
            "[{\"hostname\": \"a\"}]",
            "[0].team_assignment",
        ),
        ("application/json", "{}", "body"),
    ] {
        let answer = import(&world, "/api/v2/teams/import", kind, body).await;
        assert_eq!(answer.problem(400), [field], "{body}");
    }
    import(&world, "/api/v2/teams/import", "application/json", "[")
        .await
        .problem(400);
    assert_eq!(world.get("/api/v2/teams").await.is(200)["teams"], json!([]));
    let large = format!("hostname\n{}", "h\n".repeat(3_000_000));
    import(&world, "/api/v2/dev-hosts/import", "text/csv", &large)
        .await
        .problem(413);
    let many: Vec<String> = (0..10_001).map(|number| format!("h{number}")).collect();
    let many = many.join("\n");
    let answer = import(
        &world,
        "/api/v2/dev-hosts/import",
        "text/csv",
        &format!("hostname\n{many}"),
    )
    .await;
    assert_eq!(answer.problem(400), ["body"]);
}

#[tokio::test]
async fn development_hosts_are_imported() {
    let world = World::new().await;
    world
        .post("/api/v2/dev-hosts", json!({"hostname": "Lab1"}))
        .await
        .is(201);
    let done = import(
        &world,
        "/api/v2/dev-hosts/import",
        "text/csv",
        "\u{FEFF}hostname\nlab1\nlab2\n",
    )
    .await
    .is(200);
    assert_eq!(
        done,
        json!({"dry_run": false, "new": 1, "changed": 0, "unchanged": 1})
    );
    let hosts = world.get("/api/v2/dev-hosts").await.is(200);
    assert_eq!(
        hosts["hosts"],
        json!([{"hostname": "Lab1"}, {"hostname": "lab2"}])
    );
}

#[tokio::test]
async fn names_with_odd_letters_are_found_by_path() {
    let world = World::new().await;
    for (name, path) in [
        ("a/b", "a%2Fb"),
        ("zürich", "Z%C3%9CRICH"),
        ("50%", "50%25"),
    ] {
        world
            .post("/api/v2/dev-hosts", json!({"hostname": name}))
            .await
            .is(201);
        world
            .delete(&format!("/api/v2/dev-hosts/{path}"))
            .await
            .is(200);
    }
    world
        .post("/api/v2/dev-hosts", json!({"hostname": "a\u{0}"}))
        .await
        .problem(400);
    world.delete("/api/v2/dev-hosts/%FF").await.problem(404);
}

#[tokio::test]
async fn unhandled_signatures_are_listed() {
    let world = World::new().await;
    assert_eq!(
        world.get("/api/v2/unhandled").await.is(200),
        json!({"signatures": []})
    );
    assert_eq!(
        world.get("/api/v2/unhandled?limit=0").await.problem(400),
        ["limit"]
    );
}
