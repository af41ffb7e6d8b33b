use std::sync::mpsc;
use std::thread;

use clap::Parser;
use rdkafka::consumer::{BaseConsumer, Consumer};

use super::*;
use crate::yardstick::broker::{self, Broker};

/// Runs `work` beside a mock cluster, which may not leave its thread.
fn with_broker<T>(topics: &[&str], work: impl FnOnce(&str) -> T) -> T {
    let options = broker::Options { topics: topics.iter().map(ToString::to_string).collect(), partitions: 2, delay: 0 };
    let (tell, told) = mpsc::channel();
    let (finish, finished) = mpsc::channel::<()>();
    let server = thread::spawn(move || {
        let broker = Broker::start(&options).unwrap();
        tell.send(broker.bootstrap()).unwrap();
        let _ = finished.recv();
    });
    let result = work(&told.recv().unwrap());
    drop(finish);
    server.join().unwrap();
    result
}

fn options(bootstrap: &str, arguments: &[&str]) -> Options {
    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }
    let fixed = ["raw", "--bootstrap", bootstrap, "--warm-up", "0.2", "--duration", "0.3", "--linger", "1"];
    Line::parse_from(fixed.iter().chain(arguments)).options
}

/// Records of a topic, both partitions.
fn records(bootstrap: &str, topic: &str) -> [i64; 2] {
    let consumer: BaseConsumer = ClientConfig::new().set("bootstrap.servers", bootstrap).create().unwrap();
    [0, 1].map(|partition| {
        let (_, high) = consumer.fetch_watermarks(topic, partition, Duration::from_secs(10)).unwrap();
        high
    })
}

#[test]
fn every_message_is_acknowledged_once_by_each_call_and_each_way_of_reports() {
    for arguments in [&[][..], &["--batch"], &["--reports", "events"], &["--batch", "--reports", "events", "--keyed"]] {
        with_broker(&["a", "b"], |bootstrap| {
            let mut options = options(bootstrap, &["--topics", "a,b", "--outstanding", "3000", "--burst", "50"]);
            options.batch = arguments.contains(&"--batch");
            options.keyed = arguments.contains(&"--keyed");
            options.reports = if arguments.contains(&"events") { Reports::Events } else { Reports::Callback };
            options.warm_up = Duration::ZERO;
            let report = run(&options, &Stop::default()).unwrap();
            assert_eq!((report.failed, report.unanswered), (0, 0), "{arguments:?}");
            assert!(report.messages > 0 && report.cpu_us > 0.0, "{arguments:?} {report:?}");
            let stored = [records(bootstrap, "a"), records(bootstrap, "b")].concat();
            // Less the two that opened the topics.
            let all = stored.iter().sum::<i64>() - 2;
            // Those acknowledged after the end are in Kafka too; at most as many as may be outstanding.
            let seen = i64::try_from(report.messages).unwrap();
            assert!((seen..=seen + 3000).contains(&all), "{arguments:?}: {seen} acknowledged, {all} in Kafka");
            assert_eq!(all % 50, 0, "whole requests");
            let by_topic = (stored[0] + stored[1]) - (stored[2] + stored[3]);
            assert!((0..=50).contains(&by_topic), "topics in turn: {stored:?}");
        });
    }
}

#[test]
fn a_rate_times_each_burst_once_from_its_intended_time() {
    with_broker(&["load"], |bootstrap| {
        let options = options(bootstrap, &["--rate", "200", "--burst", "10", "--arrivals", "constant"]);
        let report = run(&options, &Stop::default()).unwrap();
        let all: i64 = records(bootstrap, "load").iter().sum();
        assert_eq!(all, 1001, "0.5 s of 200 bursts of 10, and the one that opened the topic");
        let latency = report.latency.unwrap();
        assert_eq!(latency.count, 60, "those of the last 0.3 s");
        assert!(latency.p50_ms >= 1.0, "not below the linger: {latency:?}");
        // On a busy machine some bursts are due before the one ahead of them is sent, and have no lateness of their own.
        let lateness = report.lateness.unwrap();
        assert!((1..=60).contains(&lateness.count), "{lateness:?}");
    });
}

#[test]
fn a_topic_that_kafka_lacks_is_a_fault_before_anything_is_measured() {
    with_broker(&["there"], |bootstrap| {
        let mut options = options(bootstrap, &["--rate", "50", "--burst", "1", "--topics", "lacking"]);
        options.properties = vec![("topic.metadata.propagation.max.ms".to_owned(), "0".to_owned())];
        let fault = run(&options, &Stop::default()).unwrap_err().to_string();
        assert!(fault.contains("does not take messages") || fault.contains("refuses"), "{fault}");
    });
}
