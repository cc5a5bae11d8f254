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

/// Names the daemon's address, which Lambda sets where tracing is on.
const ADDRESS: &str = "AWS_XRAY_DAEMON_ADDRESS";

/// What stops a function at init: the daemon's address makes no sense.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is of none of the forms that X-Ray documents.
    #[error("{ADDRESS} is not an address like 127.0.0.1:2000")]
    Malformed,
    /// The system has no way to send to the address.
    #[error("{ADDRESS} is not an address that can be sent to")]
    Unusable(#[source] io::Error),
}

/// The layer that sends the spans of sampled invocations to the daemon whose address is in
/// `AWS_XRAY_DAEMON_ADDRESS`. Where that is unset or empty tracing is off, and the layer lets
/// nothing in.
///
/// `steps` says which spans of a handler are subsegments. It should let no other code's through:
/// the AWS SDK and hyper open hundreds for a call.
///
/// # Errors
///
/// When the address is malformed.
pub fn layer<S>(steps: Targets) -> Result<impl Layer<S> + Send + Sync, Error>
where
    S: Subscriber + for<'span> LookupSpan<'span> + Send + Sync,
{
    match std::env::var_os(ADDRESS).filter(|address| !address.is_empty()) {
        None => with(None, steps),
        Some(address) => with(Some(address.to_str().ok_or(Error::Malformed)?), steps),
    }
}

/// As [`layer`], for the daemon at `address`: `host:port`, or `udp:host:port tcp:host:port`
/// (<https://docs.aws.amazon.com/xray/latest/devguide/xray-daemon-configuration.html>).
///
/// # Errors
///
/// When the address is malformed.
pub fn layer_to<S>(
    address: &str,
    steps: Targets,
) -> Result<impl Layer<S> + Send + Sync + use<S>, Error>
where
    S: Subscriber + for<'span> LookupSpan<'span> + Send + Sync,
{
    with(Some(address), steps)
}

fn with<S>(
    address: Option<&str>,
    steps: Targets,
) -> Result<impl Layer<S> + Send + Sync + use<S>, Error>
where
    S: Subscriber + for<'span> LookupSpan<'span> + Send + Sync,
{
    let daemon = address.map(Daemon::at).transpose()?;
    let filter = Traced {
        steps: daemon.is_some().then_some(steps),
    };
    // Filtered also where it is off: beside a layer without a filter, the registry opens every span
    // of every crate
    Ok(daemon.with_filter(filter))
}

/// Sends each subsegment when its span closes, on its thread: Lambda may freeze the process soon
/// after.
struct Daemon {
    socket: UdpSocket,
    address: SocketAddr,
}

impl Daemon {
    fn at(address: &str) -> Result<Self, Error> {
        let address = daemon(address)?;
        let bound = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0));
        let socket = bound.map_err(Error::Unusable)?;
        socket.set_nonblocking(true).map_err(Error::Unusable)?;
        Ok(Self { socket, address })
    }
}

impl<S> Layer<S> for Daemon
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else {
            return;
        };
        let mut said = SpanFields::default();
        attributes.record(&mut said);
        // The next one up that the filter let through
        let parent = span
            .parent()
            .and_then(|parent| parent.extensions().get().map(Subsegment::place));
        if let Some(begun) = Subsegment::begin(span.name(), parent, said) {
            span.extensions_mut().insert(begun);
        }
    }

    fn on_record(&self, id: &Id, fields: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(subsegment) = span.extensions_mut().get_mut::<Subsegment>()
        {
            fields.record(subsegment.said());
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let closed = context
            .span(&id)
            .and_then(|span| span.extensions_mut().remove::<Subsegment>());
        if let Some(datagram) = closed.and_then(Subsegment::datagram) {
            // What nobody takes, or is too long for a datagram, is lost
            let _ = self.socket.send_to(&datagram, self.address);
        }
    }
}

/// Where datagrams go. Lambda's daemon is at an address of IPv4.
fn daemon(address: &str) -> Result<SocketAddr, Error> {
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

/// Lets through a sampled invocation, and in it the handler's steps and the calls to AWS.
struct Traced {
    /// None where tracing is off
    steps: Option<Targets>,
}

impl Traced {
    fn may_be_traced(&self, metadata: &Metadata<'_>) -> bool {
        // Events are the log's
        metadata.is_span()
            && self.steps.as_ref().is_some_and(|steps| {
                metadata.target() == SAMPLED
                    || metadata.target() == AWS
                    || steps.would_enable(metadata.target(), metadata.level())
            })
    }
}

impl<S> Filter<S> for Traced
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    fn enabled(&self, metadata: &Metadata<'_>, context: &Context<'_, S>) -> bool {
        // What this filter let through before is all that it sees
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
    fn every_documented_form_of_the_address_is_understood() {
        for (address, expected) in [
            ("127.0.0.1:2000", "127.0.0.1:2000"),
            ("udp:127.0.0.1:2000", "127.0.0.1:2000"),
            ("udp:127.0.0.1:2000 tcp:127.0.0.2:2001", "127.0.0.1:2000"),
            ("tcp:127.0.0.2:2001 udp:127.0.0.1:2000", "127.0.0.1:2000"),
            ("localhost:2000", "127.0.0.1:2000"),
        ] {
            assert_eq!(daemon(address).unwrap().to_string(), expected, "{address}");
        }
    }

    #[test]
    fn a_malformed_address_is_an_error_that_names_the_variable() {
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
            let error = daemon(address).unwrap_err().to_string();
            assert!(
                error.starts_with("AWS_XRAY_DAEMON_ADDRESS is not "),
                "{error}"
            );
        }
    }
}
