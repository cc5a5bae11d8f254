use std::io;
use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs, UdpSocket};

use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, Filter};
use tracing_subscriber::registry::LookupSpan;

use crate::aws_call::AWS;
use crate::invocation::SAMPLED;
use crate::subsegment::{SpanFields, Subsegment};

/// The environment variable with the address of the X-Ray daemon. Lambda sets this variable if tracing is on.
const ADDRESS: &str = "AWS_XRAY_DAEMON_ADDRESS";

/// Why the X-Ray daemon's address in the environment variable `AWS_XRAY_DAEMON_ADDRESS` cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address has none of the forms that X-Ray documents, or cannot be resolved to an IPv4 address.
    #[error(
        "the environment variable {ADDRESS} is malformed: it must be an address such as 127.0.0.1:2000"
    )]
    Malformed,
    /// The UDP socket that sends to the X-Ray daemon cannot be created.
    #[error("cannot create a UDP socket to send to the address in {ADDRESS}")]
    Unusable(#[source] io::Error),
}

/// Creates the `tracing` layer that sends the spans of sampled invocations to the X-Ray daemon. The environment
/// variable `AWS_XRAY_DAEMON_ADDRESS` has the address of the daemon. If the variable is unset or empty, tracing is off
/// and the layer disables all spans.
///
/// `steps` selects which spans inside a handler become subsegments. It should select only spans of our own code: the
/// AWS SDK and hyper open hundreds of spans in one call.
///
/// # Errors
/// Fails if the address is malformed, or no UDP socket can be created.
pub fn layer<S>(steps: Targets) -> Result<impl Layer<S> + Send + Sync, Error>
where
    S: Subscriber + for<'span> LookupSpan<'span> + Send + Sync,
{
    match std::env::var_os(ADDRESS).filter(|address| !address.is_empty()) {
        None => build(None, steps),
        Some(address) => build(Some(address.to_str().ok_or(Error::Malformed)?), steps),
    }
}

/// Creates the layer as [`layer`] does, for the X-Ray daemon at `address`. The address has the form `host:port` or
/// `udp:host:port tcp:host:port` (<https://docs.aws.amazon.com/xray/latest/devguide/xray-daemon-configuration.html>).
///
/// # Errors
/// Fails if the address is malformed, or no UDP socket can be created.
pub fn layer_to<S>(
    address: &str,
    steps: Targets,
) -> Result<impl Layer<S> + Send + Sync + use<S>, Error>
where
    S: Subscriber + for<'span> LookupSpan<'span> + Send + Sync,
{
    build(Some(address), steps)
}

fn build<S>(
    address: Option<&str>,
    steps: Targets,
) -> Result<impl Layer<S> + Send + Sync + use<S>, Error>
where
    S: Subscriber + for<'span> LookupSpan<'span> + Send + Sync,
{
    let daemon = address.map(DaemonLayer::new).transpose()?;
    let filter = SampledFilter {
        steps: daemon.is_some().then_some(steps),
    };
    // The filter is needed even if tracing is off: without it, the registry would open every span of every crate
    Ok(daemon.with_filter(filter))
}

/// Sends each subsegment to the X-Ray daemon when its span closes. Sends on the thread that closes the span, because
/// Lambda may freeze the process soon afterwards.
struct DaemonLayer {
    socket: UdpSocket,
    address: SocketAddr,
}

impl DaemonLayer {
    fn new(address: &str) -> Result<Self, Error> {
        let address = parse_address(address)?;
        let bound = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0));
        let socket = bound.map_err(Error::Unusable)?;
        socket.set_nonblocking(true).map_err(Error::Unusable)?;
        Ok(Self { socket, address })
    }
}

impl<S> Layer<S> for DaemonLayer
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else {
            return;
        };
        let mut fields = SpanFields::default();
        attributes.record(&mut fields);
        // `parent` returns the closest ancestor that the filter enabled
        let parent = span
            .parent()
            .and_then(|parent| parent.extensions().get().map(Subsegment::context));
        if let Some(subsegment) = Subsegment::begin(span.name(), parent, fields) {
            span.extensions_mut().insert(subsegment);
        }
    }

    fn on_record(&self, id: &Id, fields: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(subsegment) = span.extensions_mut().get_mut::<Subsegment>()
        {
            fields.record(subsegment.fields_mut());
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let closed = context
            .span(&id)
            .and_then(|span| span.extensions_mut().remove::<Subsegment>());
        if let Some(datagram) = closed.and_then(Subsegment::datagram) {
            // Errors are ignored: a datagram that is too long, or that no daemon receives, is lost
            let _ = self.socket.send_to(&datagram, self.address);
        }
    }
}

/// Parses the address of the X-Ray daemon and resolves it to an IPv4 address. The daemon in Lambda has an IPv4 address.
fn parse_address(address: &str) -> Result<SocketAddr, Error> {
    let mut parts = address.split_whitespace();
    match (parts.next(), parts.next(), parts.next()) {
        (Some(only), None, None) => Some(only.strip_prefix("udp:").unwrap_or(only)),
        (Some(one), Some(other), None) => one
            .strip_prefix("udp:")
            .or_else(|| other.strip_prefix("udp:")),
        _ => None,
    }
    .and_then(|address| address.to_socket_addrs().ok())
    .and_then(|mut addresses| addresses.find(SocketAddr::is_ipv4))
    .filter(|address| address.port() != 0)
    .ok_or(Error::Malformed)
}

/// A filter that enables the span of a sampled invocation. Inside this span, it also enables the handler's steps and
/// the AWS calls.
struct SampledFilter {
    /// Selects which spans inside a handler become subsegments. `None` if tracing is off.
    steps: Option<Targets>,
}

impl SampledFilter {
    fn may_be_traced(&self, metadata: &Metadata<'_>) -> bool {
        // Events go only to the log
        metadata.is_span()
            && self.steps.as_ref().is_some_and(|steps| {
                metadata.target() == SAMPLED
                    || metadata.target() == AWS
                    || steps.would_enable(metadata.target(), metadata.level())
            })
    }
}

impl<S> Filter<S> for SampledFilter
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    fn enabled(&self, metadata: &Metadata<'_>, context: &Context<'_, S>) -> bool {
        // `lookup_current` returns the closest span that this filter enabled, which exists only in a sampled invocation
        self.may_be_traced(metadata)
            && (metadata.target() == SAMPLED || context.lookup_current().is_some())
    }

    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.may_be_traced(metadata) {
            Interest::sometimes()
        } else {
            Interest::never()
        }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        match &self.steps {
            None => Some(LevelFilter::OFF),
            Some(steps) => Filter::<S>::max_level_hint(steps).max(Some(LevelFilter::INFO)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_documented_form_of_the_address_is_parsed() {
        for (address, expected) in [
            ("127.0.0.1:2000", "127.0.0.1:2000"),
            ("udp:127.0.0.1:2000", "127.0.0.1:2000"),
            ("udp:127.0.0.1:2000 tcp:127.0.0.2:2001", "127.0.0.1:2000"),
            ("tcp:127.0.0.2:2001 udp:127.0.0.1:2000", "127.0.0.1:2000"),
            ("localhost:2000", "127.0.0.1:2000"),
        ] {
            assert_eq!(
                parse_address(address).unwrap().to_string(),
                expected,
                "{address}"
            );
        }
    }

    #[test]
    fn the_error_for_a_malformed_address_contains_the_name_of_the_variable() {
        for address in [
            " ",
            "127.0.0.1",
            "127.0.0.1:0",
            "127.0.0.1:port",
            "tcp:127.0.0.1:2000",
            "tcp:127.0.0.1:2000 tcp:127.0.0.1:2001",
            "udp:127.0.0.1:2000 tcp:127.0.0.1:2000 udp:127.0.0.1:2000",
            "http://127.0.0.1:2000",
            "[::1]:2000",
        ] {
            let error = parse_address(address).unwrap_err().to_string();
            let start = "the environment variable AWS_XRAY_DAEMON_ADDRESS is malformed: ";
            assert!(error.starts_with(start), "{error}");
        }
    }
}
