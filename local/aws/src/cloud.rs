//! Starts, resets and stops the local replacements for AWS services.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use local_dynamodb::{BoxError, Dynamodb};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use crate::billing::Billing; // part: billing
use crate::endpoint::{Objects, Services, serve};
use crate::sample::{self, TABLES};

/// The running local replacements for the services that a function calls. They run on the Tokio
/// runtime on which they were started, and stop when this value is dropped.
pub struct Cloud {
    /// DynamoDB, with the tables of a stage.
    pub dynamodb: Dynamodb,
    billing: Billing, // part: billing
    services: Services,
    address: SocketAddr,
    servers: Vec<JoinHandle<()>>,
}

impl Cloud {
    /// Starts the services with the data of the sample events, such as a note and its attachment.
    ///
    /// # Errors
    ///
    /// Fails if no port is free.
    pub async fn start() -> Result<Self, BoxError> {
        let dynamodb = Dynamodb::start(&[]).await?;
        for (table, key) in TABLES {
            dynamodb.create(table, key)?;
        }
        let billing = Billing::start(&dynamodb).await?; // part: billing
        let servers = vec![
            billing.server(), // part: billing
        ];
        let services = Services::new(dynamodb.url(), servers);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let cloud = Self {
            dynamodb,
            billing, // part: billing
            address: listener.local_addr()?,
            servers: vec![tokio::spawn(serve(listener, None, services.clone()))],
            services,
        };
        cloud.reset()?;
        Ok(cloud)
    }

    /// Also serves the endpoint of the local services over TLS, on another port. `certificates` is
    /// the certificate chain, which starts with the server's own certificate. `key` is the private
    /// key of the server's certificate. Both are PEM. Returns the URL of the TLS endpoint, a value
    /// for `AWS_ENDPOINT_URL`.
    ///
    /// # Errors
    ///
    /// Fails if the certificates or the key are invalid, or no port is free.
    pub async fn listen_tls(
        &mut self,
        certificates: &[u8],
        key: &[u8],
    ) -> Result<String, BoxError> {
        let chain = CertificateDer::pem_slice_iter(certificates).collect::<Result<_, _>>()?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, PrivateKeyDer::from_pem_slice(key)?)?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let url = format!("https://{}", listener.local_addr()?);
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let server = serve(listener, Some(acceptor), self.services.clone());
        self.servers.push(tokio::spawn(server));
        Ok(url)
    }

    /// The plain HTTP URL of the local services' endpoint, a value for `AWS_ENDPOINT_URL`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Resets the tables, the bucket and the list of sent messages to their initial state.
    ///
    /// # Errors
    ///
    /// Fails if a table no longer exists.
    pub fn reset(&self) -> Result<(), BoxError> {
        reset_tables(&self.dynamodb, &TABLES, &sample::items())?;
        self.billing.reset(&self.dynamodb)?; // part: billing
        self.services.messages().clear();
        let attachment = (sample::attachment_key(), ("image/jpeg", 48_213));
        *self.services.objects() = Objects::from([attachment]);
        Ok(())
    }

    /// Returns the state of the local services: the items of all tables except Idempotency, the
    /// keys of the objects in the bucket, and the messages that were sent to SNS and SQS.
    ///
    /// # Errors
    ///
    /// Fails if a table no longer exists.
    pub fn snapshot(&self) -> Result<Value, BoxError> {
        let objects = self.services.objects();
        let mut state = json!({
            "Notes": self.dynamodb.items("Notes")?,
            "Storage": self.dynamodb.items("Storage")?,
            "Attachments": self.dynamodb.items("Attachments")?,
            "files": objects.keys().collect::<Vec<_>>(),
            "sent": *self.services.messages(),
        });
        let more = [
            self.billing.snapshot(&self.dynamodb)?, // part: billing
        ];
        if let Value::Object(state) = &mut state {
            more.into_iter()
                .for_each(|more: Map<String, Value>| state.extend(more));
        }
        Ok(state)
    }
}

/// Gives `tables` the items `initial`, and deletes all others. `tables` has the names of the key
/// attributes of each table.
pub(crate) fn reset_tables(
    dynamodb: &Dynamodb,
    tables: &[(&str, &[&str])],
    initial: &[(&str, Value)],
) -> Result<(), BoxError> {
    for (table, key) in tables {
        for item in dynamodb.items(table)? {
            if initial.iter().any(|(_, initial)| *initial == item) {
                continue;
            }
            let key = key.iter().map(|name| (*name, item.get(name).cloned()));
            dynamodb.delete(table, &key.collect())?;
        }
    }
    for (table, item) in initial {
        dynamodb.put(table, item)?;
    }
    Ok(())
}

impl Drop for Cloud {
    fn drop(&mut self) {
        for server in &self.servers {
            server.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn reset_restores_changed_items_and_deletes_added_items() {
        let cloud = Cloud::start().await.unwrap();
        let before = cloud.snapshot().unwrap();
        let [(_, sample), ..] = sample::items();
        let [user, id] = ["userId", "noteId"].map(|name| sample[name].clone());
        let changed = json!({"userId": user, "noteId": id});
        cloud.dynamodb.put("Notes", &changed).unwrap();
        let added = json!({"userId": user, "noteId": {"S": "1"}});
        cloud.dynamodb.put("Notes", &added).unwrap();
        assert_ne!(cloud.snapshot().unwrap(), before);
        cloud.reset().unwrap();
        assert_eq!(cloud.snapshot().unwrap(), before);
    }
}
