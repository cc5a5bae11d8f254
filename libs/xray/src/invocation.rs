use tracing::field::Empty;
use tracing::{Span, info_span};

/// The `tracing` target of the span of a sampled invocation. In a trace, this span is the root of all spans of our
/// code.
pub(crate) const SAMPLED: &str = "xray::invocation";

/// The `tracing` target of the span of an unsampled invocation. It begins with the text of [`SAMPLED`], so that one
/// directive of a log filter matches both targets.
const UNSAMPLED: &str = "xray::invocation::unsampled";

/// Creates the span of one invocation. The caller must run the handler inside the span, and drop the span before the
/// response is returned.
///
/// `header` is the value of Lambda's header `Lambda-Runtime-Trace-Id`. The crate lambda_runtime provides this value as
/// `Context::xray_trace_id`. The invocation is traced if the header contains a trace ID, a segment ID and `Sampled=1`.
/// `name` is the name of the subsegment. `request_id` is a field for the log. The log shows this field only if the
/// log's filter enables the target `xray::invocation`.
pub fn invocation(header: Option<&str>, name: &str, request_id: &str) -> Span {
    match header.and_then(Segment::parse_sampled) {
        None => info_span!(target: UNSAMPLED, "invocation", request_id),
        Some(segment) => info_span!(
            target: SAMPLED,
            "invocation",
            request_id,
            xray.name = name,
            xray.trace = segment.trace,
            xray.parent = segment.id,
            xray.status = Empty,
            xray.failed = Empty,
        ),
    }
}

/// Records the HTTP status of an invocation's response. X-Ray shows a status from 400 to 499 as an error, and a status
/// of 500 or above as a fault.
pub fn record_status(invocation: &Span, status: u16) {
    invocation.record("xray.status", u64::from(status));
    if status >= 400 {
        record_failure(invocation);
    }
}

/// Records that an invocation failed. X-Ray shows the invocation as a fault, or as an error if the recorded status is
/// 400 to 499.
pub fn record_failure(invocation: &Span) {
    invocation.record("xray.failed", true);
}

/// The X-Ray segment that Lambda creates for an invocation. It is the parent of the subsegment of the invocation's
/// span.
#[derive(Debug, PartialEq, Eq)]
struct Segment {
    trace: u128,
    id: u64,
}

impl Segment {
    /// Parses the value of a trace header, such as
    /// `Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1`. The parts can be in any order,
    /// with other parts between them
    /// (<https://docs.aws.amazon.com/xray/latest/devguide/xray-concepts.html#xray-concepts-tracingheader>).
    ///
    /// Returns `None` if the invocation is not sampled, or the header is malformed.
    fn parse_sampled(header: &str) -> Option<Self> {
        let part = |name| {
            let mut parts = header
                .split(';')
                .filter_map(|part| part.trim().split_once('='));
            parts.find_map(|(part, value)| (part == name).then_some(value))
        };
        if part("Sampled")? != "1" {
            return None;
        }
        let (time, unique) = part("Root")?.strip_prefix("1-")?.split_once('-')?;
        let trace = parse_hex(time, 8)? << 96 | parse_hex(unique, 24)?;
        let id = parse_hex(part("Parent")?, 16)?;
        Some(Self {
            trace,
            id: u64::try_from(id).ok()?,
        })
    }
}

fn parse_hex(value: &str, digits: usize) -> Option<u128> {
    let valid = value.len() == digits && value.bytes().all(|byte| byte.is_ascii_hexdigit());
    valid
        .then(|| u128::from_str_radix(value, 16).ok())
        .flatten()
        .filter(|value| *value > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sampled_header_is_parsed_with_its_parts_in_any_order() {
        let expected = Segment {
            trace: 0x5759_e988_bd86_2e3f_e1be_46a9_9427_2793,
            id: 0x5399_5c3f_42cd_8ad8,
        };
        for header in [
            "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1",
            "Sampled=1;Lineage=a:1|b:2;Parent=53995c3f42cd8ad8;Root=1-5759e988-bd862e3fe1be46a994272793",
            "Root=1-5759E988-bd862e3fe1be46a994272793; Parent=53995c3f42cd8ad8; Sampled=1;",
        ] {
            assert_eq!(
                Segment::parse_sampled(header).as_ref(),
                Some(&expected),
                "{header}"
            );
        }
    }

    #[test]
    fn an_unsampled_or_malformed_header_has_no_segment() {
        for header in [
            "",
            ";;=;",
            "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=0",
            "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=?",
            "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8",
            "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1",
            "Parent=53995c3f42cd8ad8;Sampled=1",
            "Root=2-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1",
            "Root=1-5759e988-bd862e3fe1be46a99427279;Parent=53995c3f42cd8ad8;Sampled=1",
            "Root=1-5759e988-bd862e3fe1be46a99427279x;Parent=53995c3f42cd8ad8;Sampled=1",
            "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=+3995c3f42cd8ad8;Sampled=1",
            "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=0000000000000000;Sampled=1",
            "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8ff;Sampled=1",
        ] {
            assert_eq!(Segment::parse_sampled(header), None, "{header}");
        }
    }
}
