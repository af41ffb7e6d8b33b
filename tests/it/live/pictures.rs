//! The pictures of docs/dashboards.md, as a person gets them: `klamm dev --demo` for a minute, in a browser. `make pictures`
//! takes them anew, into target/ui; whoever puts them into docs/pictures looks at them first.

use std::time::{Duration, Instant};

use crate::support::browser::Browser;
use crate::support::dev::Dev;

/// The sentence of the first chart, once it tells of events.
const CHART: &str = "document.querySelector('figure .summary')?.textContent.match(/^Now [1-9].*/)?.[0]";

#[test]
#[ignore = "for people: make pictures"]
fn of_the_page_after_a_minute_of_the_demo() {
    let mut browser = Browser::start(1280, 860);
    let dev = Dev::start(&["--demo"]);
    let listens = Instant::now();
    browser.open(&format!("http://{}/ui/", dev.admin()));
    let first = browser.until("the first events in a chart", CHART);
    println!("from the welcome to a chart of events: {:?}", listens.elapsed());
    browser.until("a chart that moves", &format!("{CHART} !== {first} && {CHART}"));
    println!("from the welcome to a chart that moves: {:?}", listens.elapsed());
    std::thread::sleep(Duration::from_secs(60).saturating_sub(listens.elapsed()));

    browser.dark(false);
    let look = |browser: &mut Browser, name: &str, view: &str, there: &str| {
        browser.eval(&format!("location.hash = '{view}'"));
        browser.until(name, there);
        // The curves of a client or topic have a point every five seconds.
        std::thread::sleep(Duration::from_millis(1500));
        println!("{}", browser.picture(&format!("demo-{name}")).display());
    };
    let heading = |words: &str| {
        format!("document.querySelector('h1')?.textContent === '{words}' && document.querySelector('td')")
    };
    look(&mut browser, "overview", "#/", "document.querySelector('tr[data-id=demo-web]')");
    let answers = "document.querySelector('details[data-code=rate_limited]')";
    let opened = format!("{} && ({answers}.open = true)", heading("demo-web"));
    look(&mut browser, "client", "#/client/demo-web", &opened);
    look(&mut browser, "topic", "#/topic/demo-orders", &heading("demo-orders"));
    look(&mut browser, "kafka", "#/kafka", &heading("Kafka"));
    look(&mut browser, "tap", "#/tap", &heading("Tap"));
    look(&mut browser, "config", "#/config", "document.querySelector('pre.config')?.textContent");
    browser.dark(true);
    look(&mut browser, "dark", "#/", "document.querySelector('tr[data-id=demo-web]')");
    look(&mut browser, "topic-dark", "#/topic/demo-orders", &heading("demo-orders"));
    browser.dark(false);
    browser.size(390, 844);
    look(&mut browser, "phone", "#/", "document.querySelector('tr[data-id=demo-web]')");
    look(&mut browser, "phone-client", "#/client/demo-web", &opened);
    look(&mut browser, "phone-topic", "#/topic/demo-orders", &heading("demo-orders"));
    assert!(browser.complaints().is_empty(), "{:#?}", browser.complaints());
}
