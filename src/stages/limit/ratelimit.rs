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
    let mut text = String::with_capacity(112);
    for Standing { policy, remaining, reset, .. } in quota.standing(now) {
        // Piece by piece: the machinery behind `write!` took 3 % of a request with one event.
        text.push_str(if text.is_empty() { "\"" } else { ", \"" });
        text.push_str(policy.name());
        text.push_str("\";r=");
        push(&mut text, remaining.min(LARGEST));
        text.push_str(";t=");
        push(&mut text, reset);
    }
    Some((policy, HeaderValue::try_from(text).ok()?))
}

/// `number` in decimal.
fn push(text: &mut String, mut number: u64) {
    let mut digits = [b'0'; 20];
    let mut length = 0;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
        length += 1;
        if number == 0 {
            break;
        }
    }
    let digits = digits.iter().skip(digits.len() - length);
    text.extend(digits.map(|digit| char::from(*digit)));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_the_standard_library_does() {
        for number in [0, 1, 9, 10, 99, 100, 12_345, LARGEST, u64::MAX] {
            let mut text = String::from("r=");
            push(&mut text, number);
            assert_eq!(text, format!("r={number}"));
        }
    }
}
