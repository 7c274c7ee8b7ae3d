#![allow(unsafe_code, reason = "the two things the safe wrapper does not offer; nowhere else")]

use std::ffi::{CStr, CString, c_char};
use std::ptr::NonNull;
use std::time::Duration;

use rdkafka::bindings as sys;
use rdkafka::client::{Client, ClientContext};
use rdkafka::types::{RDKafkaErrorCode, RDKafkaRespErr};

/// Waits until every record handed to this client is acknowledged or has failed.
///
/// The safe wrapper's `flush` waits in slices of 100 ms; this one wakes on the last
/// acknowledgement, given `delivery.report.only.error`.
pub(super) fn flush<C: ClientContext>(
    client: &Client<C>,
    timeout: Duration,
) -> Result<(), RDKafkaErrorCode> {
    // SAFETY: the pointer is a live client for as long as `client` is borrowed.
    let code = unsafe { sys::rd_kafka_flush(client.native_ptr(), milliseconds(timeout)) };
    match code {
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR => Ok(()),
        code => Err(code.into()),
    }
}

/// The ids that the cluster gave these topics when they were created, in base64, in the same order;
/// `None` for a topic that does not exist or for a cluster that gives no ids.
pub(super) fn topic_ids<C: ClientContext>(
    client: &Client<C>,
    names: &[&str],
    timeout: Duration,
) -> Result<Vec<Option<String>>, RDKafkaErrorCode> {
    let names: Vec<CString> = names
        .iter()
        .map(|name| CString::new(*name).map_err(|_| RDKafkaErrorCode::InvalidArgument))
        .collect::<Result<_, _>>()?;
    let mut pointers: Vec<*const c_char> = names.iter().map(|name| name.as_ptr()).collect();
    let client = client.native_ptr();
    let op = sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS;
    // SAFETY: each pointer comes from the call that makes it and is given to the one that frees it
    // exactly once, by `Owned`; the names outlive the request, which copies them.
    unsafe {
        let queue = Owned::new(sys::rd_kafka_queue_new(client), sys::rd_kafka_queue_destroy)?;
        let topics = Owned::new(
            sys::rd_kafka_TopicCollection_of_topic_names(pointers.as_mut_ptr(), pointers.len()),
            sys::rd_kafka_TopicCollection_destroy,
        )?;
        let options = Owned::new(
            sys::rd_kafka_AdminOptions_new(client, op),
            sys::rd_kafka_AdminOptions_destroy,
        )?;
        let wait = milliseconds(timeout);
        let mut why: [c_char; 128] = [0; 128];
        let set = sys::rd_kafka_AdminOptions_set_request_timeout(
            options.get(),
            wait,
            why.as_mut_ptr(),
            why.len(),
        );
        if set != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
            return Err(set.into());
        }
        sys::rd_kafka_DescribeTopics(client, topics.get(), options.get(), queue.get());
        let event = Owned::new(
            sys::rd_kafka_queue_poll(queue.get(), wait.saturating_add(500)),
            sys::rd_kafka_event_destroy,
        )
        .map_err(|_| RDKafkaErrorCode::OperationTimedOut)?;
        let code = sys::rd_kafka_event_error(event.get());
        if code != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
            return Err(code.into());
        }
        let result = sys::rd_kafka_event_DescribeTopics_result(event.get());
        if result.is_null() {
            return Err(RDKafkaErrorCode::UnsupportedFeature);
        }
        let mut count = 0;
        let found = sys::rd_kafka_DescribeTopics_result_topics(result, &mut count);
        if found.is_null() {
            return Err(RDKafkaErrorCode::UnsupportedFeature);
        }
        Ok(std::slice::from_raw_parts(found, count).iter().map(|topic| topic_id(*topic)).collect())
    }
}

/// # Safety
/// `topic` must be null or point into a result that is still alive.
unsafe fn topic_id(topic: *const sys::rd_kafka_TopicDescription_t) -> Option<String> {
    if topic.is_null() {
        return None;
    }
    // SAFETY: as promised by the caller; the strings belong to the result and are copied.
    unsafe {
        let error = sys::rd_kafka_TopicDescription_error(topic);
        if sys::rd_kafka_error_code(error) != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
            return None;
        }
        let id = sys::rd_kafka_TopicDescription_topic_id(topic);
        if id.is_null()
            || (sys::rd_kafka_Uuid_most_significant_bits(id) == 0
                && sys::rd_kafka_Uuid_least_significant_bits(id) == 0)
        {
            return None;
        }
        let text = sys::rd_kafka_Uuid_base64str(id);
        if text.is_null() {
            return None;
        }
        Some(CStr::from_ptr(text).to_string_lossy().into_owned())
    }
}

/// A pointer that the client library made and that it frees.
struct Owned<T> {
    pointer: NonNull<T>,
    free: unsafe extern "C" fn(*mut T),
}

impl<T> Owned<T> {
    fn new(
        pointer: *mut T,
        free: unsafe extern "C" fn(*mut T),
    ) -> Result<Owned<T>, RDKafkaErrorCode> {
        let pointer = NonNull::new(pointer).ok_or(RDKafkaErrorCode::InvalidArgument)?;
        Ok(Owned { pointer, free })
    }

    fn get(&self) -> *mut T {
        self.pointer.as_ptr()
    }
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        // SAFETY: made by the library, not freed anywhere else.
        unsafe { (self.free)(self.pointer.as_ptr()) }
    }
}

fn milliseconds(time: Duration) -> i32 {
    i32::try_from(time.as_millis()).unwrap_or(i32::MAX)
}
