//! The live page where it is used: in a tab behind others, behind a proxy, by keyboard alone, after a reload that failed.

use std::time::Duration;

use super::super::{TOPICS, admin_key, load, post, start};
use super::{READY, cell, login, noted, open};
use crate::support::browser::Browser;
use crate::support::events::Events;
use crate::support::haproxy::Haproxy;
use crate::support::kafka::free_port;
use crate::support::mock::Mock;
use crate::support::{keys, soon};

#[tokio::test(flavor = "multi_thread")]
async fn a_hidden_tab_asks_for_nothing_and_goes_on_when_it_is_seen_again() {
    let mock = Mock::start(&TOPICS);
    let gateway = start(&mock, "", "");
    gateway.ready().await;
    let mut browser = open(&gateway, "");
    browser.until("the first reading", READY);
    // One place of fifty is the page's.
    let watch = || Events::open(gateway.admin(), "/admin/stream", &[]);
    let others: Vec<_> = (0..49).map(|_| watch()).collect();
    assert!(others.iter().all(|viewer| viewer.status == 200));
    assert_eq!(watch().status, 503);
    browser.hide();
    browser.until("the pause", "document.hidden && document.querySelector('.state').textContent.includes('paused')");
    soon("the page's place is free", async || (watch().status == 200).then_some(())).await;
    drop(others);
    assert_eq!(post(&gateway, "shop", "live-a", "1").await, 200);
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert_eq!(cell(&mut browser, "shop", "events"), "0", "nothing came");
    browser.show();
    browser.until("that it goes on", READY);
    browser.until("what it missed", "document.querySelector('tr[data-id=shop]').innerText.includes('1')");
    assert_eq!(cell(&mut browser, "shop", "events"), "1");
    assert!(browser.complaints().is_empty(), "{:#?}", browser.complaints());
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_a_proxy_that_takes_a_prefix_away_everything_is_there_login_included() {
    let mock = Mock::start(&TOPICS);
    let gateway = start(&mock, &admin_key("ops"), "");
    gateway.ready().await;
    let address = format!("127.0.0.1:{}", free_port());
    // The block of docs/dashboards.md, with addresses of the test's.
    let page = include_str!("../../../../docs/dashboards.md");
    let (_, rest) = page.split_once("```haproxy\n").expect("a block");
    let (block, _) = rest.split_once("```").expect("its end");
    let (bind, server) = (":443 ssl crt /etc/haproxy/ops.pem", "127.0.0.1:8081");
    assert!(block.contains(bind) && block.contains(server), "{block}");
    let block = block.replace(bind, &address).replace(server, gateway.admin());
    let proxy = Haproxy::with(&format!("defaults\n  mode http\n  timeout connect 10s\n{block}"), vec![address]);
    let mut browser = Browser::start(1280, 900);
    // Without the slash at the end: the page itself leads to the right place.
    browser.open(&format!("http://{}/ops/klamm/ui#/tap", proxy.address(0)));
    browser.until("the login", "document.querySelector('.login input')");
    assert_eq!(browser.eval("location.pathname"), "/ops/klamm/ui/");
    login(&mut browser, &keys::fixed("ops").text);
    browser.until("the tap", "document.querySelector('h1')?.textContent === 'Tap' && document.body.innerText.includes('Bodies are not shown')");
    assert_eq!(post(&gateway, "shop", "live-a", "12").await, 200);
    browser.until("the request", "document.querySelector('main tbody tr')?.innerText.includes('shop')");
    browser.eval("location.hash = '#/client/shop'");
    browser.until("the page of the client", &format!("{READY} && document.querySelector('tr[data-id=live-a]')"));
    browser.eval("location.hash = '#/config'");
    browser.until("the config", "document.querySelector('pre.config')?.textContent.includes('live-a')");
    let reload = "[...document.querySelectorAll('button')].find((one) => one.textContent === 'Reload now')";
    browser.eval(&format!("{reload}.click()"));
    browser.until("the reload", "document.body.innerText.includes('Reloaded.')");
    let out = "[...document.querySelectorAll('button')].find((one) => one.textContent === 'Log out')";
    browser.eval(&format!("{out}.click()"));
    browser.until("the login after the log-out", "document.querySelector('.login input')");
    assert_eq!(noted(&mut browser), Vec::<String>::new());
}

/// Goes there by Tab, and presses Enter.
fn reach(browser: &mut Browser, what: &str) {
    let found = (0..60).any(|_| {
        browser.press("Tab");
        browser.eval(&format!("document.activeElement.matches('{what}')")) == true
    });
    assert!(found, "{what} cannot be reached");
    browser.press("Enter");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_works_by_keyboard_alone_and_says_each_chart_in_words() {
    let mock = Mock::start(&TOPICS);
    let gateway = start(&mock, "", "");
    gateway.ready().await;
    load(&gateway).await;
    let mut browser = open(&gateway, "");
    browser.until("the rows", "document.querySelector('tr[data-id=tiny]')");
    reach(&mut browser, "th[data-key=events] button");
    reach(&mut browser, "tr[data-id=till] a");
    browser.until("the page of the client", "document.querySelector('h1')?.textContent === 'till'");
    browser.until("the answers", "document.querySelector('summary.refusal')");
    reach(&mut browser, "summary.refusal");
    browser.until("the answer", "document.querySelector('details[open] pre')");
    for view in ["#/", "#/client/tiny", "#/topic/live-b", "#/kafka"] {
        browser.eval(&format!("location.hash = '{view}'"));
        let words = "[...document.querySelectorAll('figure')].map((one) => [one.querySelector('.summary').textContent, one.querySelector('.plot').ariaLabel ?? ''])";
        browser.until("a sentence for each chart", &format!("document.querySelector('figure') && {words}.every(([said, label]) => said.endsWith('.') && label.endsWith(said))"));
    }
    for (view, tables) in [("#/", 2), ("#/client/tiny", 3), ("#/topic/live-b", 3), ("#/kafka", 2)] {
        browser.eval(&format!("location.hash = '{view}'"));
        browser.until(view, &format!("document.querySelectorAll('table').length >= {tables}"));
        let odd = browser.eval("[...document.querySelectorAll('table')].filter((one) => !one.caption || (one.querySelector('th button') && one.querySelectorAll('th[aria-sort=ascending], th[aria-sort=descending]').length !== 1)).length");
        assert_eq!(odd, 0, "{view}: every table has a caption, and one column that it is sorted by");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_config_page_says_what_a_reload_changed_and_why_one_failed() {
    let mock = Mock::start(&TOPICS);
    let gateway = start(&mock, "", "");
    gateway.ready().await;
    let mut browser = open(&gateway, "#/config");
    let said = "document.querySelector('main').innerText";
    browser.until(
        "the config",
        &format!(
            "document.querySelector('pre.config')?.textContent.includes('live-a') && {said}.includes('never reloaded')"
        ),
    );
    let secret = keys::fixed("shop").sha256;
    assert_eq!(browser.eval(&format!("document.querySelector('pre.config').textContent.includes('{secret}')")), false);
    let good = std::fs::read_to_string(gateway.config()).expect("the config");
    gateway.rewrite(&good.replace("max_event: 1KiB", "max_event: 2KiB"));
    browser.until("what changed", &format!("{said}.includes('What the last change was') && {said}.includes('live-a')"));
    gateway.rewrite(&good.replace("max_event: 1KiB", "max_event: huge"));
    browser.until(
        "why it failed",
        &format!("{said}.includes('Why it failed') && /klamm.yaml:[0-9]+.*max_event/.test({said}) && {said}.includes('the config before is in use')"),
    );
    browser.eval("location.hash = '#/'");
    browser.until(
        "the first screen says so too",
        "document.querySelector('.verdict').innerText.includes('the last reload failed')",
    );
    gateway.rewrite(&good);
    browser.until("that all is well again", "document.querySelector('.verdict').innerText.includes('All is well.')");
    assert!(browser.complaints().is_empty(), "{:#?}", browser.complaints());
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_are_written_as_people_read_them() {
    let mock = Mock::start(&TOPICS);
    let gateway = start(&mock, "", "");
    let mut browser = open(&gateway, "");
    browser.until("the page", READY);
    for (call, expected) in [
        ("took(\"over\", 30)", "> 30 s"),
        ("took(null)", "–"),
        ("took(0.0123)", "12.3 ms"),
        ("took(0.000001)", "< 0.01 ms"),
        ("took(2)", "2.00 s"),
        ("percent(0.0004)", "< 0.1 %"),
        ("percent(0.034)", "3.4 %"),
        ("bytes(1536)", "1.5 KiB"),
        ("rate(0)", "0"),
        ("rate(1234.5)", "1,235"),
        ("span(3700)", "1 h 1 min"),
        ("ago(0, 100)", "never"),
        ("ago(40, 100)", "1 min ago"),
    ] {
        let found = browser.eval(&format!("import('./format.js').then((format) => format.{call})"));
        assert_eq!(found, expected, "{call}");
    }
}
