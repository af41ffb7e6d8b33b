//! Limits of a request's head: its target and its header fields; and what in it could be read in two ways.
//!
//! hyper's parser refuses most of what servers in a row read differently (RFC 9112, 11.2). What it lets pass is refused
//! here, and the connection closes: nothing behind such a head can be trusted to be a request.

use http::{HeaderMap, HeaderValue, Request, Uri, Version, header};

use crate::config::Caps;
use crate::reject::Reject;

/// Holds a head to `caps`.
///
/// # Errors
/// `UriTooLong` (path and query, in bytes), `HeadersTooLarge` (fields, or bytes of their names and values), `Ambiguous`
/// (who is asked, or how the body is framed).
pub fn check<B>(request: &Request<B>, caps: &Caps) -> Result<(), Reject> {
    check_coding(request.headers())?;
    check_host(request.version(), request.uri(), request.headers())?;
    let limit = caps.uri.len();
    if request.uri().path_and_query().is_some_and(|target| target.as_str().len() > limit) {
        return Err(Reject::UriTooLong { limit });
    }
    let headers = request.headers();
    let limit = (caps.headers, caps.headers_bytes.len());
    let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if headers.len() > limit.0 || bytes > limit.1 {
        return Err(Reject::HeadersTooLarge { limit });
    }
    Ok(())
}

/// A body that is framed by anything but plain `chunked` may be framed otherwise by another server.
fn check_coding(headers: &HeaderMap) -> Result<(), Reject> {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let plain = |coding: &HeaderValue| coding.as_bytes().eq_ignore_ascii_case(b"chunked");
    if codings.next().is_none_or(plain) && codings.next().is_none() {
        return Ok(());
    }
    Err(Reject::Ambiguous { name: "Transfer-Encoding", detail: "only `chunked` is accepted, and only once" })
}

/// One host, and the same in the target, where that names one (RFC 9112, 3.2).
fn check_host(version: Version, target: &Uri, headers: &HeaderMap) -> Result<(), Reject> {
    let ambiguous = |detail| Err(Reject::Ambiguous { name: "Host", detail });
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return ambiguous("there is more than one");
    }
    let Some(host) = host else {
        return if version == Version::HTTP_11 { ambiguous("it is missing") } else { Ok(()) };
    };
    let named = split(host.as_bytes());
    match target.authority() {
        None if named.is_some() || host.is_empty() => Ok(()),
        None => ambiguous("it is no host with an optional port"),
        Some(asked) => {
            let default = if target.scheme_str() == Some("https") { 443 } else { 80 };
            let asked = split(asked.as_str().as_bytes());
            let same = named.zip(asked).is_some_and(|((host, port), (asked, asked_port))| {
                host.eq_ignore_ascii_case(asked) && port.unwrap_or(default) == asked_port.unwrap_or(default)
            });
            if same { Ok(()) } else { ambiguous("the request target names another") }
        }
    }
}

/// `host[:port]` in its parts; `None` for what is not that. By hand: `Authority` would copy it, for every request.
fn split(host: &[u8]) -> Option<(&[u8], Option<u16>)> {
    let colon = host.iter().rposition(|byte| *byte == b':').filter(|_| !host.ends_with(b"]"));
    let (name, port) = match colon.and_then(|at| host.split_at_checked(at)) {
        Some((name, [_colon, port @ ..])) if !port.is_empty() => {
            let digits = port.iter().all(u8::is_ascii_digit).then_some(port)?;
            (name, Some(str::from_utf8(digits).ok()?.parse().ok()?))
        }
        Some((name, _)) => (name, None),
        None => (host, None),
    };
    let good = match name {
        [b'[', address @ .., b']'] => address.iter().all(|byte| byte.is_ascii_hexdigit() || b":.".contains(byte)),
        _ => name.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+;=".contains(byte)),
    };
    (good && !name.is_empty()).then_some((name, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_fields(count: usize, bytes_each: usize) -> Request<()> {
        let mut request = Request::new(());
        *request.version_mut() = Version::HTTP_10;
        for _ in 0..count {
            request.headers_mut().append("x", "v".repeat(bytes_each - 1).parse().unwrap());
        }
        request
    }

    #[test]
    fn a_request_names_one_host() {
        let check = |version, target: &str, hosts: &[&str]| {
            let mut headers = HeaderMap::new();
            for host in hosts {
                headers.append(header::HOST, HeaderValue::from_str(host).unwrap());
            }
            check_host(version, &target.parse().unwrap(), &headers).map_err(|reject| reject.detail())
        };
        let (old, h1, h2) = (Version::HTTP_10, Version::HTTP_11, Version::HTTP_2);
        for host in ["a", "a:1", "a:", "A.example", "127.0.0.1:8080", "[::1]", "[::1]:8080", ""] {
            assert_eq!(check(h1, "/", &[host]), Ok(()), "{host}");
        }
        for host in ["a b", "a/b", "u@a", "a:b", "a:65536", "a, b", "a:1:2", "\u{e4}"] {
            assert_eq!(check(h1, "/", &[host]), Err("Host: it is no host with an optional port".to_owned()), "{host}");
        }
        assert_eq!(check(h1, "/", &[]), Err("Host: it is missing".to_owned()));
        assert_eq!((check(old, "/", &[]), check(h2, "http://a/", &[])), (Ok(()), Ok(())));
        for version in [old, h1, h2] {
            assert_eq!(check(version, "/", &["a", "a"]), Err("Host: there is more than one".to_owned()));
            for (target, host) in [("http://a/", "A"), ("http://a:80/", "a"), ("https://a/", "a:443"), ("a:80", "a:80")]
            {
                assert_eq!(check(version, target, &[host]), Ok(()), "{target}");
            }
            for (target, host) in [("http://a/", "b"), ("http://a:81/", "a"), ("http://u@a/", "a"), ("http://a/", "")] {
                let other = Err("Host: the request target names another".to_owned());
                assert_eq!(check(version, target, &[host]), other, "{target}");
            }
        }
    }

    #[test]
    fn a_body_is_chunked_once_or_not_at_all() {
        let check = |codings: &[&'static str]| {
            let coding = |coding: &&'static str| (header::TRANSFER_ENCODING, HeaderValue::from_static(coding));
            check_coding(&codings.iter().map(coding).collect()).is_ok()
        };
        assert!(check(&[]) && check(&["chunked"]) && check(&["Chunked"]));
        for codings in [&["gzip, chunked"][..], &["chunked", "chunked"], &["identity"], &["chunked,"], &[""]] {
            assert!(!check(codings), "{codings:?}");
        }
    }

    #[test]
    fn a_head_may_fill_each_limit_but_not_pass_it() {
        let caps = Caps::default();
        let too_large = Err(Reject::HeadersTooLarge { limit: (64, 16 * 1024) });
        assert_eq!(check(&with_fields(64, 256), &caps), Ok(()));
        assert_eq!(check(&with_fields(65, 1), &caps), too_large);
        assert_eq!(check(&with_fields(63, 261), &caps), too_large);
        let target = |length: usize| {
            let target = format!("http://host/{}?q", "p".repeat(length - 3));
            Request::builder().uri(target).header("host", "host").body(()).unwrap()
        };
        assert_eq!(check(&target(4096), &caps), Ok(()));
        assert_eq!(check(&target(4097), &caps), Err(Reject::UriTooLong { limit: 4096 }));
    }
}
