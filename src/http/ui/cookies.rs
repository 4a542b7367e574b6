//! The cookie of a session.
//!
//! Its name has no prefix: `__Host-` would ask for the path `/`, and so for the cookie with each visit of a short link.

use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::http::header::{COOKIE, HeaderValue};

use crate::app::SessionToken;

/// The name of the cookie.
const SESSION: &str = "waypost_session";

/// Tokens of a request that are looked at: a browser may send cookies of several paths, and of a parent domain.
const TOKENS_MAX: usize = 4;

/// The tokens of a request, in their order.
pub(super) fn tokens(request: &HttpRequest) -> Vec<SessionToken> {
    let headers = request.headers().get_all(COOKIE).filter_map(|header| header.to_str().ok());
    let pairs = headers.flat_map(|header| header.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs
        .filter(|(name, _)| *name == SESSION)
        .filter_map(|(_, token)| SessionToken::parse(token))
        .take(TOKENS_MAX)
        .collect()
}

/// Gives the browser a token for so long. With `secure` it sends it by https only.
pub(super) fn keep(path: &str, token: &SessionToken, secure: bool, time: Duration) -> HeaderValue {
    cookie(path, token.reveal(), secure, time.as_secs())
}

/// Takes the token away from the browser.
pub(super) fn forget(path: &str, secure: bool) -> HeaderValue {
    cookie(path, "", secure, 0)
}

fn cookie(path: &str, value: &str, secure: bool, seconds: u64) -> HeaderValue {
    let secure = if secure { "; Secure" } else { "" };
    let text = format!("{SESSION}={value}; Path={path}; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}");
    let mut value = HeaderValue::from_str(&text).expect("invariant: paths and tokens are visible ASCII");
    value.set_sensitive(true);
    value
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn no_script_and_no_page_elsewhere_gets_the_cookie() {
        let token = SessionToken::parse(&"a".repeat(64)).unwrap();
        let text = |value: HeaderValue| value.to_str().unwrap().to_owned();
        let kept = text(keep("/ui", &token, true, Duration::from_secs(60)));
        let expected =
            format!("waypost_session={}; Path=/ui; Max-Age=60; HttpOnly; SameSite=Lax; Secure", token.reveal());
        assert_eq!(kept, expected);
        assert_eq!(text(forget("/-/ui", false)), "waypost_session=; Path=/-/ui; Max-Age=0; HttpOnly; SameSite=Lax");
    }

    #[test]
    fn tokens_are_found_among_other_cookies_and_only_a_few() {
        let [one, two] = ["1", "2"].map(|digit| digit.repeat(64));
        let cookies =
            format!("a=b; waypost_session=x; waypost_session={one};waypost_session={two}; xwaypost_session={one}");
        let request = TestRequest::default().insert_header((COOKIE, cookies)).to_http_request();
        let found: Vec<String> = tokens(&request).iter().map(|token| token.reveal().to_owned()).collect();
        assert_eq!(found, [one.clone(), two]);
        let many = vec![format!("waypost_session={one}"); 50].join(";");
        let request = TestRequest::default().insert_header((COOKIE, many)).to_http_request();
        assert_eq!(tokens(&request).len(), TOKENS_MAX);
    }
}
