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
        json!({"dry_run": true, "new": 2, "changed": 1, "unchanged": 0, "changes": [
            {"row": 0, "hostname": "FW1", "what": "changed", "before": "Net", "after": "Sec"},
            {"row": 1, "hostname": "sw1", "what": "new", "after": "Net"},
            {"row": 2, "hostname": "a,b", "what": "new", "after": "Zürich"},
        ]})
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
async fn a_team_is_given_once() {
    let world = World::new().await;
    let team = |host: &str| json!({"hostname": host, "team_assignment": "Net"});
    let (one, other) = tokio::join!(
        world.post("/api/v2/teams", team("fw1")),
        world.post("/api/v2/teams", team("FW1"))
    );
    let mut statuses = [one.status.as_u16(), other.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 409]);
}

#[tokio::test]
async fn hosts_and_teams_are_filtered_and_paged() {
    let world = World::new().await;
    let csv = "hostname,team_assignment\nA1,Net\nb1,Net\nc1,Sec\nd1,Net\n";
    import(&world, "/api/v2/teams/import", "text/csv", csv)
        .await
        .is(200);
    import(&world, "/api/v2/dev-hosts/import", "text/csv", csv)
        .await
        .is(200);
    for (path, list) in [("/api/v2/teams", "teams"), ("/api/v2/dev-hosts", "hosts")] {
        let mut seen = Vec::new();
        let mut page = world.get(&format!("{path}?limit=3")).await.is(200);
        loop {
            assert_eq!(page["total"], 4);
            let rows = page[list].as_array().unwrap();
            seen.extend(
                rows.iter()
                    .map(|row| row["hostname"].as_str().unwrap().to_owned()),
            );
            let Some(next) = page["next"].as_str() else {
                break;
            };
            page = world
                .get(&format!("{path}?limit=3&cursor={next}"))
                .await
                .is(200);
        }
        assert_eq!(seen, ["A1", "b1", "c1", "d1"]);
        let found = world.get(&format!("{path}?text=a1")).await.is(200);
        assert_eq!(
            (&found["total"], &found[list][0]["hostname"]),
            (&json!(1), &json!("A1"))
        );
        let fields = world.get(&format!("{path}?limit=0")).await.problem(400);
        assert_eq!(fields, ["limit"]);
    }
    let sec = world.get("/api/v2/teams?text=sec").await.is(200);
    assert_eq!(sec["teams"][0]["hostname"], "c1");
    let older = world.get("/api/v1/teams").await.is(200);
    assert!(
        older.get("total").is_none() && older.get("next").is_none(),
        "{older}"
    );
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
