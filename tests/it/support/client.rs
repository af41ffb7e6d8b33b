//! A small HTTP client: one call, one whole answer. Keeps connections, as real clients do.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

/// No test waits longer than this for an answer.
const LIMIT: Duration = Duration::from_secs(60);

/// Calls one address; a clone shares its connections.
#[derive(Clone)]
pub(crate) struct Client {
    address: String,
    inner: hyper_util::client::legacy::Client<HttpConnector, Full<Bytes>>,
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Client {
    /// Speaks HTTP/1.1 with `address` (`127.0.0.1:8080`).
    pub(crate) fn new(address: &str) -> Self {
        let inner = hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build_http();
        Self { address: address.to_owned(), inner }
    }

    /// Speaks HTTP/2 without TLS, by prior knowledge.
    pub(crate) fn h2c(address: &str) -> Self {
        let inner = hyper_util::client::legacy::Client::builder(TokioExecutor::new()).http2_only(true).build_http();
        Self { address: address.to_owned(), inner }
    }

    /// GET `path`.
    pub(crate) async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.call(Method::GET, path, headers, Bytes::new()).await
    }

    /// POST `body` to `path`.
    pub(crate) async fn post(&self, path: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Answer {
        self.call(Method::POST, path, headers, body.into()).await
    }

    /// As [`Client::get`], without headers; the error where no whole answer came.
    pub(crate) async fn try_get(&self, path: &str) -> Result<Answer, String> {
        self.try_call(Method::GET, path, &[], Bytes::new()).await
    }

    /// As [`Client::post`]; the error where no whole answer came.
    pub(crate) async fn try_post(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<Answer, String> {
        self.try_call(Method::POST, path, headers, body.into()).await
    }

    /// Any call.
    pub(crate) async fn call(&self, method: Method, path: &str, headers: &[(&str, &str)], body: Bytes) -> Answer {
        self.try_call(method, path, headers, body).await.unwrap_or_else(|error| panic!("{error}"))
    }

    async fn try_call(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Result<Answer, String> {
        let what = format!("{method} {}{path}", self.address);
        let mut request = Request::builder().method(method).uri(format!("http://{}{path}", self.address));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body)).expect("a valid request");
        let call = async {
            let (parts, body) = self.inner.request(request).await?.into_parts();
            Ok::<_, Box<dyn std::error::Error>>((parts, body.collect().await?.to_bytes()))
        };
        let (parts, body) = tokio::time::timeout(LIMIT, call)
            .await
            .map_err(|_| format!("{what}: no answer within {LIMIT:?}"))?
            .map_err(|error| format!("{what}: {error:?}"))?;
        Ok(Answer { status: parts.status.as_u16(), headers: parts.headers, body })
    }
}

impl Answer {
    /// A header's value as text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("a header of text"))
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("not JSON ({error}): {}", String::from_utf8_lossy(&self.body)))
    }
}
