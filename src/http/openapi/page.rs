//! The document as a page: plain HTML that loads and runs nothing.

use std::fmt::Write;

use serde_json::{Map, Value};

use crate::http::problem::KINDS;

/// The methods in the order in which the page shows them.
const METHODS: &[&str] = &["get", "post", "put", "patch", "delete"];

const STYLE: &str = "html{color-scheme:light dark;font:1rem/1.5 system-ui,sans-serif}\
body{max-width:60rem;margin:0 auto;padding:1rem}code{font-size:.95em}\
h2{margin-top:2.5rem;border-bottom:1px solid}h3{margin-top:2rem}nav ul{columns:20rem;padding-left:1.2rem}\
table{border-collapse:collapse;width:100%;margin:.5rem 0}th,td{text-align:left;vertical-align:top;padding:.25rem .75rem .25rem 0;\
border-bottom:1px solid color-mix(in srgb,currentColor 25%,transparent)}th:first-child,td:first-child{white-space:nowrap}";

/// Renders the page.
pub(super) fn render(document: &Value) -> String {
    let mut page = Page(String::new());
    page.whole(document);
    page.0
}

struct Page(String);

impl Page {
    fn add(&mut self, text: &str) {
        self.0.push_str(text);
    }

    fn whole(&mut self, document: &Value) {
        let info = &document["info"];
        let title = format!("{} {} API", text(&info["title"]), text(&info["version"]));
        let title = escaped(&title);
        self.add("<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">");
        self.add("<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><link rel=\"icon\" href=\"data:,\">");
        self.add(&format!("<title>{title}</title><style>{STYLE}</style></head><body><header><h1>{title}</h1>"));
        self.prose(text(&info["description"]));
        self.add("<p>The same for programs: <a href=\"openapi.json\">openapi.json</a> (OpenAPI 3.1).</p></header>");
        let tags: Vec<&Value> = document["tags"].as_array().into_iter().flatten().collect();
        self.add("<nav aria-label=\"Operations\">");
        for tag in &tags {
            let name = text(&tag["name"]);
            self.add(&format!("<h2>{}</h2><ul>", escaped(name)));
            for (path, method, operation) in operations(document, name) {
                let (id, method) = (escaped(text(&operation["operationId"])), method.to_uppercase());
                self.add(&format!("<li><a href=\"#{id}\"><code>{method} {}</code></a></li>", escaped(path)));
            }
            self.add("</ul>");
        }
        self.add("</nav><main>");
        for tag in &tags {
            let name = text(&tag["name"]);
            self.add(&format!("<h2>{}</h2>", escaped(name)));
            self.prose(text(&tag["description"]));
            for (path, method, operation) in operations(document, name) {
                self.operation(path, method, operation);
            }
        }
        self.add("<h2>Types</h2>");
        for (name, schema) in document["components"]["schemas"].as_object().into_iter().flatten() {
            self.add(&format!("<section id=\"type-{0}\"><h3>{0}</h3>", escaped(name)));
            self.prose(text(&schema["description"]));
            self.properties(schema);
            self.add("</section>");
        }
        self.add("<h2>Problems</h2><p>The <code>type</code> of a problem is <code>urn:waypost:problem:</code> and its name.</p>");
        self.add("<table><thead><tr><th>name</th><th>status</th><th>title</th></tr></thead><tbody>");
        for kind in KINDS {
            let (name, status, title) = (kind.name, kind.status, escaped(kind.title));
            self.add(&format!("<tr><td><code>{name}</code></td><td>{status}</td><td>{title}</td></tr>"));
        }
        self.add("</tbody></table></main></body></html>");
    }

    /// A text in paragraphs, with code between backticks.
    fn prose(&mut self, prose: &str) {
        for paragraph in prose.split("\n\n").filter(|paragraph| !paragraph.is_empty()) {
            self.add(&format!("<p>{}</p>", marked(paragraph)));
        }
    }

    fn operation(&mut self, path: &str, method: &str, operation: &Value) {
        let (id, method) = (escaped(text(&operation["operationId"])), method.to_uppercase());
        self.add(&format!("<section id=\"{id}\"><h3><code>{method} {}</code></h3>", escaped(path)));
        self.prose(text(&operation["summary"]));
        self.prose(text(&operation["description"]));
        if operation["security"].as_array().is_some_and(|ways| !ways.contains(&Value::Object(Map::new()))) {
            self.add("<p>Needs a key.</p>");
        }
        let parameters: Vec<&Value> = operation["parameters"].as_array().into_iter().flatten().collect();
        if !parameters.is_empty() {
            self.add(
                "<table><thead><tr><th>parameter</th><th>in</th><th>type</th><th>meaning</th></tr></thead><tbody>",
            );
            for parameter in parameters {
                let [name, place, meaning] = ["name", "in", "description"].map(|key| text(&parameter[key]));
                let optional = if parameter["required"] == true { "" } else { ", optional" };
                let kind = kind_of(&parameter["schema"]);
                self.add(&format!(
                    "<tr><td><code>{}</code></td><td>{place}{optional}</td><td>{kind}</td>",
                    escaped(name)
                ));
                self.add(&format!("<td>{}</td></tr>", marked(meaning)));
            }
            self.add("</tbody></table>");
        }
        let bodies = contents(&operation["requestBody"]);
        if !bodies.is_empty() {
            self.add(&format!("<p>Body: {bodies}</p>"));
        }
        self.add("<table><thead><tr><th>status</th><th>body</th><th>meaning</th></tr></thead><tbody>");
        for (status, response) in operation["responses"].as_object().into_iter().flatten() {
            let (bodies, meaning) = (contents(response), marked(text(&response["description"])));
            self.add(&format!("<tr><td>{status}</td><td>{bodies}</td><td>{meaning}</td></tr>"));
        }
        self.add("</tbody></table></section>");
    }

    fn properties(&mut self, schema: &Value) {
        let Some(properties) = schema["properties"].as_object() else {
            self.add(&format!("<p>{}</p>", kind_of(schema)));
            return;
        };
        let required: Vec<&Value> = schema["required"].as_array().into_iter().flatten().collect();
        self.add("<table><thead><tr><th>property</th><th>type</th><th>meaning</th></tr></thead><tbody>");
        for (name, property) in properties {
            let optional = if required.contains(&&Value::from(name.as_str())) { "" } else { ", optional" };
            let (kind, meaning) = (kind_of(property), marked(text(&property["description"])));
            self.add(&format!(
                "<tr><td><code>{}</code></td><td>{kind}{optional}</td><td>{meaning}</td></tr>",
                escaped(name)
            ));
        }
        self.add("</tbody></table>");
    }
}

/// The operations of a tag, in the order of their paths. `HEAD` is left out: it is `GET` without the body.
fn operations<'a>(document: &'a Value, tag: &'a str) -> impl Iterator<Item = (&'a str, &'a str, &'a Value)> {
    let paths = document["paths"].as_object().into_iter().flatten();
    let all = paths.flat_map(|(path, item)| METHODS.iter().map(move |method| (path.as_str(), *method, &item[*method])));
    all.filter(move |(_, _, operation)| operation["tags"][0] == tag)
}

/// The content types of a body, with their types.
fn contents(of: &Value) -> String {
    let mut all = String::new();
    for (media, content) in of["content"].as_object().into_iter().flatten() {
        let comma = if all.is_empty() { "" } else { ", " };
        let kind = kind_of(&content["schema"]);
        let _ = write!(all, "{comma}{kind} as <code>{}</code>", escaped(media));
    }
    all
}

/// A type in words, with links to named ones.
fn kind_of(schema: &Value) -> String {
    if let Some(name) = schema["$ref"].as_str().and_then(|target| target.rsplit('/').next()) {
        return format!("<a href=\"#type-{0}\">{0}</a>", escaped(name));
    }
    for key in ["oneOf", "anyOf", "allOf"] {
        if let Some(kinds) = schema[key].as_array() {
            return kinds.iter().map(kind_of).collect::<Vec<_>>().join(if key == "allOf" { " and " } else { " or " });
        }
    }
    if let Some(values) = schema["enum"].as_array() {
        let value = |value: &Value| format!("<code>{}</code>", escaped(value.as_str().unwrap_or_default()));
        return values.iter().map(value).collect::<Vec<_>>().join(", ");
    }
    let one = |kind: &str| match (kind, schema["format"].as_str()) {
        ("array", _) => format!("list of {}", kind_of(&schema["items"])),
        ("string", Some(format)) => format!("string ({})", escaped(format)),
        (kind, _) => escaped(kind),
    };
    match &schema["type"] {
        Value::String(kind) => one(kind),
        Value::Array(kinds) => kinds.iter().map(|kind| one(text(kind))).collect::<Vec<_>>().join(" or "),
        _ => "any".to_owned(),
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Code between backticks becomes code; line ends are spaces.
fn marked(text: &str) -> String {
    let parts = escaped(text);
    let parts = parts.split('`').enumerate();
    parts.map(|(at, part)| if at % 2 == 1 { format!("<code>{part}</code>") } else { part.to_owned() }).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn types_are_told_in_words() {
        for (schema, words) in [
            (json!({ "type": "string" }), "string"),
            (json!({ "type": ["string", "null"], "format": "date-time" }), "string (date-time) or null"),
            (
                json!({ "type": "array", "items": { "$ref": "#/components/schemas/Link" } }),
                "list of <a href=\"#type-Link\">Link</a>",
            ),
            (json!({ "oneOf": [{ "type": "null" }, { "type": "integer" }] }), "null or integer"),
            (json!({ "type": "string", "enum": ["a", "b"] }), "<code>a</code>, <code>b</code>"),
            (json!({}), "any"),
        ] {
            assert_eq!(kind_of(&schema), words);
        }
    }

    #[test]
    fn texts_are_escaped_and_code_is_marked() {
        assert_eq!(marked("a < b, `x & y`"), "a &lt; b, <code>x &amp; y</code>");
    }
}
