//! Records that no agent sent.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use super::Bed;

impl Bed {
    /// Sends records by hand, outside any transaction: key and value.
    pub fn plant(&self, topic: &str, partition: i32, records: &[(&str, &[u8])]) {
        self.plant_old(topic, partition, Duration::ZERO, records.iter().map(|(key, value)| (*key, value)));
    }

    /// The same of some time ago, by their timestamps.
    pub fn plant_old(
        &self,
        topic: &str,
        partition: i32,
        age: Duration,
        records: impl IntoIterator<Item = (impl AsRef<str>, impl AsRef<[u8]>)>,
    ) {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.address).set("enable.idempotence", "true");
        let producer: BaseProducer = config.create().unwrap();
        let at = jiff::Timestamp::now().as_millisecond() - age.as_millis() as i64;
        for (key, value) in records {
            let record = BaseRecord::to(topic).partition(partition).timestamp(at);
            let mut record = record.key(key.as_ref()).payload(value.as_ref());
            while let Err((error, back)) = producer.send(record) {
                assert_eq!(error, KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull));
                producer.poll(Duration::from_millis(10));
                record = back;
            }
        }
        producer.flush(Duration::from_secs(60)).unwrap();
    }
}
