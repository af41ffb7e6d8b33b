//! The values of `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers-11).
//!
//! `q` is what may come at once and `w` the seconds in which that much comes back; `r` is what is left and `t` the
//! seconds until it is all back. The draft has no unit for events, so that policy says it in a parameter of our own.
//! Runs on every answer: the policy is made once for a quota, the standing costs one allocation.

use http::HeaderValue;

use super::{Nanos, Quota, Standing};
use crate::reject::Policy;

/// The largest integer of a structured field (RFC 9651, 3.3.1).
const LARGEST: u64 = 999_999_999_999_999;

/// The values of `RateLimit-Policy` and of `RateLimit` at `now`; `None` where every limit is off.
pub fn fields(quota: &Quota, now: Nanos) -> Option<(HeaderValue, HeaderValue)> {
    let policy = quota.policy_field.clone()?;
    let (mut text, mut digits) = (String::with_capacity(112), itoa::Buffer::new());
    for Standing { policy, remaining, reset, .. } in quota.standing(now) {
        // Piece by piece: the machinery behind `write!` took 3 % of a request with one event.
        text.push_str(if text.is_empty() { "\"" } else { ", \"" });
        text.push_str(policy.name());
        text.push_str("\";r=");
        text.push_str(digits.format(remaining.min(LARGEST)));
        text.push_str(";t=");
        text.push_str(digits.format(reset));
    }
    Some((policy, HeaderValue::try_from(text).ok()?))
}

/// The value of `RateLimit-Policy`.
pub(super) fn policy(limits: impl Iterator<Item = Standing>) -> Option<HeaderValue> {
    let item = |limit: Standing| {
        let Standing { policy, quota, window, .. } = limit;
        let unit = match policy {
            Policy::Requests => "",
            Policy::Events => ";klamm-unit=\"events\"",
            Policy::Bytes => ";qu=\"content-bytes\"",
        };
        format!("\"{}\";q={};w={window}{unit}", policy.name(), quota.min(LARGEST))
    };
    let items: Vec<_> = limits.map(item).collect();
    if items.is_empty() { None } else { HeaderValue::try_from(items.join(", ")).ok() }
}
