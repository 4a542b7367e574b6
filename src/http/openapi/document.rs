//! Makes the document: what the handlers say, and what follows for all of them.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::Operation;
use crate::http::problem::{KINDS, urn};

/// Problems of every operation.
const EVERYWHERE: &[&str] =
    &["malformed-request", "request-timeout", "too-many-connections", "head-too-large", "internal", "not-ready"];

/// Schemas of answers whose properties are all present, also those that are `null`.
const WHOLE: &[&str] = &["Domain", "Link", "HistoryEntry", "ValueCount"];

const DESCRIPTION: &str = "Links, their statistics, and what visitors are answered.\n\n\
Answers are JSON, and errors are problem documents (RFC 9457) with a stable `type`. Times are RFC 3339 in UTC, names are camelCase. \
Every answer but a redirect has an `X-Request-Id`.\n\n\
Operations with a key take it as `X-Api-Key: …` or `Authorization: Bearer …`. A server without a key serves them to processes of its own account only.\n\n\
A path answers other methods than its own with `405` (`method-not-allowed`) and `Allow`.";

/// Completes what was made from the handlers.
pub(in crate::http) fn document(of_handlers: &utoipa::openapi::OpenApi, operations: &[Operation]) -> Value {
    let mut document =
        serde_json::to_value(of_handlers).expect("invariant: a document of texts, numbers and maps is JSON");
    document["info"] = json!({
        "title": "Waypost",
        // The server says it (`serve.rs`).
        "version": "",
        "description": DESCRIPTION,
        "license": { "name": "Apache-2.0 OR MIT", "identifier": "Apache-2.0 OR MIT" },
    });
    document["tags"] = json!([
        { "name": "Links", "description": "Create, show, change and delete links." },
        { "name": "Domains", "description": "Hosts with links of their own." },
        { "name": "Statistics", "description": "Who has followed links." },
        { "name": "Visitors", "description": "What the visitors of short URLs are answered. Browsers get pages in place of problem documents." },
        { "name": "Administration", "description": "Backups. They always need a key." },
        { "name": "Health", "description": "For orchestrators and load balancers." },
        { "name": "Documents", "description": "This description." },
    ]);
    let components = &mut document["components"];
    components["securitySchemes"] = json!({
        "apiKey": { "type": "apiKey", "in": "header", "name": "X-Api-Key" },
        "bearer": { "type": "http", "scheme": "bearer" },
    });
    complete_schemas(&mut components["schemas"]);
    for operation in operations {
        let item = &mut document["paths"][operation.path];
        complete(&mut item[operation.method], operation);
        if operation.method == "get" {
            item["head"] = head(&item["get"]);
        }
    }
    document
}

fn complete_schemas(schemas: &mut Value) {
    for name in WHOLE {
        if let Some(schema) = schemas.get_mut(*name) {
            let properties = schema["properties"].as_object().map(|all| all.keys().cloned().collect::<Vec<_>>());
            schema["required"] = json!(properties.unwrap_or_default());
        }
    }
    schemas["Problem"]["properties"]["type"]["enum"] = KINDS.iter().map(|kind| urn(kind.name)).collect();
    schemas["LinkEdit"]["minProperties"] = json!(1);
    schemas["DomainEdit"]["minProperties"] = json!(1);
}

/// Adds the problems of an operation, and the keys that it needs.
fn complete(written: &mut Value, operation: &Operation) {
    let named: Vec<&str> = operation.problems.iter().copied().flatten().chain(EVERYWHERE).copied().collect();
    let mut by_status: BTreeMap<u16, Vec<String>> = BTreeMap::new();
    for kind in KINDS.iter().filter(|kind| named.contains(&kind.name)) {
        by_status.entry(kind.status).or_default().push(format!("`{}`: {}", kind.name, kind.title));
    }
    let for_people = written["tags"][0] == "Visitors";
    if !written["responses"].is_object() {
        written["responses"] = Value::Object(Map::new());
    }
    for (status, kinds) in by_status {
        let mut content =
            json!({ "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } } });
        if for_people {
            content["text/html"] = json!({ "schema": { "type": "string" } });
        }
        let mut response = json!({ "description": kinds.join("; "), "content": content });
        let (name, kind) = match status {
            401 => ("WWW-Authenticate", "string"),
            429 | 503 => ("Retry-After", "integer"),
            _ => ("", ""),
        };
        if !name.is_empty() {
            response["headers"] = json!({ name: { "schema": { "type": kind } } });
        }
        written["responses"][status.to_string()] = response;
    }
    let key_may_be_missing = named.contains(&"unauthorized").then(|| operation.path.starts_with("/analytics/"));
    match key_may_be_missing {
        None => {}
        Some(false) => written["security"] = json!([{ "apiKey": [] }, { "bearer": [] }]),
        Some(true) => written["security"] = json!([{}, { "apiKey": [] }, { "bearer": [] }]),
    }
}

/// The same operation without the bodies of its answers.
fn head(get: &Value) -> Value {
    let mut head = get.clone();
    head["summary"] = json!("As GET, without the body.");
    if let Some(object) = head.as_object_mut() {
        object.remove("description");
    }
    head["operationId"] = json!(format!("{}Head", get["operationId"].as_str().unwrap_or_default()));
    for response in head["responses"].as_object_mut().into_iter().flat_map(Map::values_mut) {
        if let Some(response) = response.as_object_mut() {
            response.remove("content");
        }
    }
    head
}

/// The text of a document, with a line for each operation and each schema.
pub(in crate::http) fn lines(document: &Value) -> String {
    let mut text = String::new();
    write(document, 0, &mut text);
    text + "\n"
}

/// The depth of operations below `paths`, and of schemas below `components`.
const LINES_DEPTH: usize = 3;

fn write(value: &Value, depth: usize, text: &mut String) {
    let Some(object) = value.as_object().filter(|object| depth < LINES_DEPTH && !object.is_empty()) else {
        text.push_str(&value.to_string());
        return;
    };
    for (index, (name, value)) in object.iter().enumerate() {
        text.push_str(if index == 0 { "{\n" } else { ",\n" });
        text.push_str(&format!("{}:", Value::from(name.as_str())));
        write(value, depth + 1, text);
    }
    text.push_str("\n}");
}
