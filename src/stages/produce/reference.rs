//! The same sink over the crate's own `ThreadedProducer`, with no unsafe code of ours: a record a call, by the name of
//! its topic, the partition chosen by librdkafka. For tests, which hold [`super::kafka::Kafka`] to it.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::error::KafkaResult;
use rdkafka::message::{DeliveryResult, Header, Message, OwnedHeaders};
use rdkafka::producer::{BaseRecord, NoCustomPartitioner, ProducerContext, ThreadedProducer};

use super::context::{Context, Ears};
use super::flights::Ticket;
use super::options::Options;
use super::{Completion, Destination, Fate, Fates, Lane, Run, Sink, Waiting};
use crate::event::{Batch, Event};
use crate::librdkafka::persisted;

/// Of the one producer.
struct Reports(Context, Ears);

impl ClientContext for Reports {}

impl ProducerContext<NoCustomPartitioner> for Reports {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, opaque: usize) {
        let acked = |message: &dyn Fn() -> (i32, i64)| {
            let (partition, offset) = message();
            Fate::Acked { partition, offset: Some(offset).filter(|offset| *offset >= 0) }
        };
        let fate = match result {
            Ok(message) => acked(&|| (message.partition(), message.offset())),
            Err((error, message)) => self.0.failed(
                error.rdkafka_error_code().expect("a code of librdkafka"),
                persisted(message),
                acked(&|| (message.partition(), message.offset())),
                (message.topic(), message.partition()),
            ),
        };
        self.1.flights.settle([(opaque >> 32, Run::of(opaque & 0xffff_ffff, fate))]);
    }
}

/// The reference.
pub struct Reference {
    ears: Ears,
    producer: ThreadedProducer<Reports>,
}

impl Reference {
    /// With one producer for everything.
    pub fn new(options: &Options, ears: Ears) -> KafkaResult<Arc<Self>> {
        let context =
            Reports(Context::new("reference".into(), ears.clone(), Arc::default(), Duration::MAX), ears.clone());
        let producer =
            options.producer(options.batch_bytes(None), options.linger(None), None).create_with_context(context)?;
        Ok(Arc::new(Self { ears, producer }))
    }

    fn enqueue(&self, to: &Destination, batch: &Batch, event: &Event, opaque: usize) -> KafkaResult<()> {
        let mut record: BaseRecord<'_, [u8], [u8], usize> = BaseRecord::with_opaque_to(to.topic.as_str(), opaque);
        record.payload = event.value.map(|piece| batch.bytes(piece));
        record.key = event.key.map(|piece| batch.bytes(piece));
        record.partition = event.partition;
        record.timestamp = event.timestamp;
        if event.header_count() > 0 {
            let headers = batch.headers(event).iter().fold(OwnedHeaders::new(), |headers, header| {
                let key = std::str::from_utf8(batch.bytes(header.name)).unwrap();
                headers.insert(Header { key, value: header.value.map(|piece| batch.bytes(piece)) })
            });
            record.headers = Some(headers);
        }
        self.producer.send(record).map_err(|(error, _)| error)
    }
}

impl Sink for Reference {
    fn send(&self, to: &Destination, _: Lane, batch: Arc<Batch>, done: Box<dyn Completion>) -> Ticket {
        let ticket = self.ears.flights.begin(Arc::clone(&batch), done, None, None);
        for (place, event) in batch.events.iter().enumerate() {
            let opaque = ticket.token() << 32 | place;
            if let Err(error) = self.enqueue(to, &batch, event, opaque) {
                let code = error.rdkafka_error_code().expect("a code of librdkafka");
                self.ears.flights.settle([(ticket.token(), Run::of(place, Fate::Failed(code)))]);
            }
        }
        ticket
    }

    fn so_far(&self, ticket: Ticket) -> Option<Fates> {
        self.ears.flights.so_far(ticket)
    }

    fn waiting(&self) -> Waiting {
        self.ears.flights.waiting()
    }
}
