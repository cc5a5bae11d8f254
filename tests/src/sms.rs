//! The SMS that a stage sends to the owner of the product.

use reqwest::Client;
use serde_json::Value;

use crate::http::{Method, Request};
use crate::prices::{money, price};
use crate::stage::{Person, Stage, wait_for};

/// Returns the text of the SMS about the paid purchase `id` of `storage` notes.
pub fn sms_text(stage: &Stage, id: &Value, storage: u32) -> String {
    let (stage, id) = (stage.name(), id.as_str().unwrap());
    let money = money(price(storage));
    format!("[{stage}] Paid: {money} for storage for {storage} notes ({id})")
}

impl Stage {
    /// Returns the number of SMS with exactly this text that were sent to the stage's admin phone number.
    pub async fn sms_count(&self, text: &str) -> usize {
        let sent = self.sms().await;
        sent.iter().filter(|sms| *sms == text).count()
    }

    /// Returns the texts of all SMS that were sent to the stage's admin phone number.
    pub async fn sms(&self) -> Vec<String> {
        let number = self.secret("admin-phone-number").await;
        let mut url = self.endpoint("/_ministack/sns/sms-messages");
        url.query_pairs_mut().append_pair("phoneNumber", &number);
        let response = Request::new(&Client::new(), Method::GET, url).send().await;
        let sent: Value = serde_json::from_slice(&response.body).unwrap();
        let sent = sent["sms_messages"][number].as_array();
        let texts = sent
            .into_iter()
            .flatten()
            .map(|sms| sms["Message"].as_str());
        texts.map(|text| text.unwrap().to_owned()).collect()
    }
}

impl Person<'_> {
    /// Waits for the SMS about the paid purchase `id` of `storage` notes. Panics if there is more than one.
    pub async fn assert_one_sms(&self, id: &Value, storage: u32) {
        let text = sms_text(self.stage, id, storage);
        wait_for("the SMS", async || {
            let count = self.stage.sms_count(&text).await;
            (count > 0).then_some(())
        })
        .await;
        assert_eq!(self.stage.sms_count(&text).await, 1);
    }
}
