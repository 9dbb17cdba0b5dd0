//! A topic's id (KIP-516), which rdkafka has no call for: tells a topic from another one made later under the same name.
//!
//! The only unsafe part of looking at topics: one question, one answer, everything freed before it returns.

#![allow(unsafe_code)]

use std::ffi::{CStr, CString};
use std::ptr;
use std::time::Duration;

use rdkafka::bindings as rdk;
use rdkafka::producer::{BaseProducer, Producer, ProducerContext};

/// The id of `topic` in base64, as `kafka-topics --describe` shows it; `None` where the brokers do not say.
pub fn topic_id<C: ProducerContext>(client: &BaseProducer<C>, topic: &str, time: Duration) -> Option<String> {
    let name = CString::new(topic).ok()?;
    let handle = client.client().native_ptr();
    let milliseconds = i32::try_from(time.as_millis()).ok()?;
    // SAFETY: librdkafka copies the name; every object made here is destroyed below, after its last use.
    unsafe {
        let queue = rdk::rd_kafka_queue_new(handle);
        let options =
            rdk::rd_kafka_AdminOptions_new(handle, rdk::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS);
        rdk::rd_kafka_AdminOptions_set_request_timeout(options, milliseconds, ptr::null_mut(), 0);
        let topics = rdk::rd_kafka_TopicCollection_of_topic_names([name.as_ptr()].as_mut_ptr(), 1);
        rdk::rd_kafka_DescribeTopics(handle, topics, options, queue);
        let event = rdk::rd_kafka_queue_poll(queue, milliseconds);
        let id = if event.is_null() { None } else { id_in(event) };
        if !event.is_null() {
            rdk::rd_kafka_event_destroy(event);
        }
        rdk::rd_kafka_TopicCollection_destroy(topics);
        rdk::rd_kafka_AdminOptions_destroy(options);
        rdk::rd_kafka_queue_destroy(queue);
        id
    }
}

/// # Safety
/// `event` is alive and not freed meanwhile.
unsafe fn id_in(event: *mut rdk::rd_kafka_event_t) -> Option<String> {
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
        if !error.is_null()
            && rdk::rd_kafka_error_code(error) != rdk::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR
        {
            return None;
        }
        let id = rdk::rd_kafka_TopicDescription_topic_id(*found);
        let text = if id.is_null() { ptr::null() } else { rdk::rd_kafka_Uuid_base64str(id) };
        (!text.is_null()).then(|| CStr::from_ptr(text).to_string_lossy().into_owned())
    }
}
