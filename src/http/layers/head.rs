//! Limits of a request's head: its target and its header fields.

use http::Request;

use crate::config::Caps;
use crate::reject::Reject;

/// Holds a head to `caps`.
///
/// # Errors
/// `UriTooLong` (path and query, in bytes), `HeadersTooLarge` (fields, or bytes of their names and values).
pub fn check<B>(request: &Request<B>, caps: &Caps) -> Result<(), Reject> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn with_fields(count: usize, bytes_each: usize) -> Request<()> {
        let mut request = Request::new(());
        for _ in 0..count {
            request.headers_mut().append("x", "v".repeat(bytes_each - 1).parse().unwrap());
        }
        request
    }

    #[test]
    fn a_head_may_fill_each_limit_but_not_pass_it() {
        let caps = Caps::default();
        let too_large = Err(Reject::HeadersTooLarge { limit: (64, 16 * 1024) });
        assert_eq!(check(&with_fields(64, 256), &caps), Ok(()));
        assert_eq!(check(&with_fields(65, 1), &caps), too_large);
        assert_eq!(check(&with_fields(63, 261), &caps), too_large);
        let target = |length: usize| {
            Request::builder().uri(format!("http://host/{}?q", "p".repeat(length - 3))).body(()).unwrap()
        };
        assert_eq!(check(&target(4096), &caps), Ok(()));
        assert_eq!(check(&target(4097), &caps), Err(Reject::UriTooLong { limit: 4096 }));
    }
}
