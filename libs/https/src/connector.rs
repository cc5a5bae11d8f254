//! Makes [`Https`] usable as the HTTP client of AWS clients.

use std::io;

use aws_smithy_runtime_api::client::connection::{CaptureSmithyConnection, ConnectionMetadata};
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpClient, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::retry::ErrorKind;
use hyper_util::client::legacy::{self, connect::capture_connection};

use crate::{Https, connect::ConnectTimeout, find_source};

impl Https {
    /// Returns this client in the form that the configuration of an AWS client requires. All AWS clients that use the
    /// returned value share this client's connection pool.
    pub fn for_aws(&self) -> SharedHttpClient {
        let connector = SharedHttpConnector::new(self.clone());
        http_client_fn(move |_, _| connector.clone())
    }
}

impl HttpConnector for Https {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let client = self.0.clone();
        HttpConnectorFuture::new(async move {
            let mut request = request
                .try_into_http1x()
                .map_err(|error| ConnectorError::user(error.into()))?;
            let connection = capture_connection(&mut request);
            if let Some(capture) = request.extensions().get::<CaptureSmithyConnection>() {
                // Lets the SDK close the connection after a transient failure, so that the retry uses another one.
                capture.set_connection_retriever(move || {
                    let connection = connection.clone();
                    connection.connection_metadata().as_ref()?;
                    let poison = move || {
                        if let Some(connection) = connection.connection_metadata().as_ref() {
                            connection.poison();
                        }
                    };
                    let metadata = ConnectionMetadata::builder().proxied(false);
                    Some(metadata.poison_fn(poison).build())
                });
            }
            let response = client.request(request).await.map_err(connector_error)?;
            HttpResponse::try_from(response.map(SdkBody::from_body_1_x))
                .map_err(|error| ConnectorError::other(error.into(), None))
        })
    }
}

/// Converts an error of the HTTP client to the SDK's error type. The kind of the SDK error decides whether the SDK
/// retries the request: the SDK retries timeouts, I/O errors and transient errors. Each error gets the same kind as in
/// the SDK's own HTTP client.
fn connector_error(error: legacy::Error) -> ConnectorError {
    if find_source::<ConnectTimeout>(&error).is_some() {
        return ConnectorError::timeout(error.into());
    }
    if error.is_connect() || find_source::<io::Error>(&error).is_some() {
        return ConnectorError::io(error.into());
    }
    match find_source::<hyper::Error>(&error) {
        Some(hyper) if hyper.is_user() => ConnectorError::user(error.into()),
        Some(hyper) if hyper.is_closed() || hyper.is_canceled() => ConnectorError::io(error.into()),
        Some(hyper) if hyper.is_incomplete_message() => {
            ConnectorError::other(error.into(), Some(ErrorKind::TransientError))
        }
        _ => ConnectorError::other(error.into(), None),
    }
}
