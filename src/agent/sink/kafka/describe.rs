//! What the brokers say of a topic and rdkafka has no call for: its id (KIP-516), which tells it from another one made later under the
//! same name, and what this user may do with it (KIP-430), without trying it.
//!
//! The only unsafe part of looking at topics: one question, one answer, everything freed before it returns.

#![allow(unsafe_code)]

use std::ffi::{CStr, CString};
use std::ptr;
use std::time::Duration;

use rdkafka::bindings as rdk;
use rdkafka::producer::{BaseProducer, Producer, ProducerContext};
use rdkafka::types::RDKafkaErrorCode as Code;

/// What the brokers say of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    /// They refuse to say more.
    pub error: Option<Code>,
    /// The id in base64, as `kafka-topics --describe` shows it.
    pub id: Option<String>,
    /// Its partitions.
    pub partitions: u32,
    /// Whether this user may read and write it; `None` where the brokers do not say.
    pub may: Option<May>,
}

/// What a user may do with a topic.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct May {
    /// Read.
    pub read: bool,
    /// Write.
    pub write: bool,
}

/// The id of `topic`; `None` where the brokers do not say.
pub fn topic_id<C: ProducerContext>(client: &BaseProducer<C>, topic: &str, time: Duration) -> Option<String> {
    describe(client, topic, time).filter(|found| found.error.is_none())?.id
}

/// What the brokers say of `topic`; `None` where they do not answer in time.
pub fn describe<C: ProducerContext>(client: &BaseProducer<C>, topic: &str, time: Duration) -> Option<Described> {
    let name = CString::new(topic).ok()?;
    let handle = client.client().native_ptr();
    let milliseconds = i32::try_from(time.as_millis()).ok()?;
    // SAFETY: librdkafka copies the name; every object made here is destroyed below, after its last use.
    unsafe {
        let queue = rdk::rd_kafka_queue_new(handle);
        let options =
            rdk::rd_kafka_AdminOptions_new(handle, rdk::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS);
        rdk::rd_kafka_AdminOptions_set_request_timeout(options, milliseconds, ptr::null_mut(), 0);
        let refused = rdk::rd_kafka_AdminOptions_set_include_authorized_operations(options, 1);
        if !refused.is_null() {
            rdk::rd_kafka_error_destroy(refused);
        }
        let topics = rdk::rd_kafka_TopicCollection_of_topic_names([name.as_ptr()].as_mut_ptr(), 1);
        rdk::rd_kafka_DescribeTopics(handle, topics, options, queue);
        let event = rdk::rd_kafka_queue_poll(queue, milliseconds);
        let found = if event.is_null() { None } else { described_in(event) };
        if !event.is_null() {
            rdk::rd_kafka_event_destroy(event);
        }
        rdk::rd_kafka_TopicCollection_destroy(topics);
        rdk::rd_kafka_AdminOptions_destroy(options);
        rdk::rd_kafka_queue_destroy(queue);
        found
    }
}

/// # Safety
/// `event` is alive and not freed meanwhile.
unsafe fn described_in(event: *mut rdk::rd_kafka_event_t) -> Option<Described> {
    // SAFETY: the result and all it points to belong to the event, which outlives this call.
    unsafe {
        let result = rdk::rd_kafka_event_DescribeTopics_result(event);
        if result.is_null() {
            return None;
        }
        let mut count = 0;
        let found = rdk::rd_kafka_DescribeTopics_result_topics(result, &raw mut count);
        if found.is_null() || count != 1 {
            return None;
        }
        let error = rdk::rd_kafka_TopicDescription_error(*found);
        let error = if error.is_null() { None } else { Some(rdk::rd_kafka_error_code(error)) };
        let error = error.filter(|code| *code != rdk::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR);
        let id = rdk::rd_kafka_TopicDescription_topic_id(*found);
        let text = if id.is_null() { ptr::null() } else { rdk::rd_kafka_Uuid_base64str(id) };
        let mut partitions = 0;
        rdk::rd_kafka_TopicDescription_partitions(*found, &raw mut partitions);
        Some(Described {
            error: error.map(Code::from),
            id: (!text.is_null()).then(|| CStr::from_ptr(text).to_string_lossy().into_owned()),
            partitions: u32::try_from(partitions).unwrap_or(u32::MAX),
            may: may_in(*found),
        })
    }
}

/// # Safety
/// `topic` is alive and not freed meanwhile.
unsafe fn may_in(topic: *const rdk::rd_kafka_TopicDescription_t) -> Option<May> {
    use rdk::rd_kafka_AclOperation_t as Operation;
    let mut count = 0;
    // SAFETY: the list belongs to the topic; no list means that the brokers did not say.
    let operations = unsafe {
        let first = rdk::rd_kafka_TopicDescription_authorized_operations(topic, &raw mut count);
        if first.is_null() {
            return None;
        }
        std::slice::from_raw_parts(first, count)
    };
    let has = |operation| operations.contains(&operation);
    let all = has(Operation::RD_KAFKA_ACL_OPERATION_ALL);
    Some(May {
        read: all || has(Operation::RD_KAFKA_ACL_OPERATION_READ),
        write: all || has(Operation::RD_KAFKA_ACL_OPERATION_WRITE),
    })
}
