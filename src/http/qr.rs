//! `GET /api/v1/links/{code}/qr`: the short URL of a link as a QR code.

use actix_web::http::header::{CACHE_CONTROL, ETAG, HeaderValue, VARY, X_CONTENT_TYPE_OPTIONS};
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::accept::wants_svg;
use super::authorized::{Authorized, ReadLinks};
use super::if_match::is_known;
use super::openapi::{OfLink, UnlessKnown};
use super::problem::Problem;
use super::state::NodeState;
use crate::app::{Consistency, LinkName, Principal};
use crate::qr::{Color, Level, Look, MARGIN_DEFAULT, Modules, SIZE_DEFAULT, png, svg};
use waypost_protocol::messages::LinkView;

/// An edit does not change the code, and a deleted link costs a scanner a `404`. A key was needed, so shared caches keep nothing.
const ONE_HOUR: HeaderValue = HeaderValue::from_static("private, max-age=3600");

/// The format of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Format {
    /// Pixels.
    Png,
    /// Shapes, for print.
    Svg,
}

/// How the QR code looks.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct QrQuery {
    /// The format. Default: the one that `Accept` prefers, else `png`.
    #[param(inline)]
    format: Option<Format>,
    /// Width and height in pixels, with the margin: 64 to 1024; default 512.
    #[param(minimum = 64, maximum = 1024, default = 512)]
    size: Option<u32>,
    /// The least margin on each side in modules: 0 to 16; default 4, as the standard asks for.
    #[param(minimum = 0, maximum = 16, default = 4)]
    margin: Option<u32>,
    /// How much of the code may be damaged: `L` 7 %, `M` 15 % (default), `Q` 25 %, `H` 30 %.
    #[serde(default)]
    #[param(value_type = String, required = false, pattern = "^[LMQHlmqh]$", default = "M")]
    error_correction: Level,
    /// The colour of the dark modules, three or six hexadecimal digits; default `000000`.
    #[param(pattern = "^([0-9A-Fa-f]{3}){1,2}$")]
    color: Option<String>,
    /// The colour of the background; default `ffffff`. It has to be lighter: a contrast of 3 at least.
    #[param(pattern = "^([0-9A-Fa-f]{3}){1,2}$")]
    background: Option<String>,
    /// The host of the link's domain; without it the default domain.
    #[param(example = "go.example")]
    domain: Option<String>,
}

impl QrQuery {
    /// The host of the link's domain.
    pub(super) fn domain(&self) -> Option<&str> {
        self.domain.as_deref()
    }

    fn look(&self) -> Result<Look, Problem> {
        let dark = parse(self.color.as_deref(), "color", Color::BLACK)?;
        let light = parse(self.background.as_deref(), "background", Color::WHITE)?;
        Ok(Look::new(self.size.unwrap_or(SIZE_DEFAULT), self.margin.unwrap_or(MARGIN_DEFAULT), dark, light)?)
    }
}

fn parse(text: Option<&str>, field: &'static str, default: Color) -> Result<Color, Problem> {
    text.map_or(Ok(default), |text| text.parse().map_err(|error| Problem::of_color(field, error)))
}

/// Answers the QR code of a link's short URL.
#[utoipa::path(get, path = "/api/v1/links/{code}/qr", operation_id = "getQrCode", tag = "Links", params(OfLink, QrQuery, UnlessKnown),
    responses(
        (status = 200, description = "The image", headers(("ETag" = String, description = "Identifies this image")),
            content((Vec<u8> = "image/png"), (String = "image/svg+xml"))),
        (status = 304, description = "The image is one that `If-None-Match` names", headers(("ETag" = String, description = "Identifies this image")))
    ))]
pub(super) async fn of_link(
    caller: Authorized<ReadLinks>,
    request: HttpRequest,
    path: web::Path<String>,
    query: web::Query<QrQuery>,
    node: web::Data<NodeState>,
) -> Result<HttpResponse, Problem> {
    let name = LinkName { domain: query.domain.as_deref(), code: &path };
    let format = query.format.unwrap_or(if wants_svg(&request) { Format::Svg } else { Format::Png });
    image(&node, &request, &caller.principal, name, &query, format).await
}

/// The QR code of a link's short URL in a format.
pub(super) async fn image(
    node: &NodeState,
    request: &HttpRequest,
    principal: &Principal,
    name: LinkName<'_>,
    query: &QrQuery,
    format: Format,
) -> Result<HttpResponse, Problem> {
    let look = query.look()?;
    let LinkView { link, .. } = node.app.link(principal, name, Consistency::Local).await?;
    let modules = Modules::of(&node.short_url(request, &link.key), query.error_correction)?;
    let (kind, image) = match format {
        Format::Png => ("image/png", png(&modules, &look)?),
        Format::Svg => ("image/svg+xml", svg(&modules, &look)?.into_bytes()),
    };
    let tag = format!("\"{}\"", &blake3::hash(&image).to_hex()[..32]);
    let known = is_known(request.headers(), &tag);
    let mut response = if known { HttpResponse::NotModified() } else { HttpResponse::Ok() };
    response.insert_header((ETAG, tag)).insert_header((CACHE_CONTROL, ONE_HOUR)).insert_header((VARY, "accept"));
    if known {
        return Ok(response.finish());
    }
    Ok(response.insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff")).content_type(kind).body(image))
}
