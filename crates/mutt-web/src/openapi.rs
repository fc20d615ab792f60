//! Every route with its documentation, and the `OpenAPI` 3.1 document that is made of them. A route
//! that is not entered here does not exist, so the document cannot be behind.

use std::sync::OnceLock;

use axum::Router;
use axum::body::Bytes;
use axum::extract::DefaultBodyLimit;
use axum::http::header;
use axum::middleware;
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};
use utoipa::OpenApi;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, SecurityScheme};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::{
    Api, access, audit, bench, changes, delivery, dlq, error, hosts, insights, jobs, keys, layers,
    live, past, pattern, rates, rules, session, settings, slo, static_config, status, stream,
    timeline, unhandled,
};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "MUTT",
        description = "The Multi-Use Telemetry Tool: events, rules, delivery and configuration. \
            `/api/v2` is current. `/api/v1` is deprecated: the same handlers in the shapes of 2.5. \
            Every answer carries `X-Correlation-ID`; what went wrong is a problem of RFC 9457.",
        license(name = "Apache-2.0")
    ),
    components(schemas(error::Problem, error::FieldError)),
    tags(
        (name = "Events", description = "The audit trail, one event, the live stream"),
        (name = "Rules", description = "What is decided of which event"),
        (name = "Hosts and teams", description = "Development hosts and the teams of devices"),
        (name = "Delivery", description = "How alerts reach the sink"),
        (name = "Dead letters", description = "What could not be handled"),
        (name = "Jobs", description = "Long work that somebody ordered"),
        (name = "Configuration", description = "Dynamic configuration and the audit of changes"),
        (name = "Keys", description = "API keys and their roles"),
        (name = "Sessions", description = "Browsers that sign in with a key"),
        (name = "Status", description = "What waits, who works, how fast it goes"),
    )
)]
struct Document;

/// What v1 and v2 both have, to whoever has a key.
fn shared() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(rates::rates))
        .routes(routes!(rules::list, rules::create))
        .routes(routes!(rules::show, rules::change, rules::delete))
        .routes(routes!(pattern::test_regex))
        .routes(routes!(rules::reload))
        .routes(routes!(hosts::list_hosts, hosts::add_host))
        .routes(routes!(hosts::remove_host))
        .routes(routes!(hosts::list_teams, hosts::add_team))
        .routes(routes!(hosts::change_team, hosts::remove_team))
        .routes(routes!(audit::search))
        .routes(routes!(settings::list))
        .routes(routes!(settings::history))
        .routes(routes!(settings::show, settings::set, settings::unset))
        .routes(routes!(changes::search))
        .routes(routes!(slo::slo))
}

/// What v1 alone has.
fn older() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(changes::search_v1))
        .routes(routes!(rates::rates_v1))
}

/// What v2 alone has.
fn current() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(bench::test))
        .routes(routes!(insights::insights))
        .routes(routes!(hosts::import_hosts))
        .routes(routes!(hosts::import_teams))
        .routes(routes!(audit::export))
        .routes(routes!(timeline::timeline))
        .routes(routes!(stream::watch))
        .routes(routes!(stream::watch_status))
        .routes(routes!(live::all))
        .routes(routes!(status::status))
        .routes(routes!(past::history))
        .routes(routes!(unhandled::list))
        .routes(routes!(unhandled::show))
        .routes(routes!(settings::revert))
        .routes(routes!(static_config::show_static))
        .routes(routes!(changes::export))
        .routes(routes!(changes::verify))
        .routes(routes!(delivery::show))
        .routes(routes!(delivery::test))
        .routes(routes!(dlq::overview))
        .routes(routes!(dlq::list))
        .routes(routes!(dlq::show))
        .routes(routes!(dlq::replay))
        .routes(routes!(dlq::discard))
        .routes(routes!(jobs::list))
        .routes(routes!(jobs::show))
        .routes(routes!(jobs::abort))
        .routes(routes!(keys::me))
        .routes(routes!(keys::list, keys::create))
        .routes(routes!(keys::revoke))
        .routes(routes!(session::link))
}

/// What nobody needs a key for.
fn open() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(status::version))
}

/// The routes, and the document of them. With an `api`, a key is asked for.
fn built(api: Option<&Api>) -> (Router<Api>, utoipa::openapi::OpenApi) {
    let closed = |router: OpenApiRouter<Api>| match api {
        Some(api) => router.route_layer(middleware::from_fn_with_state(
            api.clone(),
            access::require_caller,
        )),
        None => router,
    };
    let whole = |router: OpenApiRouter<Api>| router.fallback(layers::not_found);
    let v1 = closed(shared().merge(older())).merge(open());
    let v2 = closed(shared().merge(current()))
        .merge(open())
        .merge(
            OpenApiRouter::new()
                .routes(routes!(session::start, session::show, session::end))
                // The one body that is read of people whom nobody knows.
                .layer(DefaultBodyLimit::max(session::BODY_MAX)),
        )
        .routes(routes!(document));
    let (router, document) = OpenApiRouter::with_openapi(Document::openapi())
        .nest("/api/v1", whole(v1))
        .nest("/api/v2", whole(v2))
        .split_for_parts();
    (
        router.method_not_allowed_fallback(layers::wrong_method),
        document,
    )
}

/// The routes of the API.
pub fn routes(api: &Api) -> Router<Api> {
    built(Some(api)).0
}

/// The document by itself.
pub fn document_text() -> String {
    let (_, document) = built(None);
    serde_json::to_string_pretty(&finished(document)).unwrap_or_default()
}

/// What needs neither key nor session.
fn is_open(method: &str, path: &str) -> bool {
    path.ends_with("/version")
        || path.ends_with("/openapi.json")
        || path.ends_with("/session") && method == "post"
}

/// What an operation asks for: one of these. A session's alone is what a key has no part in.
fn security(method: &str, path: &str) -> Value {
    let session = if method == "get" {
        json!({"session": []})
    } else {
        json!({"session": [], "csrf": []})
    };
    if path.starts_with("/api/v1/") {
        json!([{"key": []}])
    } else if path.ends_with("/session") {
        json!([session])
    } else {
        json!([{"key": []}, session])
    }
}

/// The document with what holds for every operation.
fn finished(mut document: utoipa::openapi::OpenApi) -> Value {
    env!("CARGO_PKG_VERSION").clone_into(&mut document.info.version);
    let components = document.components.get_or_insert_default();
    for (name, scheme) in [
        ("key", ApiKey::Header(ApiKeyValue::new("X-API-KEY"))),
        (
            "session",
            ApiKey::Cookie(ApiKeyValue::with_description(
                "mutt_session",
                "Given by POST /api/v2/session; `__Host-mutt_session` with WEBUI_COOKIE_SECURE",
            )),
        ),
        (
            "csrf",
            ApiKey::Header(ApiKeyValue::with_description(
                "X-CSRF-Token",
                "The session's csrf_token, with whatever changes something",
            )),
        ),
    ] {
        components.add_security_scheme(name, SecurityScheme::ApiKey(scheme));
    }
    let mut document = serde_json::to_value(document).unwrap_or_default();
    let problem = |description: &str| {
        json!({
            "description": description,
            "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
        })
    };
    let older = json!({
        "description": "What went wrong",
        "content": {"application/json": {"schema": {
            "type": "object", "required": ["error"],
            "properties": {"error": {"type": "string"}, "correlation_id": {"type": "string"}},
        }}},
    });
    let paths = document["paths"].as_object_mut();
    for (path, item) in paths.into_iter().flatten() {
        let v1 = path.starts_with("/api/v1/");
        for (method, operation) in item.as_object_mut().into_iter().flatten() {
            if !operation.is_object() {
                continue;
            }
            if let Some(id) = operation["operationId"].as_str() {
                let tag = operation["tags"][0].as_str().unwrap_or_default();
                let group = tag.to_lowercase().replace(' ', "_");
                let version = if v1 { "v1_" } else { "" };
                operation["operationId"] = format!("{version}{group}_{id}").into();
            }
            if v1 {
                operation["deprecated"] = true.into();
            }
            if !is_open(method, path) {
                operation["security"] = security(method, path);
            }
            let responses = operation["responses"].as_object_mut();
            for (status, response) in responses.into_iter().flatten() {
                if status.starts_with(['4', '5']) && response.get("content").is_none() {
                    let text = response["description"]
                        .as_str()
                        .unwrap_or_default()
                        .to_owned();
                    *response = if v1 { older.clone() } else { problem(&text) };
                    response["description"] = text.into();
                }
            }
            operation["responses"]["default"] = if v1 {
                older.clone()
            } else {
                problem(
                    "What went wrong: 401 no valid key or session, 403 a role too low, \
                    or a session's request without X-CSRF-Token, 429 too many wrong \
                    keys, 503 the engine is away (with Retry-After)",
                )
            };
        }
    }
    split_versions(&mut document);
    document
}

/// Answers that have more fields under v2, and what contains them.
const VERSIONED: [&str; 9] = [
    "RuleView",
    "RuleList",
    "AuditRowView",
    "AuditPage",
    "HostList",
    "TeamList",
    "Slo",
    "Objective",
    "Burn",
];

/// Describes what v1 answers without the fields that only v2 has. A field that is flattened and left
/// out under v1 is described as "these fields or null" in both, which neither of them is.
fn split_versions(document: &mut Value) {
    let is_more = |part: &Value| {
        let texts = part["oneOf"].as_array().into_iter().flatten();
        texts
            .filter_map(|one| one["$ref"].as_str())
            .any(|name| name.ends_with("More"))
    };
    let Some(schemas) = document["components"]["schemas"].as_object_mut() else {
        return;
    };
    for name in VERSIONED {
        let Some(current) = schemas.get_mut(name) else {
            continue;
        };
        let mut older = current.clone();
        if let Some(parts) = older.get_mut("allOf").and_then(Value::as_array_mut) {
            parts.retain(|part| !is_more(part));
        }
        let parts = current.get_mut("allOf").and_then(Value::as_array_mut);
        for part in parts.into_iter().flatten() {
            if is_more(part) {
                *part = part["oneOf"]
                    .as_array()
                    .and_then(|one| one.iter().find(|one| one.get("$ref").is_some()))
                    .map_or(Value::Null, |one| json!({ "$ref": one["$ref"] }));
            }
        }
        refer_to_older(&mut older);
        schemas.insert(format!("{name}V1"), older);
    }
    let paths = document["paths"].as_object_mut().into_iter().flatten();
    for (_, item) in paths.filter(|(path, _)| path.starts_with("/api/v1/")) {
        refer_to_older(item);
    }
}

fn refer_to_older(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                let name = value
                    .as_str()
                    .and_then(|text| text.strip_prefix("#/components/schemas/"));
                match name {
                    Some(name) if key == "$ref" && VERSIONED.contains(&name) => {
                        *value = format!("#/components/schemas/{name}V1").into();
                    }
                    _ => refer_to_older(value),
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(refer_to_older),
        _ => {}
    }
}

/// Show this document
#[utoipa::path(get, path = "/openapi.json", tag = "Status", responses((status = 200, body = Object)))]
async fn document() -> Response {
    // Made when somebody asks: a start need not wait for it.
    static TEXT: OnceLock<Bytes> = OnceLock::new();
    let text = TEXT.get_or_init(|| Bytes::from(finished(built(None).1).to_string()));
    ([(header::CONTENT_TYPE, "application/json")], text.clone()).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operations() -> Vec<(String, String, Value)> {
        let document: Value = serde_json::from_str(&document_text()).unwrap();
        let mut all = Vec::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                if ["get", "put", "post", "delete", "patch"].contains(&method.as_str()) {
                    all.push((method.clone(), path.clone(), operation.clone()));
                }
            }
        }
        all
    }

    #[test]
    fn every_operation_is_described() {
        let mut ids = std::collections::HashSet::new();
        for (method, path, operation) in operations() {
            let at = format!("{method} {path}");
            assert!(
                operation["summary"]
                    .as_str()
                    .is_some_and(|text| !text.is_empty()),
                "{at} has no summary"
            );
            assert!(operation["tags"][0].is_string(), "{at} has no tag");
            let id = operation["operationId"].as_str().unwrap().to_owned();
            assert!(ids.insert(id.clone()), "{at}: {id} is given twice");
            let responses = operation["responses"].as_object().unwrap();
            assert!(
                responses.keys().any(|status| status.starts_with('2')),
                "{at} says no success"
            );
            assert!(responses.contains_key("default"), "{at} says no error");
            let parameters = operation["parameters"]
                .as_array()
                .cloned()
                .unwrap_or_default();
            for parameter in &parameters {
                assert!(
                    parameter["description"]
                        .as_str()
                        .is_some_and(|text| !text.is_empty()),
                    "{at}: {} is not described",
                    parameter["name"]
                );
            }
            for part in path.split('/').filter_map(|part| part.strip_prefix('{')) {
                let name = part.trim_end_matches('}');
                assert!(
                    parameters
                        .iter()
                        .any(|parameter| parameter["name"] == name && parameter["in"] == "path"),
                    "{at}: {name} is missing"
                );
            }
            if method == "put" {
                assert!(operation["requestBody"].is_object(), "{at} has no body");
            }
            let open = is_open(&method, &path);
            assert_eq!(operation["security"].is_null(), open, "{at}");
            assert_eq!(
                operation["deprecated"] == true,
                path.starts_with("/api/v1/"),
                "{at}"
            );
        }
    }

    /// The endpoints that the specification lists.
    #[test]
    fn everything_that_was_promised_is_there() {
        let there: std::collections::HashSet<String> = operations()
            .into_iter()
            .map(|(method, path, _)| format!("{} {path}", method.to_uppercase()))
            .collect();
        let both = "GET /metrics|GET /rules|POST /rules|GET /rules/{id}|PUT /rules/{id}|\
            DELETE /rules/{id}|POST /test-regex|GET /dev-hosts|POST /dev-hosts|\
            DELETE /dev-hosts/{hostname}|GET /teams|POST /teams|PUT /teams/{hostname}|\
            DELETE /teams/{hostname}|GET /audit-logs|GET /config|GET /config/{key}|PUT /config/{key}|\
            DELETE /config/{key}|GET /config/history|GET /config-audit|GET /slo|\
            POST /cache/reload|GET /version";
        let current = "POST /rules/test|GET /rules/insights|GET /events/{event_id}|\
            GET /events/stream|GET /unhandled|POST /config/{key}/revert|GET /dlq|GET /dlq/{queue}|\
            GET /dlq/{queue}/{id}|POST /dlq/{queue}/replay|POST /dlq/{queue}/discard|GET /jobs|\
            GET /jobs/{id}|POST /jobs/{id}/abort|GET /status|GET /status/stream|GET /status/history|GET /keys|POST /keys|\
            DELETE /keys/{name}|GET /openapi.json|POST /teams/import|POST /dev-hosts/import|\
            GET /audit-logs/export|\
            POST /session|GET /session|DELETE /session|POST /session/links";
        let older = "GET /audit|GET /metrics/current";
        for (version, list) in [("v1", both), ("v2", both), ("v2", current), ("v1", older)] {
            for endpoint in list.split('|') {
                let (method, path) = endpoint.trim().split_once(' ').unwrap();
                let endpoint = format!("{method} /api/{version}{path}");
                assert!(there.contains(&endpoint), "{endpoint} is missing");
            }
        }
    }

    /// Routes come into being with their documentation or not at all.
    #[test]
    fn no_route_goes_around_the_document() {
        let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let needle = [".route", "("].concat();
        for file in std::fs::read_dir(directory).unwrap() {
            let path = file.unwrap().path();
            let text = std::fs::read_to_string(&path).unwrap();
            assert!(
                !text.contains(&needle),
                "{} adds a route without documentation",
                path.display()
            );
        }
    }

    /// Of two types with one name the document would describe either's answers by the other.
    #[test]
    fn every_schema_has_a_name_of_its_own() {
        let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut names = std::collections::HashMap::new();
        for file in std::fs::read_dir(directory).unwrap() {
            let path = file.unwrap().path();
            let text = std::fs::read_to_string(&path).unwrap();
            // From a derive up to the name of what it stands before.
            for derived in text.split("#[derive(").skip(1) {
                let (derives, rest) = derived.split_once(")]").unwrap();
                let Some(at) = ["struct ", "enum "].iter().find_map(|word| {
                    let (before, name) = rest.split_once(word)?;
                    (!before.contains('{')).then_some((before, name))
                }) else {
                    continue;
                };
                if !derives.contains("ToSchema") {
                    continue;
                }
                let renamed = at.0.split_once("as = ").map(|(_, name)| name);
                let name: String = renamed
                    .unwrap_or(at.1)
                    .chars()
                    .take_while(|c| c.is_alphanumeric())
                    .collect();
                let file = path.display().to_string();
                if let Some(other) = names.insert(name.clone(), file.clone()) {
                    panic!("{name} is in {other} and in {file}; give one #[schema(as = …)]");
                }
            }
        }
        assert!(names.len() > 40, "{names:?}");
    }

    #[test]
    fn each_version_is_described_as_it_answers() {
        let document: Value = serde_json::from_str(&document_text()).unwrap();
        let schema = |version: &str| {
            let path = format!("/api/{version}/rules/{{id}}");
            let answer = &document["paths"][path]["get"]["responses"]["200"]["content"];
            let name = answer["application/json"]["schema"]["$ref"]
                .as_str()
                .unwrap();
            document.pointer(&name[1..]).unwrap().to_string()
        };
        assert!(schema("v2").contains("RuleMore") && !schema("v2").contains("oneOf"));
        assert!(!schema("v1").contains("RuleMore"));
        for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
            let keys = schema.as_object().unwrap();
            assert!(
                keys.values().all(|value| !value.is_null()),
                "{name} says nothing: {schema}"
            );
        }
    }

    #[test]
    fn the_document_is_of_3_1_and_whole() {
        let text = document_text();
        let document: Value = serde_json::from_str(&text).unwrap();
        assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
        let schemas = document["components"]["schemas"].as_object().unwrap();
        for reference in text.split("\"#/components/schemas/").skip(1) {
            let name = reference.split('"').next().unwrap();
            assert!(schemas.contains_key(name), "{name} is not defined");
        }
    }
}
