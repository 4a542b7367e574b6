//! The choice of theme, language and keys.

use actix_web::http::header::SET_COOKIE;
use actix_web::{HttpRequest, HttpResponse, web};

use super::context::{CHOICE_KEPT, KEYS, LANGUAGE, THEME, base, is_language, path_of_ours, set_cookie};
use super::reply::go_to;
use crate::http::problem::Problem;
use crate::ui::{Form, Theme};

/// Keeps a choice, also of those who have not signed in, and goes back.
pub(super) async fn choose(request: HttpRequest, body: web::Bytes) -> Result<HttpResponse, Problem> {
    let form = Form::read(&body);
    let mut response = go_to(&path_of_ours(base(&request), form.value("back")));
    let mut keep = |name, value| {
        response.headers_mut().append(SET_COOKIE, set_cookie(&request, name, value, CHOICE_KEPT));
    };
    if let Some(theme) = form.given("theme") {
        keep(THEME, Theme::of(theme).name());
    }
    if let Some(keys @ ("on" | "off")) = form.given("keys") {
        keep(KEYS, keys);
    }
    if let Some(language) = form.given("language").filter(|language| is_language(language)) {
        keep(LANGUAGE, language);
    }
    Ok(response)
}
