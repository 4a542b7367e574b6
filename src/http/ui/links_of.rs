//! Links as views show them.

use actix_web::HttpRequest;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use waypost_protocol::Link;
use waypost_protocol::link::LinkCounts;
use waypost_protocol::messages::LinkView;

use crate::app::Listed;
use crate::http::state::NodeState;
use crate::qr::{Color, Level, Look, Modules, svg};
use crate::ui::LinkItem;

/// The size of a small QR code: it is drawn in shapes, so this is only its proportion.
const QR_SIZE: u32 = 256;
/// Its margin: there is white around it already.
const QR_MARGIN: u32 = 2;

impl NodeState {
    /// A link for a view.
    pub(super) fn link_item(&self, request: &HttpRequest, link: &Link, counts: LinkCounts) -> LinkItem {
        let site = self.app.site(link.key.domain);
        LinkItem::of(link, counts, self.short_url(request, &link.key), &site, (self.clock)())
    }

    /// The links of a list for a view.
    pub(super) fn link_items(&self, request: &HttpRequest, listed: &Listed) -> Vec<LinkItem> {
        let item = |LinkView { link, counts }: &LinkView| self.link_item(request, link, *counts);
        listed.items.iter().map(|(_, view)| item(view)).collect()
    }
}

/// A small QR code of a URL, as an address that has the image in it; empty if the URL is too long for one.
pub(super) fn qr_of(url: &str) -> String {
    let image = Modules::of(url, Level::default())
        .ok()
        .and_then(|modules| svg(&modules, &Look::new(QR_SIZE, QR_MARGIN, Color::BLACK, Color::WHITE).ok()?).ok());
    image.map_or_else(String::new, |image| format!("data:image/svg+xml;base64,{}", STANDARD.encode(image)))
}
