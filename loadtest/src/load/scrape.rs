//! The target's Prometheus page: what it is, and how large its batches to Kafka were.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::target::Place;
use super::{Batches, answer};

const TIMEOUT: Duration = Duration::from_secs(5);
const BATCH_BYTES: &str = "klamm_producer_batch_bytes";
const BATCH_RECORDS: &str = "klamm_producer_batch_records";

/// The page, read a few times while the load runs: its gauges are means of the last few seconds.
#[derive(Debug)]
pub(super) struct Scraper {
    place: Place,
    bytes: Vec<f64>,
    records: Vec<f64>,
    build: Option<String>,
}

impl Scraper {
    /// # Errors
    /// The page cannot be read.
    pub(super) fn new(url: &str) -> Result<Self> {
        let mut scraper = Self { place: Place::new(url)?, bytes: Vec::new(), records: Vec::new(), build: None };
        let page = scraper.page().with_context(|| format!("reading {url}"))?;
        scraper.build = build(&page);
        Ok(scraper)
    }

    /// Reads it once more. A page that fails while the target is under load is left out.
    pub(super) fn sample(&mut self) {
        let Ok(page) = self.page() else { return };
        self.bytes.extend(gauge(&page, BATCH_BYTES));
        self.records.extend(gauge(&page, BATCH_RECORDS));
    }

    pub(super) fn finish(self) -> (Option<Batches>, Option<String>) {
        let batches = mean(&self.bytes).map(|bytes| Batches { records: mean(&self.records), bytes });
        (batches, self.build)
    }

    fn page(&self) -> Result<String> {
        page(&self.place)
    }
}

/// The value of one series (`klamm_spool_events{state="waiting"}`) of the Prometheus page at `url`.
///
/// # Errors
/// The page cannot be read, or does not have it.
pub fn metric(url: &str, series: &str) -> Result<f64> {
    let page = page(&Place::new(url)?)?;
    let value = page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    let value = value.with_context(|| format!("{url} has no {series}"))?;
    value.parse().with_context(|| format!("{series} {value}"))
}

fn page(place: &Place) -> Result<String> {
    let mut stream = TcpStream::connect_timeout(&place.address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    let Place { path, authority, .. } = place;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: {authority}\r\nconnection: close\r\n\r\n").as_bytes())?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    let answer::Read::Whole(answer) = answer::read(&bytes, true) else { bail!("not an answer of HTTP") };
    ensure!(answer.status == 200, "answered {}", answer.status);
    Ok(String::from_utf8_lossy(&answer.body(&bytes)).into_owned())
}

/// The mean over the producers that sent anything.
fn gauge(page: &str, name: &str) -> Option<f64> {
    let values: Vec<f64> = page
        .lines()
        .filter_map(|line| line.strip_prefix(name)?.strip_prefix('{'))
        .filter(|rest| rest.contains("stat=\"avg\""))
        .filter_map(|rest| rest.rsplit_once("} ")?.1.split(' ').next()?.parse().ok())
        .filter(|value| *value > 0.0)
        .collect();
    mean(&values)
}

/// The labels of `klamm_build_info`.
fn build(page: &str) -> Option<String> {
    let labels = page.lines().find_map(|line| line.strip_prefix("klamm_build_info{"))?.rsplit_once('}')?.0;
    Some(format!("klamm {labels}").replace('"', ""))
}

fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# TYPE klamm_producer_batch_bytes gauge\n\
        klamm_producer_batch_bytes{producer=\"express-1000000\",stat=\"avg\"} 3000\n\
        klamm_producer_batch_bytes{producer=\"express-1000000\",stat=\"p99\"} 9000\n\
        klamm_producer_batch_bytes{producer=\"bulk-1000000\",stat=\"avg\"} 0\n\
        klamm_build_info{version=\"0.1.0\",librdkafka=\"2.12.1\"} 1\n";

    #[test]
    fn idle_producers_do_not_count() {
        assert_eq!(gauge(PAGE, BATCH_BYTES), Some(3000.0));
        assert_eq!(gauge(PAGE, BATCH_RECORDS), None);
        assert_eq!(build(PAGE).as_deref(), Some("klamm version=0.1.0,librdkafka=2.12.1"));
    }

    #[test]
    fn a_page_is_read_over_http() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/metrics", listener.local_addr().unwrap());
        let server = std::thread::spawn(move || {
            for _ in 0..3 {
                let (mut stream, _) = listener.accept().unwrap();
                let _ = stream.read(&mut [0; 1024]).unwrap();
                let chunk = format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n", PAGE.len());
                stream.write_all(format!("{chunk}{PAGE}\r\n0\r\n\r\n").as_bytes()).unwrap();
            }
        });
        let mut scraper = Scraper::new(&url).unwrap();
        scraper.sample();
        let series = "klamm_producer_batch_bytes{producer=\"express-1000000\",stat=\"p99\"}";
        assert_eq!(metric(&url, series).unwrap(), 9000.0);
        server.join().unwrap();
        let (batches, build) = scraper.finish();
        assert_eq!(batches.unwrap().bytes, 3000.0);
        assert!(build.unwrap().contains("2.12.1"));
        assert!(Scraper::new(&url).is_err(), "nobody is there any more");
    }
}
