//! Where requests go: addresses, and the request heads, one for each client and topic.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue};
use http::uri::{Authority, PathAndQuery, Scheme, Uri};

use super::{Form, Options};

/// An address and a path of HTTP without TLS.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) address: SocketAddr,
    pub(super) authority: Authority,
    pub(super) path: PathAndQuery,
}

impl Place {
    /// Parses and resolves a URL.
    pub(super) fn new(url: &str) -> Result<Self> {
        let uri: Uri = url.parse().with_context(|| format!("{url} is not a URL"))?;
        ensure!(uri.scheme() == Some(&Scheme::HTTP), "{url}: only http:// can be measured");
        let Some(authority) = uri.authority().cloned() else { bail!("{url} names no host") };
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        let address = (host, authority.port_u16().unwrap_or(80))
            .to_socket_addrs()
            .with_context(|| format!("{host} does not resolve"))?
            .next()
            .with_context(|| format!("{host} has no address"))?;
        let path = uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
        Ok(Self { address, authority, path })
    }
}

/// The head of a request, without what depends on its body.
#[derive(Debug, Clone)]
pub(super) struct Head {
    pub(super) authority: Authority,
    pub(super) path: PathAndQuery,
    pub(super) headers: HeaderMap,
}

impl Head {
    /// As HTTP/1.1 has it, without the last blank line.
    pub(super) fn to_h1(&self) -> Vec<u8> {
        let mut wire = format!("POST {} HTTP/1.1\r\n", self.path).into_bytes();
        if !self.headers.contains_key(HOST) {
            wire.extend_from_slice(format!("host: {}\r\n", self.authority).as_bytes());
        }
        for (name, value) in &self.headers {
            wire.extend_from_slice(name.as_str().as_bytes());
            wire.extend_from_slice(b": ");
            wire.extend_from_slice(value.as_bytes());
            wire.extend_from_slice(b"\r\n");
        }
        wire
    }
}

/// The address and the heads, which are taken in turn: topic by topic, then client by client.
pub(super) fn heads(options: &Options) -> Result<(SocketAddr, Vec<Head>)> {
    let base = base_headers(options)?;
    let clients = match &options.keys {
        Some(file) => keys(file)?,
        None => vec![None],
    };
    // One look-up of the name for all topics.
    let place = Place::new(&options.url.replace("{topic}", "topic"))?;
    let mut heads = Vec::with_capacity(clients.len() * options.topics.len());
    for client in &clients {
        for topic in &options.topics {
            let url = options.url.replace("{topic}", topic);
            let uri: Uri = url.parse().with_context(|| format!("{url} is not a URL"))?;
            let mut headers = base.clone();
            if let Some(key) = client {
                headers.insert(AUTHORIZATION, key.clone());
            }
            let path = uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
            heads.push(Head { authority: place.authority.clone(), path, headers });
        }
    }
    Ok((place.address, heads))
}

fn base_headers(options: &Options) -> Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    let content_type = match options.form {
        _ if options.template.is_some() => "application/json",
        Form::Single | Form::Array => "application/json",
        Form::Ndjson => "application/x-ndjson",
        Form::Envelope => "application/vnd.klamm.v1+json",
    };
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    if options.gzip {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    let mut given = HeaderMap::new();
    for header in &options.headers {
        // Never the header itself in a fault: it may be a secret.
        let (name, value) = header.split_once(':').context("a --header is not `Name: value`")?;
        let name: HeaderName = name.trim().parse().with_context(|| format!("{name:?} is no header's name"))?;
        let value = value.trim().parse().with_context(|| format!("the value of header {name} is not valid"))?;
        ensure!(
            name != "content-length" && name != "transfer-encoding" && name != "connection",
            "header {name} is the tool's own"
        );
        given.append(name, value);
    }
    for name in given.keys() {
        headers.remove(name);
    }
    headers.extend(given);
    Ok(headers)
}

fn keys(file: &Path) -> Result<Vec<Option<HeaderValue>>> {
    let text = std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
    let mut keys = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let key = line.trim();
        if key.is_empty() || key.starts_with('#') {
            continue;
        }
        let mut value = HeaderValue::from_str(&format!("Bearer {key}"))
            .with_context(|| format!("{}:{} is not a key", file.display(), index + 1))?;
        value.set_sensitive(true);
        keys.push(Some(value));
    }
    ensure!(!keys.is_empty(), "{} holds no key", file.display());
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_client_meets_each_topic() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("keys");
        std::fs::write(&file, "one\n\n# note\ntwo\n").unwrap();
        let options = Options {
            keys: Some(file),
            topics: vec!["a".into(), "b".into()],
            url: "http://127.0.0.1:1/t/{topic}?x=1".into(),
            ..Options::default()
        };
        let (address, heads) = heads(&options).unwrap();
        assert_eq!(address, "127.0.0.1:1".parse().unwrap());
        let seen: Vec<String> = heads
            .iter()
            .map(|head| format!("{} {}", head.path, head.headers[AUTHORIZATION].to_str().unwrap()))
            .collect();
        assert_eq!(seen, ["/t/a?x=1 Bearer one", "/t/b?x=1 Bearer one", "/t/a?x=1 Bearer two", "/t/b?x=1 Bearer two"]);
    }

    #[test]
    fn a_given_header_takes_the_place_of_the_tools() {
        let options = Options {
            headers: vec!["Content-Type: application/x-foo".into(), "X-A: 1".into(), "X-A: 2".into()],
            url: "http://localhost/x".into(),
            ..Options::default()
        };
        let (_, heads) = heads(&options).unwrap();
        let wire = String::from_utf8(heads[0].to_h1()).unwrap();
        assert!(wire.starts_with("POST /x HTTP/1.1\r\nhost: localhost\r\n"), "{wire}");
        assert_eq!(wire.matches("content-type").count(), 1);
        assert!(wire.contains("content-type: application/x-foo\r\n"));
        assert!(wire.contains("x-a: 1\r\nx-a: 2\r\n"));
    }

    #[test]
    fn a_fault_never_shows_a_secret() {
        let options = Options { headers: vec!["Authorization Bearer s3cret".into()], ..Options::default() };
        assert!(!format!("{:?}", heads(&options).unwrap_err()).contains("s3cret"));
        let tls = Options { url: "https://localhost/x".into(), ..Options::default() };
        assert!(heads(&tls).unwrap_err().to_string().contains("only http://"));
    }
}
