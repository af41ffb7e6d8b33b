//! Who may ask the admin listener what.

use std::net::IpAddr;
use std::time::Instant;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode, header};
use time::OffsetDateTime;

use super::App;
use super::access::{Access, Pass};
use super::login::token;
use super::pages::problem;
use crate::config::{Config, Listen, MetricsKey};
use crate::http::problem::whole_seconds;
use crate::stages::auth::Peer;
use crate::stages::auth::api_key::{self, Keys};
use crate::units::host_name;

/// The layer around every route. What it lets through carries its [`Pass`].
pub(super) async fn guard(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let config = app.live.current();
    let peer = request.extensions().get::<Peer>().copied();
    let peer = peer.and_then(|peer| app.proxies.client(peer, request.headers()));
    match check(&config, &app.listen, &app.access, peer, &request) {
        Ok(pass) => {
            request.extensions_mut().insert(pass);
            next.run(request).await
        }
        Err(response) => *response,
    }
}

fn check(
    config: &Config,
    listen: &Listen,
    access: &Access,
    peer: Option<IpAddr>,
    request: &Request,
) -> Result<Pass, Box<Response>> {
    let local = is_local(listen);
    let keys = &config.admin.keys;
    if keys.is_empty() && local && !host_is_known(config, listen, request) {
        let detail = "the Host of this request is not one of this listener; see admin.hosts";
        return Err(Box::new(problem(StatusCode::MISDIRECTED_REQUEST, detail)));
    }
    if !needs_key(config, request.uri().path()) {
        return Ok(Pass::Open);
    }
    if keys.is_empty() {
        return if local {
            Ok(Pass::Open)
        } else {
            Err(Box::new(problem(StatusCode::FORBIDDEN, "configure admin.keys to use /admin off loopback")))
        };
    }
    let known = Keys::from_list(keys);
    let now = OffsetDateTime::now_utc();
    if let Some(pass) = token(request.headers()).and_then(|token| access.session(token, &known, now)) {
        return Ok(pass);
    }
    let proven = prove(access, peer, request.headers(), &known)?;
    proven.ok_or_else(|| {
        let detail = "send an admin key as `Authorization: Bearer <key>`, or log in";
        let response = problem(StatusCode::UNAUTHORIZED, detail);
        Box::new(([(header::WWW_AUTHENTICATE, "Bearer realm=\"klamm-admin\"")], response).into_response())
    })
}

/// The pages that hold no data (the live page itself, its login) need none; neither do probes.
fn needs_key(config: &Config, path: &str) -> bool {
    match path {
        "/metrics" => config.metrics.key == MetricsKey::Required,
        "/admin/login" | "/admin/logout" => false,
        _ => path.starts_with("/admin"),
    }
}

/// The key that `headers` show, if it is good. A wrong one counts against `peer`.
///
/// # Errors
/// 429 where the peer has shown too many wrong ones.
pub(super) fn prove(
    access: &Access,
    peer: Option<IpAddr>,
    headers: &HeaderMap,
    known: &Keys,
) -> Result<Option<Pass>, Box<Response>> {
    let Some(digest) = api_key::shown(headers) else { return Ok(None) };
    let now = Instant::now();
    if let Err(wait) = access.may_try(peer, now) {
        let response = problem(StatusCode::TOO_MANY_REQUESTS, "too many wrong keys came from this address");
        return Err(Box::new(([(header::RETRY_AFTER, whole_seconds(wait).to_string())], response).into_response()));
    }
    let good = known.has(&digest, OffsetDateTime::now_utc());
    if !good {
        access.wrong(peer, now);
    }
    Ok(good.then_some(Pass::Key(digest)))
}

/// Whether no key is needed for want of one.
pub(super) fn is_open(config: &Config, listen: &Listen) -> bool {
    config.admin.keys.is_empty() && is_local(listen)
}

fn is_local(listen: &Listen) -> bool {
    match listen {
        Listen::Tcp(address) => address.ip().is_loopback(),
        Listen::Unix(_) => true,
    }
}

fn host_is_known(config: &Config, listen: &Listen, request: &Request) -> bool {
    if matches!(listen, Listen::Unix(_)) {
        return true;
    }
    let header = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let Some(host) = request.uri().authority().map(|authority| authority.as_str()).or(header) else { return false };
    let name = host_name(host);
    let listens = matches!(listen, Listen::Tcp(address) if name.parse() == Ok(address.ip()));
    listens
        || name.eq_ignore_ascii_case("localhost")
        || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
        || config.admin.hosts.iter().any(|known| name.eq_ignore_ascii_case(known) || host.eq_ignore_ascii_case(known))
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;
    use crate::config::Key;

    fn status(config: &Config, listen: &str, path: &str, headers: &[(&str, &str)]) -> u16 {
        let mut request = Request::builder().uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::empty()).unwrap();
        let access = Access::default();
        let checked = check(config, &listen.parse().unwrap(), &access, None, &request);
        checked.map_or_else(|response| response.status().as_u16(), |_| 200)
    }

    #[test]
    fn a_host_of_somewhere_else_gets_421_on_loopback_without_a_key() {
        let mut config = Config::default();
        for host in ["localhost:8081", "LOCALHOST", "127.0.0.1:8081", "[::1]:8081", "127.0.0.9"] {
            assert_eq!(status(&config, "127.0.0.1:8081", "/metrics", &[("host", host)]), 200, "{host}");
        }
        for host in ["evil.example:8081", "evil.example", "127.0.0.1.evil.example", "10.0.0.1"] {
            assert_eq!(status(&config, "127.0.0.1:8081", "/metrics", &[("host", host)]), 421, "{host}");
        }
        assert_eq!(status(&config, "127.0.0.1:8081", "/metrics", &[]), 421);
        config.admin.hosts = vec!["ops.example".into()];
        assert_eq!(status(&config, "127.0.0.1:8081", "/admin/config", &[("host", "ops.example:8081")]), 200);
    }

    #[test]
    fn off_loopback_admin_is_403_until_a_key_is_configured_and_then_needs_it() {
        let mut config = Config::default();
        assert_eq!(status(&config, "0.0.0.0:8081", "/metrics", &[("host", "10.0.0.1:8081")]), 200);
        assert_eq!(status(&config, "0.0.0.0:8081", "/admin/clients", &[("host", "10.0.0.1:8081")]), 403);
        // The digest of `sesame`.
        let sha256 = "d0c04f4b1951e4aeaaec8223ed2039e542f3aae805a6fa7f6d794e5afff5d272".into();
        config.admin.keys = vec![Key { label: "ops".into(), sha256, ..Key::default() }];
        for (headers, expected) in [
            (vec![], 401),
            (vec![("authorization", "Bearer wrong")], 401),
            (vec![("authorization", "Bearer sesame")], 200),
        ] {
            assert_eq!(status(&config, "0.0.0.0:8081", "/admin/clients", &headers), expected, "{headers:?}");
        }
        assert_eq!(status(&config, "127.0.0.1:8081", "/livez", &[("host", "evil.example")]), 200);
        assert_eq!(status(&config, "127.0.0.1:8081", "/metrics", &[]), 200);
        config.metrics.key = MetricsKey::Required;
        assert_eq!(status(&config, "127.0.0.1:8081", "/metrics", &[]), 401);
        assert_eq!(status(&config, "127.0.0.1:8081", "/metrics", &[("authorization", "Bearer sesame")]), 200);
        for path in ["/livez", "/readyz", "/startupz", "/ui", "/ui/app.js", "/admin/login"] {
            assert_eq!(status(&config, "0.0.0.0:8081", path, &[]), 200, "{path}");
        }
    }
}
