//! The phone of the product's owner.

use notify::service::{Error, Sms};

use super::error;
use crate::call::Port;

impl Sms for Port {
    async fn send(&self, text: &str) -> Result<(), Error> {
        let sent = self.call("send an SMS", |world| {
            *world.data().sms.entry(text.to_owned()).or_default() += 1;
        });
        sent.await.map_err(error)
    }
}
