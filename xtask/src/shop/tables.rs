//! Purchases and credits in the tables of a stage, and the logs of its functions.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Context, Result, bail};
use aws_sdk_dynamodb::{Client, types::AttributeValue};
use domain::events::{Notice, PurchaseId}; // part: notify
use idempotency::Scope; // part: notify
use serde_json::{Value, json};

use super::{json::text, purchase::Purchase, timeline::LogLine};
use crate::{
    logs::events,
    release::{AwsService, OtherAws, StageContext, StageName, now},
    workspace::Workspace,
};

/// The services whose functions log about purchases.
const SERVICES: &[&str] = &[
    "billing-api",
    "notify-job", // part: notify
];

/// The function of another service that logs about purchases.
const CREDIT: &str = "notes-credit";

/// How long before the order the search for log lines starts, in milliseconds, because clocks differ.
const BEFORE: u64 = 60_000;

/// A person, as a support request names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner<'a> {
    /// The ID in the identity pool: the partition key of the purchases.
    Identity(&'a str),
    Email(&'a str),
}

/// The tables of a stage, with the clients to read them.
#[derive(Debug)]
pub(super) struct Shop {
    pub(super) context: StageContext,
    exports: BTreeMap<String, String>,
    dynamodb: Client,
}

impl Shop {
    /// Opens the shop of a stage.
    ///
    /// # Errors
    /// Fails if the credentials are not valid, or if the exports of the stage cannot be read.
    pub(super) async fn open(workspace: &Workspace, stage: &StageName) -> Result<Self> {
        let context = StageContext::open_any(workspace, stage).await?;
        context.target.announce();
        Self::new(context).await
    }

    pub(super) async fn new(context: StageContext) -> Result<Self> {
        Ok(Self {
            exports: context.stacks.exports().await?,
            dynamodb: Client::new(context.target.account.config()),
            context,
        })
    }

    fn export(&self, name: &str) -> Result<&str> {
        let name = format!(
            "scratchpad-{}-{name}",
            self.context.target.infrastructure_stage()
        );
        let value = self.exports.get(&name).map(String::as_str);
        value.with_context(|| format!("cannot find the export {name}: deploy the stage first"))
    }

    /// Reads a purchase.
    ///
    /// # Errors
    /// Fails if the request fails.
    pub(super) async fn purchase(&self, user: &str, id: &str) -> Result<Option<Purchase>> {
        let key = [("userId", user), ("purchaseId", id)];
        Ok(self.get("Purchases", &key).await?.map(Purchase))
    }

    /// Reads the purchases of a person.
    ///
    /// # Errors
    /// Fails if no user has the e-mail address, or a request fails.
    pub(super) async fn of(&self, owner: Owner<'_>) -> Result<Vec<Purchase>> {
        match owner {
            Owner::Email(email) => self.scan(&self.sub_of(email).await?).await,
            Owner::Identity(user) => {
                let mut pages = self
                    .dynamodb
                    .query()
                    .table_name(self.export("PurchasesTableName")?)
                    .key_condition_expression("userId = :user")
                    .expression_attribute_values(":user", string(user))
                    .consistent_read(true)
                    .into_paginator()
                    .send();
                let mut found = Vec::new();
                while let Some(page) = pages.next().await {
                    let page = page
                        .map_err(aws_sdk_dynamodb::Error::from)
                        .context("cannot read the purchases of the person")?;
                    found.extend(page.items.into_iter().flatten().map(json_of));
                }
                found.into_iter().map(|item| item.map(Purchase)).collect()
            }
        }
    }

    /// Reads the purchase with the ID `id`, or the purchases of the person with the `sub` `id`. Reads the whole table,
    /// because neither is a key.
    ///
    /// # Errors
    /// Fails if a request fails.
    pub(super) async fn scan(&self, id: &str) -> Result<Vec<Purchase>> {
        let mut pages = self
            .dynamodb
            .scan()
            .table_name(self.export("PurchasesTableName")?)
            .filter_expression("purchaseId = :id OR #sub = :id")
            .expression_attribute_names("#sub", "sub")
            .expression_attribute_values(":id", string(id))
            .into_paginator()
            .send();
        let mut found = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page
                .map_err(aws_sdk_dynamodb::Error::from)
                .context("cannot read the table Purchases")?;
            for item in page.items.into_iter().flatten() {
                found.push(Purchase(json_of(item)?));
            }
        }
        Ok(found)
    }

    /// Returns the `sub` of the user with an e-mail address.
    async fn sub_of(&self, email: &str) -> Result<String> {
        if email.contains(['"', '\\']) {
            bail!("{email} is not an e-mail address");
        }
        let cognito = OtherAws::new(self.context.target.account.config());
        let found = cognito
            .post_json(
                AwsService::CognitoUsers,
                "AWSCognitoIdentityProviderService.ListUsers",
                &json!({
                    "UserPoolId": self.export("UserPoolId")?, "Filter": format!("email = \"{email}\""), "Limit": 1,
                }),
            )
            .await
            .context("cannot find the user")?;
        let attributes = found
            .pointer("/Users/0/Attributes")
            .and_then(Value::as_array);
        let attributes = attributes.with_context(|| format!("no user has the address {email}"))?;
        let sub = attributes
            .iter()
            .find(|attribute| text(attribute, "/Name") == "sub");
        let sub = sub.map(|attribute| text(attribute, "/Value").to_owned());
        sub.context("the user has no sub")
    }

    /// Reads the credit of a purchase.
    ///
    /// # Errors
    /// Fails if the request fails.
    pub(super) async fn credit(&self, purchase: &Purchase) -> Result<Option<Value>> {
        let key = [("userId", purchase.user_id()), ("entry", purchase.id())];
        self.get("Storage", &key).await
    }

    // part: notify {
    /// Reads the idempotency record of the SMS about a notice.
    ///
    /// # Errors
    /// Fails if the request fails.
    pub(super) async fn claim(&self, purchase: &Purchase, notice: &Value) -> Result<Option<Value>> {
        let id = claim_id(purchase, notice)?;
        self.get("Idempotency", &[("id", &id)]).await
    }
    // part: notify }

    async fn get(&self, table: &str, key: &[(&str, &str)]) -> Result<Option<Value>> {
        let key = key
            .iter()
            .map(|(name, value)| ((*name).to_owned(), string(value)));
        let found = self
            .dynamodb
            .get_item()
            .table_name(self.export(&format!("{table}TableName"))?)
            .set_key(Some(key.collect()))
            .consistent_read(true)
            .send()
            .await;
        let found = found
            .map_err(aws_sdk_dynamodb::Error::from)
            .with_context(|| format!("cannot read the table {table}"))?;
        found.item.map(json_of).transpose()
    }

    /// Announces the current revision of a purchase again: puts its notices into the outbox. billing-purchase-paid then
    /// announces it like a new revision, or billing-reconcile does if that fails.
    // part: notify {
    /// Deletes the records of its SMS, so that they are sent again.
    // part: notify }
    ///
    /// # Errors
    /// Fails if the purchase has changed meanwhile, if its last revision is not announced yet, or if a request fails.
    pub(super) async fn announce(&self, purchase: &Purchase, notices: &[Value]) -> Result<()> {
        if purchase.has_outbox() {
            bail!(
                "the purchase has a revision that is not announced yet; billing-reconcile announces it"
            );
        }
        if purchase.revision() == 0 {
            bail!("the purchase has no revision: run cargo xtask migrate credit-purchases first");
        }
        // part: notify {
        // Before the update, because the stream announces the purchase at once.
        for notice in notices {
            let deleted = self
                .dynamodb
                .delete_item()
                .table_name(self.export("IdempotencyTableName")?)
                .key("id", string(&claim_id(purchase, notice)?))
                .send()
                .await;
            deleted
                .map_err(aws_sdk_dynamodb::Error::from)
                .context("cannot delete the record of an SMS")?;
        }
        // part: notify }
        let outbox = serde_dynamo::to_attribute_value::<_, AttributeValue>(notices)?;
        let update = self
            .dynamodb
            .update_item()
            .table_name(self.export("PurchasesTableName")?)
            .key("userId", string(purchase.user_id()))
            .key("purchaseId", string(purchase.id()))
            .update_expression("SET outbox = :outbox, unsettledShard = :shard, dueAt = :now")
            .condition_expression(
                "#status = :status AND attribute_not_exists(outbox) AND revision = :revision",
            )
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":status", string(purchase.status()))
            .expression_attribute_values(":revision", number(purchase.revision()))
            .expression_attribute_values(":outbox", outbox)
            .expression_attribute_values(":shard", number(purchase.shard()?))
            .expression_attribute_values(":now", number(now()));
        let updated = update.send().await;
        let is_changed = updated.as_ref().is_err_and(|error| {
            error
                .as_service_error()
                .is_some_and(|error| error.is_conditional_check_failed_exception())
        });
        if is_changed {
            bail!("the purchase has changed in the meantime: run the command again");
        }
        updated
            .map_err(aws_sdk_dynamodb::Error::from)
            .context("cannot write the purchase")?;
        Ok(())
    }

    /// Reads the log lines that name a purchase.
    ///
    /// # Errors
    /// Fails if a log cannot be read.
    pub(super) async fn logs(
        &self,
        workspace: &Workspace,
        purchase: &Purchase,
    ) -> Result<Vec<LogLine>> {
        let logs = aws_sdk_cloudwatchlogs::Client::new(self.context.target.account.config());
        let stage = &self.context.target.stage;
        let start = purchase.created_at().saturating_sub(BEFORE).try_into()?;
        let mut lines = Vec::new();
        let functions = workspace.functions().filter(|function| {
            SERVICES.contains(&function.service.as_str()) || function.name == CREDIT
        });
        for function in functions {
            let filter = format!("\"{}\"", purchase.id());
            let found = events(&logs, stage.as_ref(), &function.name, Some(filter), start);
            let found = found.await?.into_iter().map(|line| LogLine {
                at: line.timestamp.unsigned_abs(),
                function: line.function,
                message: line.message,
            });
            // The local cloud does not support every filter.
            lines.extend(found.filter(|line| line.message.contains(purchase.id())));
        }
        Ok(lines)
    }
}

// part: notify {
/// Returns the ID of the idempotency record of the SMS about a notice, as notify-send computes it.
fn claim_id(purchase: &Purchase, notice: &Value) -> Result<String> {
    let id: PurchaseId = purchase.id().parse().map_err(anyhow::Error::msg)?;
    let notice: Notice = serde_json::from_value(notice.clone())?;
    let key = notice.idempotency_key(id);
    let key = key.parse().map_err(anyhow::Error::msg)?;
    let operation = Scope::shared("notify").operation(&key, b"");
    Ok(operation.id().to_owned())
}
// part: notify }

fn json_of(item: HashMap<String, AttributeValue>) -> Result<Value> {
    serde_dynamo::from_item(item).context("cannot read an item")
}

fn string(value: &str) -> AttributeValue {
    AttributeValue::S(value.into())
}

fn number(value: impl ToString) -> AttributeValue {
    AttributeValue::N(value.to_string())
}
