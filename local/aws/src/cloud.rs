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
use crate::sample::{self, Table};

/// The running local replacements for the services that a function calls. They run on the Tokio
/// runtime on which they were started, and stop when this value is dropped.
pub struct Cloud {
    /// DynamoDB, with the tables of all files `events/tables/TABLE.json`.
    pub dynamodb: Dynamodb,
    billing: Billing, // part: billing
    tables: Vec<Table>,
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
        let billing = Billing::start().await?; // part: billing
        let servers = vec![
            billing.server(), // part: billing
        ];
        let services = Services::new(dynamodb.url(), servers);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let placeholders: &[(&str, &str)] = &[
            billing.placeholder(), // part: billing
        ];
        let tables = sample::tables(placeholders)?;
        for table in &tables {
            dynamodb.create_table(&table.create())?;
        }
        let cloud = Self {
            dynamodb,
            billing, // part: billing
            tables,
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
        for table in &self.tables {
            for item in self.dynamodb.items(&table.name)? {
                if table.items.contains(&item) {
                    continue;
                }
                let key = table.key.iter();
                let key = key.map(|name| (name.clone(), item.get(name).cloned()));
                self.dynamodb.delete(&table.name, &key.collect())?;
            }
            for item in &table.items {
                self.dynamodb.put(&table.name, item)?;
            }
        }
        self.services.messages().clear();
        let attachment = (sample::attachment_key(), ("image/jpeg", 48_213));
        *self.services.objects() = Objects::from([attachment]);
        Ok(())
    }

    /// Returns the state of the local services: the items of all tables except Idempotency and the markers of unique
    /// values, the keys of the objects in the bucket, and the messages that were sent to SNS and SQS.
    ///
    /// # Errors
    ///
    /// Fails if a table no longer exists.
    pub fn snapshot(&self) -> Result<Value, BoxError> {
        let objects = self.services.objects();
        let mut state = Map::from_iter([
            ("files".into(), json!(objects.keys().collect::<Vec<_>>())),
            ("sent".into(), json!(*self.services.messages())),
            ("charges".into(), self.billing.charges()), // part: billing
        ]);
        let tables = self.tables.iter();
        for table in tables.filter(|table| table.name != "Idempotency") {
            let mut items = self.dynamodb.items(&table.name)?;
            items.retain(|item| !is_marker(item));
            state.insert(table.name.clone(), items.into());
        }
        Ok(state.into())
    }
}

/// Whether an item of the table of a resource only marks a unique value as taken.
fn is_marker(item: &Value) -> bool {
    let user = item.pointer("/userId/S").and_then(Value::as_str);
    user.is_some_and(|user| user.starts_with("unique#"))
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
        let sample = before["Notes"][0].clone();
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
