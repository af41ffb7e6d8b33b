//! The live page in a real browser.

use std::net::TcpListener;
use std::time::Duration;

use serde_json::Value;

use super::{TOPICS, admin_key, bucket, load, post, start};
use crate::support::browser::Browser;
use crate::support::client::Client;
use crate::support::gateway::Gateway;
use crate::support::keys;
use crate::support::mock::Mock;

mod ways;

fn open(gateway: &Gateway, view: &str) -> Browser {
    let mut browser = Browser::start(1280, 900);
    browser.open(&format!("http://{}/ui/{view}", gateway.admin()));
    browser
}

#[tokio::test(flavor = "multi_thread")]
async fn the_files_of_the_page_need_no_key_and_allow_nothing_that_is_not_theirs() {
    let mock = Mock::start(&TOPICS);
    let gateway = start(&mock, &admin_key("ops"), "");
    let admin = Client::new(gateway.admin());
    let enter = admin.get("/ui", &[]).await;
    assert_eq!((enter.status, enter.header("location")), (308, Some("ui/")), "relative, for what stands in front");
    for (file, kind) in
        [("", "text/html"), ("app.js", "text/javascript"), ("uplot.js", "text/javascript"), ("style.css", "text/css")]
    {
        let path = format!("/ui/{file}");
        let answer = admin.get(&path, &[]).await;
        assert!(
            answer.status == 200 && answer.header("content-type").is_some_and(|found| found.starts_with(kind)),
            "{path}"
        );
        let policy = answer.header("content-security-policy").expect("a policy");
        assert!(policy.starts_with("default-src 'none'; script-src 'self';") && !policy.contains("unsafe"), "{policy}");
        let tag = answer.header("etag").expect("a tag").to_owned();
        assert_eq!(admin.get(&path, &[("if-none-match", &tag)]).await.status, 304, "{path}");
    }
    assert_eq!(admin.get("/ui/nosuch.js", &[]).await.status, 404);
}

/// The rows of the table with this caption, as maps from the column's key to the number behind the cell.
fn rows(browser: &mut Browser, caption: &str) -> Value {
    browser.eval(&format!(
        "(() => {{
            const table = [...document.querySelectorAll('table')].find((one) => one.caption.textContent === '{caption}');
            const keys = [...table.tHead.rows[0].cells].map((cell) => cell.dataset.key);
            return [...table.tBodies[0].rows].map((row) => Object.fromEntries([
                ['id', row.dataset.id],
                ...[...row.cells].map((cell, place) => [keys[place] ?? 'codes', cell.dataset.v == null ? cell.textContent : Number(cell.dataset.v)]).slice(1),
            ]));
        }})()"
    ))
}

/// The text of the cell under the head of this key.
fn cell(browser: &mut Browser, id: &str, key: &str) -> String {
    let text = browser.eval(&format!(
        "(() => {{
            const row = document.querySelector('tr[data-id=\"{id}\"]');
            const place = [...row.closest('table').tHead.rows[0].cells].findIndex((head) => head.dataset.key === '{key}');
            return row.cells[place].textContent;
        }})()"
    ));
    // A number stays with its unit.
    text.as_str().expect("text").replace('\u{a0}', " ")
}

fn click(browser: &mut Browser, selector: &str) {
    browser.eval(&format!("document.querySelector(`{selector}`).click()"));
}

/// Whether the heat map has so many columns of its own colour at least.
fn painted(least: usize) -> String {
    format!(
        "(() => {{
            const canvas = document.querySelector('.heat canvas');
            const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext('2d', {{ willReadFrequently: true }});
            copy.drawImage(canvas, 0, 0);
            const [width, height] = [canvas.width - 84, canvas.height - 22];
            const pixels = copy.getImageData(62, 2, width, height).data;
            const filled = new Set();
            for (let place = 0; place < width * height; place += 1) {{
                if (pixels[place * 4 + 3] > 0) filled.add(place % width);
            }}
            // The frame's right edge is one.
            return filled.size > {least} + 1;
        }})()"
    )
}

const READY: &str = "document.querySelector('.state')?.textContent.includes('live')";

#[tokio::test(flavor = "multi_thread")]
async fn the_page_shows_what_the_scrape_says_sorts_filters_and_opens_a_client() {
    let mock = Mock::start(&TOPICS);
    let gateway = start(&mock, "", "");
    gateway.ready().await;
    let mut browser = open(&gateway, "");
    browser.until("the first reading", READY);
    let line = browser.until("the curl line", "document.querySelector('.first:not([hidden]) pre')?.textContent");
    let ingest = gateway.ingest().to_owned();
    assert!(
        line.as_str().is_some_and(|line| line.starts_with(&format!("curl -i http://{ingest}/v1/topics/live-a/events"))),
        "{line}"
    );
    let facts = browser.eval("document.querySelector('.facts').textContent");
    let facts = facts.as_str().expect("text");
    let version = concat!("klamm ", env!("CARGO_PKG_VERSION"));
    for words in [version, " · up ", "Kafka default (", mock.bootstrap(), "this replica only: all replicas in Grafana"]
    {
        assert!(facts.contains(words), "{words} is not in {facts}");
    }
    // The first reading may be from before Kafka had answered.
    browser.until("a good word", "document.querySelector('.verdict').innerText.trim() === '✓ All is well.'");
    let names = browser.eval("[...document.querySelectorAll('.tile .name')].map((one) => one.textContent).join()");
    assert_eq!(names, "Events,Refused,Ack p99,Budget,Queue,Spool,Brokers");
    for (caption, columns) in [
        (
            "Clients",
            "Client,Events/s,Bytes/s,Refused/s,Why refused,p99,Quota left,In flight,Last seen,Events,Bytes,Refused",
        ),
        (
            "Topics",
            "Topic,Events/s,Bytes/s,p99,Busiest partition,Partitions,Not written,Refused/s,Why refused,Events,Bytes,Refused",
        ),
    ] {
        let heads = format!(
            "[...document.querySelectorAll('table')].find((one) => one.caption.textContent === '{caption}').tHead.rows[0].cells"
        );
        assert_eq!(browser.eval(&format!("[...{heads}].map((one) => one.textContent).join()")), columns);
    }
    let chart = "document.querySelector('figure canvas')?.toDataURL()";
    let before = browser.until("a chart", chart);

    load(&gateway).await;
    browser.until("the row of a client that sends", "document.querySelector('tr[data-id=tiny] td[data-v=\"4\"]')");
    assert_ne!(browser.eval(chart), before, "the curve moves");
    assert_eq!(browser.eval("document.querySelector('.first').hidden"), true, "the curl line is gone");
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let scrape = gateway.metrics().await;
    for (caption, kind, names) in
        [("Clients", "client", vec!["shop", "till", "tiny"]), ("Topics", "topic", TOPICS.to_vec())]
    {
        let table = rows(&mut browser, caption);
        let mut found: Vec<_> = table.as_array().expect("rows").iter().filter_map(|row| row["id"].as_str()).collect();
        found.sort_unstable();
        assert_eq!(found, names);
        for row in table.as_array().expect("rows") {
            let id = row["id"].as_str().expect("an id");
            let of = |name: &str| Some(scrape.sum(name, &[(kind, id)]));
            assert_eq!(row["events"].as_f64(), of("klamm_events_received_total"), "{row:#}");
            assert_eq!(row["bytes"].as_f64(), of("klamm_event_bytes_total"), "{row:#}");
            assert_eq!(row["refused"].as_f64(), of("klamm_refusals_total"), "{row:#}");
            let took = |row: &Value| row["p99"].as_f64();
            let said = browser.eval(&format!("document.querySelector('tr[data-id=\"{id}\"]').innerText"));
            let acks = scrape.sum("klamm_ack_seconds_count", &[(kind, id)]);
            assert_eq!(took(row).is_some_and(|p99| p99 > 0.0), acks > 0.0, "{row:#}: {said}");
            if let Some(p99) = took(row).filter(|_| acks > 0.0) {
                let (low, high) = bucket(&scrape, kind, id, 0.99);
                assert!(low <= p99 && p99 <= high, "{p99} in {low} to {high}");
            }
        }
    }
    // Shares of the refusals by code, in words.
    for (id, words) in [
        ("tiny", "rate_limited 100 %"),
        ("shop", "event_too_large 100 %"),
        ("live-a", "event_too_large 50 %, malformed_body 50 %"),
    ] {
        assert_eq!(cell(&mut browser, id, "codes"), words, "{id}");
    }
    let title = browser.eval("document.querySelector('tr[data-id=tiny] td.wide').title");
    assert_eq!(title, "since the start: rate_limited 2");
    let left = cell(&mut browser, "tiny", "room");
    assert!(left.ends_with("% requests"), "what is left of a quota is said: {left}");
    let bar = browser.eval("parseFloat(document.querySelector('tr[data-id=tiny] .meter i').style.width)");
    assert!(bar.as_f64().is_some_and(|part| part < 30.0), "and shown: {bar}");

    click(&mut browser, "th[data-key=events] button");
    assert_eq!(browser.eval("document.querySelector('th[data-key=events]').ariaSort"), "descending");
    let order = |browser: &mut Browser| -> Vec<String> {
        let table = rows(browser, "Clients");
        table.as_array().expect("rows").iter().filter_map(|row| row["id"].as_str().map(str::to_owned)).collect()
    };
    assert_eq!(order(&mut browser), ["tiny", "shop", "till"]);
    click(&mut browser, "th[data-key=events] button");
    assert_eq!(browser.eval("document.querySelector('th[data-key=events]').ariaSort"), "ascending");
    assert_eq!(order(&mut browser), ["till", "shop", "tiny"]);
    browser.eval("(() => { const box = document.querySelector('input[type=search]'); box.value = 'TI'; box.dispatchEvent(new Event('input')); })()");
    assert_eq!(order(&mut browser), ["till", "tiny"]);
    assert_eq!(browser.eval("location.hash"), "#/?cs=events&cq=TI");
    browser.open(&format!("http://{}/ui/", gateway.admin()));
    browser.open(&format!("http://{}/ui/#/?cs=events&cq=TI", gateway.admin()));
    browser.until("the view of the address", "document.querySelector('tr[data-id=tiny]')");
    assert_eq!(order(&mut browser), ["till", "tiny"], "the address is the view");

    click(&mut browser, "tr[data-id=tiny] a");
    browser.until(
        "the page of the client",
        "document.querySelector('h1')?.textContent === 'tiny' && document.querySelector('details')",
    );
    let page = browser.eval("document.querySelector('main').innerText");
    let page = page.as_str().expect("text");
    for words in
        ["2 since the start", "100 % of the refusals of the last minute", "429 rate_limited", "may write to live-*"]
    {
        assert!(page.contains(words), "{words} is not in\n{page}");
    }
    assert_eq!(browser.eval("document.querySelectorAll('.long tbody tr').length"), 6);
    browser.eval("document.querySelector('details').open = true");
    let body = browser.eval("document.querySelector('details pre').textContent");
    assert!(body.as_str().is_some_and(|body| body.contains("\"code\": \"rate_limited\"")), "{body}");
    browser.picture("client");

    click(&mut browser, "tr[data-id=live-b] a");
    browser.until(
        "the page of the topic",
        "document.querySelector('h1')?.textContent === 'live-b' && document.querySelector('.heat canvas:not([hidden])')",
    );
    browser.until("the colours of the map", &painted(1));
    let heat = browser.eval("document.querySelector('.heat canvas').ariaLabel");
    assert!(heat.as_str().is_some_and(|words| words.contains("is the busiest: ")), "{heat}");
    let partitions = rows(&mut browser, "Partitions");
    assert_eq!(partitions.as_array().map(Vec::len), Some(2));
    assert_eq!(partitions.as_array().expect("rows").iter().filter_map(|row| row["share"].as_f64()).sum::<f64>(), 1.0);
    let peak = partitions.as_array().expect("rows").iter().filter_map(|row| row["peak"].as_f64()).fold(0.0, f64::max);
    assert!(peak > 0.0, "{partitions:#}");
    browser.picture("topic");
    for view in ["#/kafka", "#/config"] {
        browser.eval(&format!("location.hash = '{view}'"));
        browser.until(view, &format!("document.querySelector('nav a[aria-current]').hash === '{view}' && document.querySelector('td, pre.config').textContent"));
    }
    assert!(browser.complaints().is_empty(), "{:#?}", browser.complaints());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_is_dark_where_the_system_is_and_fits_a_phone() {
    let mock = Mock::start(&TOPICS);
    let gateway = start(&mock, "", "");
    gateway.ready().await;
    load(&gateway).await;
    let mut browser = open(&gateway, "");
    browser.dark(false);
    browser.until("the rows", "document.querySelector('tr[data-id=tiny]')");
    let back = "getComputedStyle(document.body).backgroundColor";
    let light = browser.eval(back);
    browser.dark(true);
    let dark = browser.until("the dark colours", &format!("{back} !== {light} && {back}"));
    assert_ne!(light, dark);
    browser.picture("dark");
    click(&mut browser, ".theme");
    assert_eq!(browser.eval(back), light, "the button outweighs the system");
    click(&mut browser, ".theme");
    assert_eq!(browser.eval(back), dark);
    browser.eval("localStorage.removeItem('theme')");
    for width in [1280, 390] {
        browser.size(width, 800);
        for view in ["#/", "#/client/tiny", "#/topic/live-b", "#/kafka", "#/tap", "#/config"] {
            browser.eval(&format!("location.hash = '{view}'"));
            // Until the stream has told the view what it shows.
            tokio::time::sleep(Duration::from_millis(1300)).await;
            let wide = browser.eval("document.documentElement.scrollWidth");
            assert!(wide.as_u64() <= Some(width.into()), "{view} is {wide} wide in a window of {width}");
        }
    }
    browser.picture("phone");
    assert!(browser.complaints().is_empty(), "{:#?}", browser.complaints());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_asks_for_a_key_and_shows_the_tap() {
    let mock = Mock::start(&TOPICS);
    let gateway = start(&mock, &admin_key("ops"), "");
    gateway.ready().await;
    let mut browser = open(&gateway, "#/tap");
    browser.until("the login", "document.querySelector('.login input')");
    login(&mut browser, "guess");
    browser.until("the refusal", "document.querySelector('.wrong').textContent === 'This is no admin key.'");
    login(&mut browser, &keys::fixed("ops").text);
    browser.until("the tap", "document.querySelector('h1')?.textContent === 'Tap' && document.body.innerText.includes('Bodies are not shown')");
    assert_eq!(browser.eval("document.cookie"), "", "no script sees the session");
    assert_eq!(post(&gateway, "shop", "live-a", "12").await, 200);
    let row = browser.until("the request", "document.querySelector('main tbody tr')?.innerText");
    let row = row.as_str().expect("text");
    assert!(
        ["shop", "live-a", "200", "application/json", "10 B", "kafka-key"].iter().all(|words| row.contains(words)),
        "{row}"
    );
    let out = "[...document.querySelectorAll('button')].find((one) => one.textContent === 'Log out')";
    browser.eval(&format!("{out}.click()"));
    browser.until("the login after the log-out", "document.querySelector('.login input')");
    assert_eq!(noted(&mut browser), Vec::<String>::new());
}

fn login(browser: &mut Browser, key: &str) {
    browser.eval(&format!("(() => {{ document.querySelector('.login input').value = '{key}'; document.querySelector('.login button').click(); }})()"));
}

/// The complaints but for those about 401, which the browser itself notes.
fn noted(browser: &mut Browser) -> Vec<String> {
    browser.complaints().iter().filter(|text| !text.contains("401 (Unauthorized)")).cloned().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_comes_back_by_itself_after_a_restart() {
    let mock = Mock::start(&TOPICS);
    let free = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let config = mock
        .config("", "", "topics: { live-a: {} }\n")
        .replace("admin: { listen: \"127.0.0.1:0\" }", &format!("admin: {{ listen: \"{free}\" }}"));
    let mut gateway = Gateway::start(&config);
    gateway.ready().await;
    let mut browser = open(&gateway, "");
    browser.until("the first reading", READY);
    let uptime = "document.querySelector('.facts').textContent";
    browser.until("some seconds", &format!("/up [4-9] s/.test({uptime})"));
    gateway.kill();
    browser.until("that nobody answers", "document.querySelector('.state').textContent.includes('reconnecting')");
    let gateway = Gateway::start(&config);
    browser.until("the new klamm", &format!("{READY} && /up [0-9] s/.test({uptime})"));
    drop(gateway);
}
