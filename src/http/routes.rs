//! The routes of the public listener: one table registers them and describes them, so a route that is not in the document cannot exist.

use actix_web::guard::fn_guard;
use actix_web::web::{self, ServiceConfig};
use actix_web::{Resource, Route};
#[cfg(test)]
use utoipa::OpenApi;

use super::answer::{reads, route};
use super::openapi::{self, Operation};
#[cfg(test)]
use super::problem::Document as Problem;
use super::{
    analytics, backup, bulk, dashboard_links, domains, health, history, keys, links, list, live, paths, preview, qr,
    redirect, shorten, site_files, stats, sweep, tags,
};

/// The caller has no permission.
const KEY: &[&str] = &["unauthorized", "forbidden"];
/// The link does not exist.
const LINK: &[&str] = &["link-not-found", "domain-not-found"];
/// A query parameter, or a property of the body.
const VALUE: &[&str] = &["invalid-value"];
/// The body.
const BODY: &[&str] = &["body-too-large", "unsupported-media-type"];
/// A new link.
const CREATE: &[&str] =
    &["invalid-value", "invalid-url", "invalid-slug", "slug-taken", "idempotency-key-reused", "link-too-large"];
/// A link that is replaced.
const REPLACE: &[&str] =
    &["invalid-value", "invalid-url", "invalid-slug", "link-too-large", "version-mismatch", "unusable-entity-tag"];
/// A link that is edited.
const EDIT: &[&str] = &["invalid-value", "invalid-url", "link-too-large"];
/// The state of a link that a change requires.
const STATE: &[&str] = &["version-mismatch", "unusable-entity-tag"];
/// A target that is restored.
const RESTORE: &[&str] = &["history-entry-not-found", "invalid-url", "link-too-large"];
/// Calls of services.
const CALL: &[&str] = &["overloaded", "unavailable", "outcome-unknown", "timeout"];
/// Changes.
const WRITE: &[&str] = &["read-only"];
/// Properties of links, while nodes of an earlier version are in the cluster.
const PROPERTIES: &[&str] = &["not-yet-supported"];
/// Codes of visitors.
const VISIT: &[&str] = &[
    "link-not-found",
    "link-not-yet-valid",
    "not-found",
    "link-disabled",
    "link-exhausted",
    "link-expired",
    "too-many-unknown-codes",
    "too-many-visits",
];
/// Links with a password.
const PROTECTED: &[&str] = &["link-protected"];
/// Passwords of links.
const WRONG: &[&str] = &["wrong-password", "too-many-passwords"];
/// Codes of visitors for programs.
const UNKNOWN: &[&str] = &["link-not-found", "domain-not-found", "too-many-unknown-codes"];
/// The domain does not exist.
const DOMAIN: &[&str] = &["domain-not-found"];
/// A domain that is made or changed.
const SETTINGS: &[&str] = &["invalid-value", "invalid-url", "conflict", "link-too-large"];
/// A domain that cannot be removed.
const STAYS: &[&str] = &["conflict", "link-too-large"];
/// The dashboard is not where the request needs it.
const PLACE: &[&str] = &["conflict"];
/// There is nothing.
const NOTHING: &[&str] = &["not-found"];

/// `path => { method module::handler [problems]; … }`. The handlers carry `#[utoipa::path]`.
macro_rules! routes {
    ($($path:literal => { $($method:ident $module:ident::$handler:ident [$($problems:ident),*];)* })*) => {
        #[cfg(test)]
        #[derive(OpenApi)]
        #[openapi(paths($($($module::$handler,)*)*), components(schemas(Problem)))]
        struct Handlers;

        /// All operations.
        const OPERATIONS: &[Operation] = &[
            $($(Operation { path: $path, method: stringify!($method), problems: &[$($problems),*] },)*)*
        ];

        fn register_operations(config: &mut ServiceConfig) {
            $(
                let resource = resource_of($path);
                $(let resource = resource.route(method(stringify!($method)).to($module::$handler));)*
                config.service(resource);
            )*
        }
    };
}

routes! {
    "/shorten" => { post shorten::shorten [KEY, BODY, CREATE, CALL, WRITE, PROPERTIES]; }
    "/generate-key" => { get keys::generate [KEY, VALUE, DOMAIN, CALL, WRITE]; }
    "/analytics/{code}" => { get analytics::analytics [KEY, UNKNOWN, CALL]; }
    "/api/v1/bulk" => { post bulk::bulk [KEY, BODY, VALUE]; }
    "/api/v1/bulk/links" => { post sweep::links [KEY, DOMAIN, BODY, EDIT, CALL, WRITE, PROPERTIES]; }
    "/api/v1/links" => {
        get list::list [KEY, DOMAIN, VALUE, CALL];
        post links::post [KEY, BODY, CREATE, CALL, WRITE, PROPERTIES];
    }
    "/api/v1/links/{code}" => {
        get links::get [KEY, LINK, CALL];
        put links::put [KEY, BODY, REPLACE, CALL, WRITE, PROPERTIES];
        patch links::patch [KEY, LINK, BODY, EDIT, STATE, CALL, WRITE, PROPERTIES];
        delete links::delete [KEY, LINK, STATE, CALL, WRITE];
    }
    "/api/v1/links/{code}/history" => { get history::of_link [KEY, LINK, CALL, PROPERTIES]; }
    "/api/v1/links/{code}/history/{id}/restore" => {
        post history::restore [KEY, LINK, RESTORE, STATE, CALL, WRITE, PROPERTIES];
    }
    "/api/v1/links/{code}/qr" => { get qr::of_link [KEY, LINK, VALUE, CALL]; }
    "/api/v1/links/{code}/stats" => {
        get stats::of_link [KEY, LINK, VALUE, CALL];
        delete stats::reset [KEY, LINK, CALL, WRITE];
    }
    "/api/v1/links/{code}/stats/live" => { get live::live_of_link [KEY, LINK, CALL]; }
    "/api/v1/tags" => { get tags::list [KEY, DOMAIN, VALUE, CALL]; }
    "/api/v1/tags/{tag}" => {
        patch tags::patch [KEY, DOMAIN, BODY, VALUE, CALL, WRITE, PROPERTIES];
        delete tags::delete [KEY, DOMAIN, VALUE, CALL, WRITE, PROPERTIES];
    }
    "/api/v1/domains" => {
        get domains::list [KEY];
        post domains::post [KEY, BODY, SETTINGS, CALL, WRITE, PROPERTIES];
    }
    "/api/v1/domains/{host}" => {
        get domains::get [KEY, DOMAIN];
        patch domains::patch [KEY, DOMAIN, BODY, SETTINGS, CALL, WRITE, PROPERTIES];
        delete domains::delete [KEY, DOMAIN, STAYS, CALL, WRITE, PROPERTIES];
    }
    "/api/v1/stats" => { get stats::of_all [KEY, VALUE, CALL]; }
    "/api/v1/stats/live" => { get live::live_of_all [KEY, CALL]; }
    "/api/v1/stats/orphans" => { get stats::orphans [KEY, CALL]; }
    "/api/v1/backup" => { get backup::backup [KEY]; }
    "/api/v1/dashboard-links" => { post dashboard_links::post [KEY, BODY, PLACE]; }
    "/health/live" => { get health::live []; }
    "/health/ready" => { get health::ready []; }
    "/openapi.json" => { get openapi::openapi []; }
    "/docs" => { get openapi::docs []; }
    "/robots.txt" => { get site_files::robots [CALL]; }
    "/favicon.ico" => { get site_files::favicon []; }
    "/" => { get redirect::base [NOTHING]; }
    "/{code}+" => { get preview::preview [VISIT, PROTECTED, CALL]; }
    "/{code}" => {
        get redirect::visit [VISIT, PROTECTED, CALL];
        post redirect::unlock [VISIT, PROTECTED, WRONG, BODY, CALL];
    }
    "/{code}/{rest}" => {
        get redirect::visit_below [VISIT, PROTECTED, CALL];
        post redirect::unlock_below [VISIT, PROTECTED, WRONG, BODY, CALL];
    }
}

/// The path of which the last part may have any number of segments, and the pattern of such paths.
const BELOW: (&str, &str) = ("/{code}/{rest}", "/{code}/{rest:.*}");

/// A path, with the methods that the table has for it.
fn resource_of(path: &'static str) -> Resource {
    let allowed =
        OPERATIONS.iter().filter(|operation| operation.path == path).map(|operation| match operation.method {
            "get" => "GET, HEAD".to_owned(),
            other => other.to_uppercase(),
        });
    let allowed = allowed.collect::<Vec<_>>().join(", ");
    if path != BELOW.0 {
        return route(path, allowed);
    }
    // Paths below our own words stay unknown paths.
    route(BELOW.1, allowed).guard(fn_guard(|context| paths::may_be_below_a_code(context.head().uri.path())))
}

fn method(name: &str) -> Route {
    match name {
        "get" => reads(),
        "post" => web::post(),
        "put" => web::put(),
        "patch" => web::patch(),
        "delete" => web::delete(),
        other => unreachable!("invariant: the table has no other methods than these, and {other} is none"),
    }
}

/// Registers all routes.
pub(super) fn register(config: &mut ServiceConfig) {
    // No operations: they say where the other listener is.
    config.service(web::resource(["/metrics", "/cluster/{rest:.*}"]).to(redirect::of_the_admin_listener));
    register_operations(config);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;
    use waypost_protocol::Code;

    use super::*;
    use crate::http::openapi::DOCUMENT;
    use crate::http::problem::KINDS;

    fn document() -> Value {
        openapi::document(&Handlers::openapi(), OPERATIONS)
    }

    #[test]
    fn the_document_that_is_served_says_what_the_handlers_say() {
        let made = openapi::lines(&document());
        assert_eq!(serde_json::from_str::<Value>(&made).unwrap(), document());
        if std::env::var_os("TEST_WRITES_DOCUMENT").is_some() {
            std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/src/http/openapi/openapi.json"), &made).unwrap();
        } else if let Some((now, _)) = made.lines().zip(DOCUMENT.lines()).find(|(made, served)| made != served) {
            panic!("`make openapi` writes it anew; the first line that differs is now: {now}");
        } else {
            assert_eq!(made.len(), DOCUMENT.len());
        }
    }

    #[test]
    fn the_document_has_the_operations_of_the_table_and_no_others() {
        let handlers = serde_json::to_value(Handlers::openapi()).unwrap();
        let mut written = BTreeSet::new();
        for (path, item) in handlers["paths"].as_object().unwrap() {
            written.extend(item.as_object().unwrap().keys().map(|method| (path.clone(), method.clone())));
        }
        let table: BTreeSet<(String, String)> =
            OPERATIONS.iter().map(|operation| (operation.path.to_owned(), operation.method.to_owned())).collect();
        assert_eq!(written, table);
        assert_eq!(table.len(), OPERATIONS.len());
    }

    #[test]
    fn no_slug_hides_a_route_and_no_route_hides_a_slug() {
        let of_admin = ["/metrics", "/cluster"];
        for path in OPERATIONS.iter().map(|operation| operation.path).chain(of_admin) {
            let first = path.split('/').nth(1).unwrap_or_default();
            let is_link = first.is_empty() || first.starts_with('{');
            assert!(is_link || Code::parse_slug(first).is_err(), "{first} is not reserved");
        }
    }

    #[test]
    fn the_table_is_the_only_place_that_registers_routes() {
        let server = include_str!("server.rs");
        assert!(server.contains(".configure(routes::register)"));
        for other in [".service(", ".route(", "web::scope", "web::resource"] {
            assert!(!server.contains(other), "{other}");
        }
    }

    #[test]
    fn every_operation_is_described_and_every_problem_has_an_operation() {
        let document = document();
        let mut ids = BTreeSet::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                let said = format!("{method} {path}: {operation}");
                assert!(operation["summary"].as_str().is_some_and(|summary| !summary.is_empty()), "{said}");
                assert!(ids.insert(operation["operationId"].as_str().unwrap().to_owned()), "{said}");
                assert!(
                    document["tags"].as_array().unwrap().iter().any(|tag| tag["name"] == operation["tags"][0]),
                    "{said}"
                );
                let statuses: Vec<&String> = operation["responses"].as_object().unwrap().keys().collect();
                assert!(statuses.len() > 5, "{said}");
            }
        }
        let text = document["paths"].to_string();
        // Those of the admin listener, and of paths and methods that are no operations.
        let elsewhere = ["method-not-allowed", "node-not-found", "wrong-listener"];
        for kind in KINDS {
            assert_eq!(text.contains(&format!("`{}`", kind.name)), !elsewhere.contains(&kind.name), "{kind:?}");
        }
        for operation in OPERATIONS {
            for name in operation.problems.iter().copied().flatten() {
                assert!(KINDS.iter().any(|kind| kind.name == *name), "{name}");
            }
        }
    }
}
