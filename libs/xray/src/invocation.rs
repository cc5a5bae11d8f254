use tracing::field::Empty;
use tracing::{Span, info_span};

/// The target of a sampled invocation's span: what opens a trace.
pub(crate) const SAMPLED: &str = "xray::invocation";

/// The target of any other invocation's span, which begins like [`SAMPLED`] so that a log's filter
/// can name both at once.
const UNSAMPLED: &str = "xray::invocation::unsampled";

/// The span of one invocation: its handler runs within, and it is to be dropped before the answer
/// is given.
///
/// `header` is Lambda's `Lambda-Runtime-Trace-Id`, in lambda_runtime's `Context::xray_trace_id`;
/// the invocation is traced if it names a trace, a segment and `Sampled=1`. `name` is what the
/// subsegment is called. `request_id` is a field for the log, whose filter has to allow the target
/// `xray::invocation` to show it.
pub fn invocation(header: Option<&str>, name: &str, request_id: &str) -> Span {
    match header.and_then(Segment::sampled) {
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

/// Says how an invocation that answers HTTP went: from 400 it is shown as an error, from 500 as a
/// fault.
pub fn record_status(invocation: &Span, status: u16) {
    invocation.record("xray.status", u64::from(status));
    if status >= 400 {
        record_failure(invocation);
    }
}

/// Says that an invocation failed, which is shown as a fault.
pub fn record_failure(invocation: &Span) {
    invocation.record("xray.failed", true);
}

/// The segment that Lambda sends for an invocation, to which all of ours are joined.
#[derive(Debug, PartialEq, Eq)]
struct Segment {
    trace: u128,
    id: u64,
}

impl Segment {
    /// The segment named by a header like `Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1`,
    /// whose parts come in any order and with others between them
    /// (<https://docs.aws.amazon.com/xray/latest/devguide/xray-concepts.html#xray-concepts-tracingheader>).
    ///
    /// None if the invocation isn't sampled, or the header is malformed.
    fn sampled(header: &str) -> Option<Self> {
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
        let trace = hexadecimal(time, 8)? << 96 | hexadecimal(unique, 24)?;
        let id = hexadecimal(part("Parent")?, 16)?;
        Some(Self {
            trace,
            id: u64::try_from(id).ok()?,
        })
    }
}

fn hexadecimal(value: &str, digits: usize) -> Option<u128> {
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
    fn a_sampled_header_names_the_segment_in_any_order_of_its_parts() {
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
                Segment::sampled(header).as_ref(),
                Some(&expected),
                "{header}"
            );
        }
    }

    #[test]
    fn an_unsampled_or_malformed_header_names_none() {
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
            assert_eq!(Segment::sampled(header), None, "{header}");
        }
    }
}
