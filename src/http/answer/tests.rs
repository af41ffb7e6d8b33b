//! Whole answers, from the body of a request to the body of its answer, over a fake Kafka.

use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::HeaderMap;
use http_body_util::BodyExt;
use rdkafka::error::RDKafkaErrorCode;
use tokio::sync::watch;

use super::*;
use crate::config::{self, ClientLimits, Cluster, Config, KeyRule, Topic};
use crate::event::{ClientId, TopicName};
use crate::http::problem::{Problem, finish};
use crate::ingest::Rules;
use crate::ingest::accept::{Sent, Way, accept};
use crate::ingest::gate::Pass;
use crate::ingest::outcome::outcome;
use crate::ingest::replies::Replies;
use crate::ingest::request::Wishes;
use crate::ingest::spooling::Resort;
use crate::shutdown::Phase;
use crate::stages::admission::Budget;
use crate::stages::limit::Clock;
use crate::stages::produce::catalog::{Catalog, Known, Scout};
use crate::stages::produce::fake::{Fake, Record};
use crate::stages::produce::health::Health;
use crate::stages::produce::options::Options;
use crate::stages::produce::{Destination, Fate, Sink};
use crate::telemetry::{Metrics, Outcome, Snapshot};
use crate::units::{Limit, Span};

/// A gateway with the client `shop`, 100 events an hour, and the topic `orders`, keyed by `/id`.
struct Shop {
    app: Gateway,
    fake: Arc<Fake>,
}

fn config() -> Config {
    let mut config = Config::default();
    config.ingest.wait = Span::millis(30);
    let limits = ClientLimits {
        requests: Some(Limit::Off),
        events: Some("100/h".parse().unwrap()),
        bytes: Some(Limit::Off),
        burst: Some(Span::secs(3600)),
    };
    config.clients.insert("shop".into(), config::Client { limits, ..Default::default() });
    let key = KeyRule { pointer: Some("/id".into()), required: false };
    config.topics.insert("orders".into(), Topic { key, ..Topic::default() });
    config
}

impl Shop {
    fn over(fake: Fake) -> Self {
        let (config, fake) = (Arc::new(config()), Arc::new(fake));
        let cluster = Cluster { bootstrap: vec!["127.0.0.1:1".into()], ..Cluster::default() };
        let health = Arc::<Health>::default();
        let scout = Scout::new(&Options { cluster, budget: 1 << 20 }, Arc::clone(&health), None).unwrap();
        let replies = Arc::<Replies>::default();
        let told = Arc::clone(&replies);
        tokio::spawn(async move { told.tell().await });
        let app = Gateway {
            backlog: Arc::default(),
            replies,
            spooling: None,
            budget: Budget::new(&config.budget),
            rules: ArcSwap::from_pointee(Rules::new(config, None)),
            sink: Arc::clone(&fake) as Arc<dyn Sink>,
            catalog: Catalog::new(Arc::new(scout), Span::secs(300).get()),
            health,
            metrics: Metrics::new(10, 1 << 20),
            phase: watch::channel(Phase::Serving).1,
            clock: Clock::starting_at(Instant::now()),
        };
        Self { app, fake }
    }

    /// Whose events share the fate that `fate` gives by their place.
    fn where_each(fate: impl Fn(usize) -> Option<Fate> + Send + Sync + 'static) -> Self {
        Self::over(Fake::deciding(Box::new(fate)))
    }

    fn client(&self) -> Arc<Client> {
        Arc::clone(&self.app.rules.load().clients[&ClientId::from("shop")])
    }

    /// What the gate would let through.
    fn pass(&self, query: &str, headers: &[(&'static str, &'static str)]) -> Pass {
        let rules = self.app.rules.load_full();
        let (client, topic) = (self.client(), TopicName::from("orders"));
        let policy = rules.topics.find("orders").unwrap();
        let mut fields = HeaderMap::new();
        fields.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
        for (name, value) in headers {
            fields.append(*name, HeaderValue::from_static(value));
        }
        Pass {
            config: Arc::clone(&rules.config),
            permit: self.app.budget.open(&client.share, &topic),
            pair: self.app.metrics.pair(&client.id, &topic),
            to: Destination {
                topic,
                known: Known { partitions: 2, max_message_bytes: None, demands: None },
                linger: None,
                client_id: None,
                patience: std::time::Duration::from_secs(10),
            },
            wishes: Wishes::of(&fields, Some(query), &policy.topic.formats).unwrap(),
            client,
            policy,
            resort: Resort::Never,
            kafka_away: false,
        }
    }

    fn send(&self, query: &str, lines: &'static str) -> Result<Sent, Answered> {
        accept(&self.app, self.pass(query, &[]), RequestId::new(), Bytes::from_static(lines.as_bytes()))
            .map_err(Answered::from)
    }

    /// Status and body of the answer to `lines`, the request's id as `ID`.
    async fn post(&self, query: &str, lines: &'static str) -> (u16, String) {
        let result = match self.send(query, lines) {
            Ok(sent) => outcome(&self.app, sent).await.map_err(Answered::from),
            Err(refused) => Err(refused),
        };
        let request_id = RequestId::new();
        let mut response = render(result, Some(&self.client()), &self.app, request_id);
        finish(&mut response, Problem { request_id, docs_url: "https://docs" });
        let body = response.body_mut().collect().await.unwrap().to_bytes();
        let text = String::from_utf8(body.to_vec()).unwrap();
        (response.status().as_u16(), text.replace(&request_id.to_string(), "ID"))
    }

    /// What is counted, once nothing is held any more: every received event has an outcome.
    fn counted(&self) -> Snapshot {
        assert_eq!(self.app.budget.usage().used, 0, "bytes in flight");
        assert_eq!(self.fake.waiting().events, 0, "events in flight");
        let counted = self.app.metrics.pair(&"shop".into(), &"orders".into()).snapshot();
        assert_eq!(counted.received, counted.outcomes.iter().sum::<u64>(), "{counted:?}");
        counted
    }

    /// How many events of the quota are spent.
    fn spent(&self) -> u64 {
        100 - self.client().quota.standing(self.app.now()).next().unwrap().remaining
    }
}

fn acked(place: usize) -> Option<Fate> {
    Some(Fate::Acked { partition: 1, offset: Some(40 + place as i64) })
}

const TIMED_OUT: RDKafkaErrorCode = RDKafkaErrorCode::MessageTimedOut;
const DENIED: RDKafkaErrorCode = RDKafkaErrorCode::TopicAuthorizationFailed;

#[tokio::test]
async fn a_200_lists_its_receipts() {
    let shop = Shop::where_each(|place| match place {
        2 => Some(Fate::Acked { partition: 0, offset: None }),
        _ => acked(place),
    });
    assert_eq!(
        shop.post("", "1\n2\n3\n4\n").await,
        (200, r#"{"topic":"orders","accepted":4,"request_id":"ID","receipts":[{"index":0,"count":2,"partition":1,"offset":40},{"index":2,"count":1,"partition":0,"offset":null},{"index":3,"count":1,"partition":1,"offset":43}]}"#.into())
    );
    assert_eq!(shop.counted().outcome(Outcome::Acked), 4);
    assert_eq!(shop.spent(), 4);
}

#[tokio::test]
async fn without_receipts_where_they_are_not_wanted() {
    let shop = Shop::over(Fake::obliging());
    let expected = r#"{"topic":"orders","accepted":2,"request_id":"ID"}"#;
    assert_eq!(shop.post("return=minimal", "1\n2\n").await, (200, expected.into()));
    shop.counted();
}

#[tokio::test]
async fn the_sink_gets_what_was_posted() {
    let shop = Shop::over(Fake::obliging());
    let headers = [("kafka-timestamp", "7"), ("kafka-header-trace", "abc")];
    let body = Bytes::from_static(b" {\"id\": \"k\\u0031\"} \n");
    assert!(accept(&shop.app, shop.pass("", &headers), RequestId::new(), body).is_ok());
    let record = Record {
        topic: "orders".into(),
        key: Some(b"k1".to_vec()),
        value: Some(b"{\"id\": \"k\\u0031\"}".to_vec()),
        headers: vec![(b"trace".to_vec(), Some(b"abc".to_vec()))],
        partition: None,
        timestamp: Some(7),
    };
    assert_eq!(shop.fake.records(), [record]);
}

#[tokio::test]
async fn a_207_says_what_became_of_every_event() {
    let shop = Shop::where_each(|place| match place {
        1 | 2 => Some(Fate::Failed(TIMED_OUT)),
        3 => Some(Fate::Unknown(TIMED_OUT)),
        4 => Some(Fate::Refused(DENIED)),
        _ => acked(place),
    });
    assert_eq!(
        shop.post("on_invalid=skip", "1\n2\n3\n4\n5\n{\n").await,
        (207, r#"{"topic":"orders","accepted":1,"request_id":"ID","receipts":[{"index":0,"count":1,"partition":1,"offset":40}],"failures":[{"index":1,"count":2,"code":"kafka_unavailable","retryable":true,"detail":"MessageTimedOut (Local: Message timed out)"},{"index":3,"count":1,"code":"outcome_unknown","retryable":true,"detail":"MessageTimedOut (Local: Message timed out)"},{"index":4,"count":1,"code":"kafka_rejected","retryable":false,"detail":"TopicAuthorizationFailed (Broker: Topic authorization failed)"},{"index":5,"count":1,"code":"invalid_events","retryable":false,"detail":"not JSON: EOF while parsing an object","reason":"malformed","offset":11}]}"#.into())
    );
    assert_eq!(Outcome::ALL.map(|outcome| shop.counted().outcome(outcome)), [1, 2, 2, 1]);
    assert_eq!(shop.spent(), 4, "what Kafka did not take is given back");
}

#[tokio::test]
async fn a_502_and_a_503_say_that_nothing_was_written() {
    let refused = Shop::where_each(|_| Some(Fate::Refused(DENIED)));
    assert_eq!(
        refused.post("", "1\n2\n").await,
        (502, r#"{"type":"https://docs/errors.md#kafka_rejected","title":"Kafka refused for good; nothing was written","status":502,"detail":"none of 2 events was written","instance":"urn:uuid:ID","code":"kafka_rejected","retryable":false,"errors":[{"index":0,"count":2,"code":"kafka_rejected","retryable":false,"detail":"TopicAuthorizationFailed (Broker: Topic authorization failed)"}]}"#.into())
    );
    assert_eq!((refused.counted().outcome(Outcome::Rejected), refused.spent()), (2, 2));
    let failed = Shop::where_each(|_| Some(Fate::Failed(TIMED_OUT)));
    assert_eq!(
        failed.post("", "1\n2\n").await,
        (503, r#"{"type":"https://docs/errors.md#kafka_unavailable","title":"Kafka is away; nothing was written","status":503,"detail":"Kafka did not take the events; nothing was written","instance":"urn:uuid:ID","code":"kafka_unavailable","retryable":true,"errors":[{"index":0,"count":2,"code":"kafka_unavailable","retryable":true,"detail":"MessageTimedOut (Local: Message timed out)"}]}"#.into())
    );
    assert_eq!((failed.counted().outcome(Outcome::Failed), failed.spent()), (2, 0));
}

#[tokio::test]
async fn a_504_says_that_nobody_knows() {
    let shop = Shop::where_each(|_| Some(Fate::Unknown(TIMED_OUT)));
    assert_eq!(
        shop.post("", "1\n").await,
        (504, r#"{"type":"https://docs/errors.md#outcome_unknown","title":"The events may or may not be in Kafka","status":504,"detail":"Kafka did not confirm all of 1 events in time; sending them again may double some","instance":"urn:uuid:ID","code":"outcome_unknown","retryable":true,"errors":[{"index":0,"count":1,"code":"outcome_unknown","retryable":true,"detail":"MessageTimedOut (Local: Message timed out)"}]}"#.into())
    );
    assert_eq!((shop.counted().outcome(Outcome::Unknown), shop.spent()), (1, 1));
}

#[tokio::test]
async fn when_the_wait_is_over_what_is_known_is_told() {
    let shop = Shop::where_each(|place| (place != 1).then(|| acked(place)).flatten());
    let sent = shop.send("", "1\n2\n3\n").unwrap();
    let Way::Kafka { ticket, .. } = &sent.way else { panic!("the straight way") };
    let ticket = *ticket;
    let told = outcome(&shop.app, sent).await.unwrap();
    assert_eq!(told.accepted, 2);
    let body = accepted_response(&told, RequestId::new()).into_body().collect().await.unwrap().to_bytes();
    let body = String::from_utf8(body.to_vec()).unwrap();
    let (_, failures) = body.split_once("\"failures\":").unwrap();
    assert_eq!(
        failures,
        r#"[{"index":1,"count":1,"code":"outcome_unknown","retryable":true,"detail":"no answer from Kafka yet"}]}"#
    );
    // The late word is what counts.
    shop.fake.settle(ticket, 1, acked(1).unwrap());
    assert_eq!(shop.counted().outcome(Outcome::Acked), 3);
}

#[tokio::test]
async fn events_of_a_caller_who_hung_up_are_counted_by_what_became_of_them() {
    let shop = Shop::where_each(|_| None);
    let sent = shop.send("", "1\n2\n").unwrap();
    let Way::Kafka { ticket, .. } = &sent.way else { panic!("the straight way") };
    let ticket = *ticket;
    drop(sent);
    assert!(shop.app.budget.usage().used > 0, "the bytes are held until Kafka's word");
    shop.fake.settle(ticket, 0, acked(0).unwrap());
    shop.fake.settle(ticket, 1, Fate::Failed(TIMED_OUT));
    let counted = shop.counted();
    assert_eq!((counted.outcome(Outcome::Acked), counted.outcome(Outcome::Failed)), (1, 1));
    assert_eq!(shop.spent(), 1);
}

#[tokio::test]
async fn a_refused_batch_reaches_no_sink_and_is_counted_rejected() {
    let shop = Shop::over(Fake::obliging());
    assert_eq!(shop.post("", "1\n{\n").await.0, 422);
    assert_eq!((shop.fake.records(), shop.counted().outcome(Outcome::Rejected)), (Vec::new(), 2));
}
