use std::io::Write;
use std::str::FromStr;

use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};

const TRACEPARENT: &str = "traceparent";
const TRACESTATE: &str = "tracestate";
const PARENT_BYTES: usize = 55;
/// As much as a sender may rely on. What is longer is left out.
const STATE_BYTES_MAX: usize = 512;
/// Sampled, and that the id of the trace is random; other flags have no meaning yet.
const KNOWN_FLAGS: u8 = 0b11;

/// What the headers of a message or request say of the trace that it belongs to. Malformed headers
/// say nothing, and so do two of one name.
pub(super) fn parent<'h>(
    headers: impl Iterator<Item = (&'h str, &'h [u8])>,
) -> Option<SpanContext> {
    let (mut parents, mut states) = ((None, 0), (None, 0));
    for (name, value) in headers {
        let found = match name {
            name if name.eq_ignore_ascii_case(TRACEPARENT) => &mut parents,
            name if name.eq_ignore_ascii_case(TRACESTATE) => &mut states,
            _ => continue,
        };
        *found = (Some(value), found.1 + 1);
    }
    let only = |(value, count): (Option<&'h [u8]>, usize)| {
        std::str::from_utf8(value.filter(|_| count == 1)?).ok()
    };
    let (trace, span, flags) = read(only(parents)?)?;
    let state = only(states).filter(|text| is_plain(text));
    let state = state.and_then(|text| TraceState::from_str(text).ok()).unwrap_or_default();
    Some(SpanContext::new(trace, span, flags, true, state))
}

/// Version 0 exactly; of later versions the part that version 0 has.
fn read(text: &str) -> Option<(TraceId, SpanId, TraceFlags)> {
    let head = text.get(..PARENT_BYTES)?;
    let rest = text.get(PARENT_BYTES..)?;
    let mut parts = head.split('-');
    let mut hex = |length: usize| {
        let is_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        parts.next().filter(|part| part.len() == length && part.bytes().all(is_hex))
    };
    let (version, trace, span, flags) = (hex(2)?, hex(32)?, hex(16)?, hex(2)?);
    let is_known = version == "00" && rest.is_empty();
    let is_later = !["00", "ff"].contains(&version) && (rest.is_empty() || rest.starts_with('-'));
    let trace = TraceId::from(u128::from_str_radix(trace, 16).ok()?);
    let span = SpanId::from(u64::from_str_radix(span, 16).ok()?);
    let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()? & KNOWN_FLAGS);
    let is_valid = trace != TraceId::INVALID && span != SpanId::INVALID;
    (is_valid && (is_known || is_later)).then_some((trace, span, flags))
}

fn is_plain(text: &str) -> bool {
    let allowed = |byte: u8| byte == b' ' || byte == b'\t' || byte.is_ascii_graphic();
    text.len() <= STATE_BYTES_MAX && text.bytes().all(allowed)
}

/// The headers by which what follows from an alert belongs to its trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Carried {
    parent: [u8; PARENT_BYTES],
    /// Empty when there is none.
    state: String,
}

impl Carried {
    pub(super) fn of(context: &SpanContext) -> Self {
        let mut parent = [b'0'; PARENT_BYTES];
        let (trace, span) = (context.trace_id(), context.span_id());
        let flags = context.trace_flags().to_u8();
        // Exactly as long as what is written.
        write!(&mut parent[..], "00-{trace:032x}-{span:016x}-{flags:02x}").ok();
        Self { parent, state: context.trace_state().header() }
    }

    /// Calls `send` with them.
    pub fn with<R>(&self, send: impl FnOnce(&[(&str, &[u8])]) -> R) -> R {
        let parent = (TRACEPARENT, &self.parent[..]);
        if self.state.is_empty() {
            return send(&[parent]);
        }
        send(&[parent, (TRACESTATE, self.state.as_bytes())])
    }

    /// The same as text, for a request over HTTP.
    pub fn pairs(&self) -> Vec<(&'static str, String)> {
        let parent = String::from_utf8_lossy(&self.parent).into_owned();
        let state = (!self.state.is_empty()).then(|| (TRACESTATE, self.state.clone()));
        std::iter::once((TRACEPARENT, parent)).chain(state).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    const SPAN: &str = "b7ad6b7169203331";

    fn read_back(headers: &[(&str, &str)]) -> Option<Vec<(&'static str, String)>> {
        let headers = headers.iter().map(|(name, value)| (*name, value.as_bytes()));
        parent(headers).map(|context| Carried::of(&context).pairs())
    }

    #[test]
    fn what_is_well_formed_comes_back_as_it_was() {
        let sampled = format!("00-{TRACE}-{SPAN}-01");
        let carried = read_back(&[("traceparent", &sampled), ("tracestate", "a=1, b@c=x:y")]);
        let state = ("tracestate", "a=1,b@c=x:y".to_owned());
        assert_eq!(carried, Some(vec![("traceparent", sampled.clone()), state]));
        for flags in ["00", "02", "03"] {
            let text = format!("00-{TRACE}-{SPAN}-{flags}");
            assert_eq!(read_back(&[("Traceparent", &text)]), Some(vec![("traceparent", text)]));
        }
        let later = format!("cc-{TRACE}-{SPAN}-09-what-comes");
        assert_eq!(read_back(&[("traceparent", &later)]), Some(vec![("traceparent", sampled)]));
    }

    #[test]
    fn what_is_malformed_says_nothing() {
        let zeros = "0".repeat(32);
        let upper = TRACE.to_uppercase();
        for text in [
            String::new(),
            "00".to_owned(),
            format!("00-{TRACE}-{SPAN}-0"),
            format!("00-{TRACE}-{SPAN}-01-x"),
            format!("00-{TRACE}-{SPAN}-01x"),
            format!("ff-{TRACE}-{SPAN}-01"),
            format!("01-{TRACE}-{SPAN}-01x"),
            format!("00-{zeros}-{SPAN}-01"),
            format!("00-{TRACE}-{}-01", &zeros[..16]),
            format!("00-{upper}-{SPAN}-01"),
            format!("00-{TRACE}_{SPAN}-01"),
            format!("00-{TRACE}-{SPAN}-+1"),
            format!(" 00-{TRACE}-{SPAN}-01"),
            format!("00-{}é-{SPAN}-01", &TRACE[2..]),
        ] {
            assert_eq!(read_back(&[("traceparent", &text)]), None, "{text}");
        }
        let right = format!("00-{TRACE}-{SPAN}-01");
        assert_eq!(read_back(&[("traceparent", &right), ("traceparent", &right)]), None);
        assert_eq!(read_back(&[("tracestate", "a=1")]), None);
    }

    #[test]
    fn a_malformed_state_is_left_out_and_the_parent_is_kept() {
        let right = format!("00-{TRACE}-{SPAN}-01");
        let long = format!("a={}", "x".repeat(600));
        for state in ["a", "A=1", "a=1\nb", "a=é", long.as_str()] {
            let carried = read_back(&[("traceparent", &right), ("tracestate", state)]);
            assert_eq!(carried, Some(vec![("traceparent", right.clone())]), "{state}");
        }
        let twice =
            read_back(&[("tracestate", "a=1"), ("traceparent", &right), ("tracestate", "b=2")]);
        assert_eq!(twice, Some(vec![("traceparent", right)]));
    }
}
