//! Facts about API keys, asked through the chain.

use time::macros::datetime;

use super::*;
use crate::reject::Reject;
use crate::stages::auth::{Chain, Head, Peer};

const NOW: OffsetDateTime = datetime!(2026-11-22 12:00:00 UTC);

fn key(label: &str, token: &str, expires: Option<OffsetDateTime>) -> Key {
    Key { label: label.into(), sha256: hex::encode(digest(token)), sha256_file: None, expires }
}

fn clients() -> BTreeMap<String, Client> {
    let client = |keys| Client { keys, ..Client::default() };
    BTreeMap::from([
        ("shop".into(), client(vec![key("old", "shop-old", Some(NOW)), key("new", "shop-new", None)])),
        ("till".into(), client(vec![key("only", "till-1", Some(datetime!(2026-11-22 12:00:01 UTC)))])),
    ])
}

fn headers(fields: &[(&str, &str)]) -> HeaderMap {
    let field = |(name, value): &(&str, &str)| (HeaderName::try_from(*name).unwrap(), value.parse().unwrap());
    fields.iter().map(field).collect()
}

fn head(headers: &HeaderMap) -> Head<'_> {
    Head { headers, peer: Peer::Tcp("192.0.2.1:1".parse().unwrap()) }
}

fn identify(fields: &[(&str, &str)]) -> Result<Principal, Reject> {
    Chain::new(&clients()).identify(&head(&headers(fields)), NOW)
}

#[test]
fn a_key_names_its_client_and_its_label() {
    let shop = Principal { client: "shop".into(), label: "new".into() };
    for fields in [
        &[("authorization", "Bearer shop-new")][..],
        &[("authorization", "bEARER   shop-new ")],
        &[("x-api-key", "shop-new")],
        &[("x-api-key", "shop-new"), ("authorization", "Bearer shop-new")],
        &[("x-api-key", "shop-new"), ("authorization", "Basic YTpi")],
        &[("x-api-key", "shop-new"), ("x-api-key", "shop-new")],
    ] {
        assert_eq!(identify(fields), Ok(shop.clone()), "{fields:?}");
    }
}

#[test]
fn a_key_holds_until_the_moment_it_expires() {
    let till = identify(&[("x-api-key", "till-1")]).unwrap();
    assert_eq!(till.client.as_str(), "till");
    let later = NOW + time::Duration::SECOND;
    let fields = headers(&[("x-api-key", "till-1")]);
    assert_eq!(Chain::new(&clients()).identify(&head(&fields), later), Err(Reject::Unauthenticated));
}

#[test]
fn no_unknown_wrong_expired_and_contradicting_keys_are_refused_alike() {
    for fields in [
        &[][..],
        &[("authorization", "Bearer ")],
        &[("authorization", "Bearer")],
        &[("authorization", "Basic c2hvcC1uZXc=")],
        &[("authorization", "Bearershop-new")],
        &[("authorization", "Be")],
        &[("x-api-key", "")],
        &[("x-api-key", "nobody")],
        &[("x-api-key", "shop-new2")],
        &[("x-api-key", "Shop-new")],
        &[("x-api-key", "shop-old")],
        &[("x-api-key", "shop-new"), ("authorization", "Bearer till-1")],
        &[("x-api-key", "shop-new"), ("x-api-key", "till-1")],
        &[("authorization", "Bearer shop-new"), ("authorization", "Bearer x")],
    ] {
        let refusal = identify(fields).unwrap_err();
        assert_eq!(refusal, Reject::Unauthenticated, "{fields:?}");
        assert_eq!(refusal.detail(), Reject::Unauthenticated.detail());
    }
}

#[test]
fn the_digest_itself_is_no_key() {
    let shown = hex::encode(digest("shop-new"));
    assert_eq!(identify(&[("x-api-key", &shown)]), Err(Reject::Unauthenticated));
}

#[test]
fn what_is_hashed_for_want_of_a_key_opens_nothing() {
    let weak = |token: &[u8]| Key { label: "weak".into(), sha256: hex::encode(digest(token)), ..Key::default() };
    let keys = Keys::from_list(&[weak(b""), weak(&NO_KEY)]);
    let none = HeaderMap::new();
    assert_eq!(keys.verdict(&none, NOW), Verdict::Absent);
    let two = headers(&[("x-api-key", "a"), ("x-api-key", "b")]);
    assert_eq!(keys.verdict(&two, NOW), Verdict::Refused);
}

#[test]
fn a_list_of_keys_works_without_clients() {
    let keys = Keys::from_list(&[key("ops", "secret", None)]);
    let fields = headers(&[("authorization", "Bearer secret")]);
    let ops = Principal { client: ADMIN.into(), label: "ops".into() };
    assert_eq!(keys.verdict(&fields, NOW), Verdict::Proven(ops));
    assert!(!keys.is_empty());
    assert!(Keys::from_list(&[]).is_empty());
}

#[test]
fn digests_are_sha_256_and_read_in_either_case() {
    assert_eq!(hex::encode(digest("test")), "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08");
    let upper = Key { label: "u".into(), sha256: hex::encode_upper(digest("t")), ..Key::default() };
    let fields = headers(&[("x-api-key", "t")]);
    assert!(matches!(Keys::from_list(&[upper]).verdict(&fields, NOW), Verdict::Proven(_)));
}

#[test]
fn debug_output_shows_no_digest() {
    let shown = format!("{:?}", Chain::new(&clients()));
    assert!(!shown.contains(&hex::encode(digest("shop-new"))) && shown.contains("count: 3"), "{shown}");
}
