//! `POST /admin/login` and `/admin/logout`: a key for a session cookie, and back. `GET /admin/session` says whether it holds.

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Deserialize;
use serde_json::json;
use time::OffsetDateTime;

use super::App;
use super::access::{Pass, SESSION};
use super::guard;
use super::pages::problem;
use crate::stages::auth::Peer;
use crate::stages::auth::api_key::Keys;

const COOKIE: &str = "klamm_session";
/// The body of a login is not larger.
const BODY: usize = 4096;

#[derive(Deserialize)]
struct Login {
    key: String,
}

/// Opens a session for the key in the body, `{"key": "..."}`. As JSON: no other site's form can send that.
pub(super) async fn login(State(app): State<App>, request: Request) -> Response {
    let config = app.live.current();
    if config.admin.keys.is_empty() {
        return if guard::is_open(&config, &app.listen) {
            StatusCode::NO_CONTENT.into_response()
        } else {
            problem(StatusCode::FORBIDDEN, "configure admin.keys to use /admin off loopback")
        };
    }
    let (head, body) = request.into_parts();
    let is_json =
        head.headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
    let body = axum::body::to_bytes(body, BODY).await.ok().filter(|_| is_json);
    let Some(Login { key }) = body.and_then(|body| serde_json::from_slice(&body).ok()) else {
        return problem(StatusCode::BAD_REQUEST, "send {\"key\": \"...\"} as application/json");
    };
    let peer = head.extensions.get::<Peer>().copied().and_then(|peer| app.proxies.client(peer, &head.headers));
    let mut shown = HeaderMap::new();
    if let Ok(value) = HeaderValue::from_str(&key) {
        shown.insert("x-api-key", value);
    }
    let known = Keys::from_list(&config.admin.keys);
    match guard::prove(&app.access, peer, &shown, &known) {
        Ok(Some(Pass::Key(digest))) => {
            let mut random = [0; 32];
            if getrandom::fill(&mut random).is_err() {
                return problem(StatusCode::INTERNAL_SERVER_ERROR, "no random numbers");
            }
            let token = hex::encode(random);
            app.access.open(&token, digest, OffsetDateTime::now_utc());
            set_cookie(&token, SESSION.as_secs())
        }
        Ok(_) => problem(StatusCode::UNAUTHORIZED, "this is no admin key"),
        Err(response) => *response,
    }
}

/// Ends the session.
pub(super) async fn logout(State(app): State<App>, headers: HeaderMap) -> Response {
    if let Some(token) = token(&headers) {
        app.access.close(token);
    }
    set_cookie("", 0)
}

/// Whether the caller may look, and whether there is a session to end.
pub(super) async fn session(Extension(pass): Extension<Pass>) -> Response {
    Json(json!({ "session": matches!(pass, Pass::Session(_)) })).into_response()
}

fn set_cookie(token: &str, seconds: u64) -> Response {
    let cookie = format!("{COOKIE}={token}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict");
    ([(header::SET_COOKIE, cookie), (header::CACHE_CONTROL, "no-store".to_owned())], StatusCode::NO_CONTENT)
        .into_response()
}

/// The session's token among the cookies.
pub(super) fn token(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == COOKIE).map(|(_, token)| token).filter(|token| !token.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_found_among_other_cookies() {
        let of = |cookie: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::COOKIE, cookie.parse().unwrap());
            token(&headers).map(str::to_owned)
        };
        assert_eq!(of("a=b; klamm_session=abc; c=d").as_deref(), Some("abc"));
        assert_eq!(of("xklamm_session=abc"), None);
        assert_eq!(of("klamm_session="), None);
    }
}
