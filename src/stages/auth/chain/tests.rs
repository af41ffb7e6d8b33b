//! Facts about who is known without a key.

use http::{HeaderName, HeaderValue};
use time::macros::datetime;

use super::*;
use crate::config::{Key, User};
use crate::stages::auth::api_key::digest;
use crate::stages::auth::peer::Process;

const NOW: OffsetDateTime = datetime!(2026-11-22 12:00:00 UTC);

fn key(token: &str) -> Key {
    Key { label: "k".into(), sha256: hex::encode(digest(token)), ..Key::default() }
}

fn client(key_of: Option<&str>, local: bool, uid: Option<u32>) -> Client {
    let unix = uid.map(|uid| User { uid: Some(uid), user: None });
    Client { keys: key_of.map(key).into_iter().collect(), local, unix, ..Client::default() }
}

fn tcp(address: &str) -> Peer {
    Peer::Tcp(address.parse().unwrap())
}

fn unix(uid: u32) -> Peer {
    Peer::Unix(Process { uid, gid: uid, pid: Some(1) })
}

/// The client's name and the credential's label, or the status.
fn who(clients: &[(&str, Client)], peer: Peer, fields: &[(&str, &str)]) -> Result<(String, String), u16> {
    let clients = clients.iter().map(|(name, client)| ((*name).to_owned(), client.clone())).collect();
    let field =
        |(name, value): &(&str, &str)| (HeaderName::try_from(*name).unwrap(), HeaderValue::try_from(*value).unwrap());
    let headers = fields.iter().map(field).collect();
    let principal = Chain::new(&clients).identify(&Head { headers: &headers, peer }, NOW);
    let known = principal.map(|who| (who.client.to_string(), who.label.to_string()));
    known.map_err(|reject| reject.code().row().status.as_u16())
}

fn known(name: &str, label: &str) -> Result<(String, String), u16> {
    Ok((name.to_owned(), label.to_owned()))
}

#[test]
fn a_local_client_is_whoever_has_no_key_on_this_machine() {
    let clients = [("app", client(Some("s"), true, None)), ("other", client(Some("o"), false, None))];
    for peer in [tcp("127.0.0.1:1"), tcp("[::1]:1"), tcp("[::ffff:127.0.0.9]:1"), unix(4711)] {
        assert_eq!(who(&clients, peer, &[]), known("app", "local"), "{peer}");
        assert_eq!(who(&clients, peer, &[("x-api-key", "o")]), known("other", "k"), "{peer}");
        assert_eq!(who(&clients, peer, &[("x-api-key", "wrong")]), Err(401), "a wrong key is no missing one");
    }
    assert_eq!(who(&clients, tcp("192.0.2.1:1"), &[]), Err(401), "not even where validation was passed by");
    assert_eq!(who(&[("app", client(Some("s"), false, None))], unix(0), &[]), Err(401), "nobody is local");
}

#[test]
fn a_user_is_its_client_on_a_unix_socket_and_nobody_elsewhere() {
    let clients = [("app", client(None, false, Some(1000))), ("till", client(Some("t"), false, Some(1001)))];
    assert_eq!(who(&clients, unix(1000), &[]), known("app", "uid 1000"));
    assert_eq!(who(&clients, unix(1001), &[]), known("till", "uid 1001"));
    assert_eq!(who(&clients, unix(1000), &[("x-api-key", "t")]), known("till", "k"), "a key goes first");
    assert_eq!(who(&clients, unix(1000), &[("x-api-key", "wrong")]), Err(401));
    assert_eq!(who(&clients, unix(0), &[]), Err(401));
    assert_eq!(who(&clients, tcp("127.0.0.1:1"), &[]), Err(401));
}

#[test]
fn a_user_whom_no_client_names_is_not_taken_for_the_local_client() {
    let clients = [("app", client(None, true, None)), ("till", client(None, false, Some(1001)))];
    assert_eq!(who(&clients, unix(1002), &[]), Err(401));
    assert_eq!(who(&clients, unix(1001), &[]), known("till", "uid 1001"));
}

#[test]
fn web_pages_need_a_key() {
    let clients = [("app", client(Some("s"), true, None))];
    let users = [("app", client(Some("s"), false, Some(1000)))];
    for field in [("origin", "https://evil.example"), ("origin", "null"), ("sec-fetch-site", "same-origin")] {
        for (clients, peer) in [(&clients, tcp("127.0.0.1:1")), (&clients, unix(1)), (&users, unix(1000))] {
            assert_eq!(who(clients, peer, &[field]), Err(403), "{field:?} {peer}");
            assert_eq!(who(clients, peer, &[field, ("x-api-key", "s")]), known("app", "k"), "{field:?} {peer}");
            assert_eq!(who(clients, peer, &[field, ("x-api-key", "x")]), Err(401), "{field:?} {peer}");
        }
        assert_eq!(who(&users, unix(1), &[field]), Err(401), "{field:?}");
    }
}

#[test]
fn a_page_whose_name_was_made_to_lead_here_needs_a_key_too() {
    let clients = [("app", client(Some("s"), true, None))];
    let peer = tcp("127.0.0.1:1");
    for host in ["localhost", "LocalHost:8080", "127.0.0.1:8080", "[::1]:8080", "10.0.0.7"] {
        assert_eq!(who(&clients, peer, &[("host", host)]), known("app", "local"), "{host}");
    }
    for host in ["evil.example:8080", "127.0.0.1.evil.example", "localhost.evil.example", ""] {
        assert_eq!(who(&clients, peer, &[("host", host)]), Err(403), "{host}");
        assert_eq!(who(&clients, peer, &[("host", host), ("x-api-key", "s")]), known("app", "k"), "{host}");
        assert_eq!(who(&clients, unix(1), &[("host", host)]), known("app", "local"), "no browser comes by a socket");
    }
}
