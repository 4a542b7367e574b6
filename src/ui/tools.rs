//! What brings URLs here from elsewhere: a bookmark, an installed app, a search keyword.

use askama::Template;
use serde_json::json;

use super::{Context, Section, Theme};

/// The page that explains them.
#[derive(Template)]
#[template(path = "tools.html")]
pub struct ToolsView {
    /// What every view needs.
    pub cx: Context,
    /// The address of the dashboard for browsers, without a slash at its end.
    pub address: String,
}

impl ToolsView {
    /// A bookmark that opens the form with the address and the title of the page that one is on.
    fn bookmarklet(&self) -> String {
        // A page may have a longer title than a link.
        let new = format!("{}/new?url=", self.address).replace('\\', "").replace('\'', "%27");
        format!(
            "javascript:location.href='{new}'+encodeURIComponent(location.href)+'&title='+encodeURIComponent(document.title.slice(0,200))"
        )
    }

    /// The address for a search keyword: `%s` is what is typed behind it.
    fn keyword(&self) -> String {
        format!("{}/links?q=%s", self.address)
    }
}

/// The manifest of the web app: how it is installed, and that URLs can be shared with it. A share only fills the form.
pub fn manifest(cx: &Context) -> Vec<u8> {
    let icon = |name: &str, sizes: &str, purpose: &str| {
        let kind = if name.ends_with("svg") { "image/svg+xml" } else { "image/png" };
        json!({ "src": cx.asset(name), "sizes": sizes, "type": kind, "purpose": purpose })
    };
    let manifest = json!({
        "name": "Waypost",
        "short_name": "Waypost",
        "id": format!("{}/", cx.base),
        "start_url": format!("{}/", cx.base),
        "scope": format!("{}/", cx.base),
        "lang": cx.language.tag,
        "dir": cx.language.direction(),
        "display": "standalone",
        "background_color": "#f6f8f5",
        "theme_color": "#0b6e4f",
        "icons": [
            icon("icon-192.png", "192x192", "any"),
            icon("icon-512.png", "512x512", "any"),
            icon("icon-maskable.png", "512x512", "maskable"),
            icon("icon.svg", "any", "any"),
        ],
        "shortcuts": [
            { "name": cx.t("links.new"), "url": format!("{}/new", cx.base) },
            { "name": cx.t("links.title"), "url": format!("{}/links", cx.base) },
        ],
        "share_target": {
            "action": format!("{}/new", cx.base),
            "method": "GET",
            "params": { "title": "title", "text": "text", "url": "url" },
        },
    });
    serde_json::to_vec(&manifest).expect("invariant: a document of texts is JSON")
}

/// The search description (OpenSearch 1.1): browsers offer the links as something to search. `address` is as for [`ToolsView`].
#[derive(Template)]
#[template(path = "opensearch.xml")]
pub struct OpenSearch {
    /// What every view needs.
    pub cx: Context,
    /// The address of the dashboard for browsers.
    pub address: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bookmark_and_the_keyword_lead_to_this_server() {
        let view = ToolsView { cx: Context::example("en"), address: "https://go.example/ui".to_owned() };
        assert!(view.bookmarklet().starts_with("javascript:location.href='https://go.example/ui/new?url='+"));
        assert_eq!(view.keyword(), "https://go.example/ui/links?q=%s");
        let page = view.render().unwrap();
        assert!(page.contains("href=\"javascript:location.href=&#39;https://go.example/ui/new?url=&#39;"), "{page}");
        // No address ends the text of the script.
        let view = ToolsView { cx: Context::example("en"), address: "https://x'+alert(1)+'/\\ui".to_owned() };
        assert!(!view.bookmarklet().contains("'+alert"), "{}", view.bookmarklet());
    }

    #[test]
    fn the_manifest_names_files_that_exist_and_a_share_fills_the_form_only() {
        let cx = Context::example("de");
        let manifest: serde_json::Value = serde_json::from_slice(&manifest(&cx)).unwrap();
        for icon in manifest["icons"].as_array().unwrap() {
            let path = icon["src"].as_str().unwrap().strip_prefix("/ui/assets/").unwrap();
            assert!(super::super::asset(path).is_some_and(|(_, current)| current), "{path}");
        }
        assert_eq!(manifest["share_target"]["method"], "GET");
        assert_eq!((manifest["lang"].as_str(), manifest["start_url"].as_str()), (Some("de"), Some("/ui/")));
    }

    #[test]
    fn the_search_description_has_the_address_as_a_text() {
        let cx = Context::example("en");
        let xml = OpenSearch { cx, address: "https://go.example/ui".to_owned() }.render().unwrap();
        assert!(xml.contains("template=\"https://go.example/ui/links?q={searchTerms}\""), "{xml}");
    }
}
