//! `/ui`: the live page, compiled in. Static: it holds no data, and runs nothing that is not its own.

use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use sha2::{Digest as _, Sha256};

use super::pages::problem;

/// A file of the page: its name, its type, its bytes.
type File = (&'static str, &'static str, &'static [u8]);

#[cfg(feature = "ui")]
macro_rules! files {
    ($($name:literal $kind:literal $path:literal),* $(,)?) => {
        const FILES: &[File] = &[$(($name, $kind, include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/", $path)))),*];
    };
}

#[cfg(feature = "ui")]
files! {
    "" "text/html; charset=utf-8" "ui/index.html",
    "style.css" "text/css; charset=utf-8" "ui/style.css",
    "icon.svg" "image/svg+xml" "ui/icon.svg",
    "app.js" "text/javascript; charset=utf-8" "ui/app.js",
    "chart.js" "text/javascript; charset=utf-8" "ui/chart.js",
    "client.js" "text/javascript; charset=utf-8" "ui/client.js",
    "columns.js" "text/javascript; charset=utf-8" "ui/columns.js",
    "config.js" "text/javascript; charset=utf-8" "ui/config.js",
    "dom.js" "text/javascript; charset=utf-8" "ui/dom.js",
    "feed.js" "text/javascript; charset=utf-8" "ui/feed.js",
    "format.js" "text/javascript; charset=utf-8" "ui/format.js",
    "heat.js" "text/javascript; charset=utf-8" "ui/heat.js",
    "kafka.js" "text/javascript; charset=utf-8" "ui/kafka.js",
    "overview.js" "text/javascript; charset=utf-8" "ui/overview.js",
    "table.js" "text/javascript; charset=utf-8" "ui/table.js",
    "tap.js" "text/javascript; charset=utf-8" "ui/tap.js",
    "topic.js" "text/javascript; charset=utf-8" "ui/topic.js",
    "uplot.js" "text/javascript; charset=utf-8" ".cache/uplot/package/dist/uPlot.esm.js",
    "uplot.css" "text/css; charset=utf-8" ".cache/uplot/package/dist/uPlot.min.css",
}

#[cfg(not(feature = "ui"))]
const FILES: &[File] = &[];

/// Only what comes from here, no inline script, in nobody's frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The paths of the page are relative to `/ui/`, so that it works behind any prefix.
pub(super) async fn enter() -> Response {
    (StatusCode::PERMANENT_REDIRECT, [(header::LOCATION, "ui/")]).into_response()
}

/// The page itself.
pub(super) async fn index(headers: HeaderMap) -> Response {
    serve("", &headers)
}

/// One of its files.
pub(super) async fn file(Path(name): Path<String>, headers: HeaderMap) -> Response {
    serve(&name, &headers)
}

fn serve(name: &str, asked: &HeaderMap) -> Response {
    serve_of(FILES, name, asked)
}

fn serve_of(files: &[File], name: &str, asked: &HeaderMap) -> Response {
    if files.is_empty() {
        let detail = "this klamm was built without the live page; `make` builds it in: cargo build --features ui, after `make uplot`";
        return problem(StatusCode::NOT_IMPLEMENTED, detail);
    }
    let Some((_, kind, bytes)) = files.iter().find(|(known, ..)| *known == name) else {
        return problem(StatusCode::NOT_FOUND, "the live page has no such file");
    };
    let tag = format!("\"{}\"", hex::encode(Sha256::digest(bytes).get(..8).unwrap_or_default()));
    let known = asked.get(header::IF_NONE_MATCH).is_some_and(|tags| tags.as_bytes() == tag.as_bytes());
    let mut response =
        if known { StatusCode::NOT_MODIFIED.into_response() } else { axum::body::Body::from(*bytes).into_response() };
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, *kind),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-cache"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if let Ok(tag) = HeaderValue::try_from(tag) {
        headers.insert(header::ETAG, tag);
    }
    response
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn a_build_without_the_page_says_how_to_get_it() {
        let answer = serve_of(&[], "", &HeaderMap::new());
        assert_eq!(answer.status(), StatusCode::NOT_IMPLEMENTED);
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        assert!(std::str::from_utf8(&body).unwrap().contains("--features ui"), "{body:?}");
    }

    #[test]
    fn every_module_that_a_module_asks_for_is_there_and_nothing_comes_from_elsewhere() {
        for (name, _, bytes) in FILES.iter().filter(|(name, ..)| name.ends_with(".js") && *name != "uplot.js") {
            let text = std::str::from_utf8(bytes).unwrap();
            for (_, rest) in text.match_indices("from \"").map(|(at, quote)| text.split_at(at + quote.len())) {
                let asked = rest.split('"').next().unwrap().strip_prefix("./").unwrap_or("elsewhere");
                assert!(FILES.iter().any(|(known, ..)| *known == asked), "{name} asks for {asked}");
            }
            assert!(!text.contains("innerHTML") && !text.contains("eval("), "{name}");
        }
    }
}
