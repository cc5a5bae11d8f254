use std::{collections::HashMap, marker::PhantomData};

use aws_sdk_dynamodb::types::{
    AttributeValue, ReturnValuesOnConditionCheckFailure, TransactWriteItem,
};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use domain::{Page, ServiceError, Sub, UserId};
use dynamodb::{
    Action, Check, Checked, Dynamodb, Item, Table, authored_item, checked, page_limit, read,
    read_page,
};
use function::StartError;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::{Change, Error, Fields, Precondition, Resource, Store};

/// The table of the resources of the type `R`: one item per resource, and one per value of a unique field.
///
/// The second kind of item is a *marker*. Its partition key is `unique#` and the id of the user, so that the list of a
/// user's resources does not contain it. Its sort key is the name of the field and a hash of the value, because a value
/// can be longer than a key. Its attribute `holder` is the id of the resource with this value. One transaction writes a
/// resource and its markers.
#[derive(Debug)]
pub struct ResourceTable<R> {
    table: Table,
    resource: PhantomData<fn() -> R>,
}

/// The maximum number of attempts to write a resource with unique fields. An attempt fails if another request writes
/// the resource after the attempt has read it.
const ATTEMPTS: usize = 20;

/// A marker of a unique value: the name of the field, and the sort key of the marker.
type Marker = (&'static str, String);

impl<R: Resource> ResourceTable<R> {
    /// Creates a client of the table whose name is in the environment variable `variable`.
    ///
    /// # Errors
    /// Fails if the variable is missing or malformed. The error names the variable.
    pub fn from_env(dynamodb: &Dynamodb, variable: &'static str) -> Result<Self, StartError> {
        Ok(Self::new(dynamodb.table(function::setting(variable)?)))
    }

    /// Creates a client of `table`. The partition key of the table must be `userId`, and the sort key [`Resource::ID`].
    pub fn new(table: Table) -> Self {
        Self {
            table,
            resource: PhantomData,
        }
    }

    async fn get(&self, user: &UserId, id: R::Id) -> Result<Option<Item>, Error> {
        let get = self.table.get().set_key(Some(key::<R>(user, id)));
        let found = self.table.send(get.consistent_read(true)).await;
        Ok(found.map_err(dynamodb::Error::from)?.item)
    }

    /// The actions of a transaction that make the resource `id` the holder of `markers`.
    fn claims(
        &self,
        user: &UserId,
        id: R::Id,
        markers: &[Marker],
    ) -> Result<Vec<TransactWriteItem>, dynamodb::Error> {
        let claims = markers.iter().map(|marker| {
            self.table
                .put_action()
                .set_item(Some(marker_key::<R>(user, marker)))
                .item("holder", text(id))
                .condition_expression(format!("attribute_not_exists({})", R::ID))
                .action()
        });
        claims.collect()
    }

    /// Returns the actions of a transaction that delete `markers`, so that other resources can have their values.
    fn releases(
        &self,
        user: &UserId,
        markers: &[Marker],
    ) -> Result<Vec<TransactWriteItem>, dynamodb::Error> {
        let releases = markers.iter().map(|marker| {
            self.table
                .delete_action()
                .set_key(Some(marker_key::<R>(user, marker)))
                .action()
        });
        releases.collect()
    }
}

/// The expressions of a write, with the names and the values that they contain.
#[derive(Default)]
struct Expressions {
    update: String,
    /// The write takes effect only if all of these conditions are true.
    conditions: Vec<String>,
    names: HashMap<String, String>,
    values: HashMap<String, AttributeValue>,
}

impl Expressions {
    fn condition(&self) -> Option<String> {
        (!self.conditions.is_empty()).then(|| self.conditions.join(" AND "))
    }

    fn names(&self) -> Option<HashMap<String, String>> {
        (!self.names.is_empty()).then(|| self.names.clone())
    }

    fn values(&self) -> Option<HashMap<String, AttributeValue>> {
        (!self.values.is_empty()).then(|| self.values.clone())
    }

    /// Sets the attributes that an update of a resource writes.
    fn set<F: Fields>(&mut self, change: &Change<F>) -> Result<(), Error> {
        let mut update = "SET updatedAt = :updatedAt, version = :version".to_owned();
        let updated_at = AttributeValue::N(change.updated_at.as_millis().to_string());
        self.values.insert(":updatedAt".into(), updated_at);
        self.values.insert(":version".into(), text(change.version));
        let fields = authored_item(&change.fields, change.sub)?;
        for (number, (name, value)) in fields.into_iter().enumerate() {
            // The name of a field can be a reserved word.
            update += &format!(", #f{number} = :f{number}");
            self.names.insert(format!("#f{number}"), name);
            self.values.insert(format!(":f{number}"), value);
        }
        self.update = update;
        Ok(())
    }

    /// Requires that the resource meets `expected`.
    fn expect_version(&mut self, expected: &Precondition) {
        let Precondition::OneOf(versions) = expected else {
            return;
        };
        // `userId` never equals a version. It is there because IN needs at least one operand.
        let mut operands = "userId".to_owned();
        for (number, version) in versions.iter().enumerate() {
            operands += &format!(", :expected{number}");
            self.values
                .insert(format!(":expected{number}"), text(version));
        }
        self.conditions.push(format!("version IN ({operands})"));
    }

    /// Requires that the resource still has the unique values of `item`.
    fn expect_unique_values<F: Fields>(&mut self, item: &Item) {
        for (number, (name, _)) in F::UNIQUE.iter().enumerate() {
            self.names.insert(format!("#u{number}"), (*name).into());
            self.conditions.push(match item.get(*name) {
                Some(value) => {
                    self.values.insert(format!(":u{number}"), value.clone());
                    format!("#u{number} = :u{number}")
                }
                None => format!("attribute_not_exists(#u{number})"),
            });
        }
    }
}

/// Converts an item to a resource.
fn resource<R: Resource>(mut item: Item) -> Result<R, dynamodb::Error> {
    add_defaults::<R::Fields>(&mut item)?;
    read(item)
}

/// Adds the default values of the fields that did not exist when the item was stored.
fn add_defaults<F: Fields>(item: &mut Item) -> Result<(), dynamodb::Error> {
    for (name, json) in F::DEFAULTS {
        if !item.contains_key(*name) {
            let value: Value =
                serde_json::from_str(json).map_err(|error| dynamodb::Error::Item(error.into()))?;
            item.extend(dynamodb::item(&HashMap::from([(*name, value)]))?);
        }
    }
    Ok(())
}

fn text(value: impl ToString) -> AttributeValue {
    AttributeValue::S(value.to_string())
}

fn key<R: Resource>(user: &UserId, id: R::Id) -> Item {
    HashMap::from([
        ("userId".into(), text(user.as_str())),
        (R::ID.into(), text(id)),
    ])
}

fn marker_key<R: Resource>(user: &UserId, (_, sort_key): &Marker) -> Item {
    let partition_key = format!("unique#{}", user.as_str());
    HashMap::from([
        ("userId".into(), text(partition_key)),
        (R::ID.into(), text(sort_key)),
    ])
}

/// The markers of the unique values of `fields`.
fn markers<F: Fields>(fields: &F) -> Vec<Marker> {
    let markers = F::UNIQUE.iter().filter_map(|(name, value)| {
        let hash = BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(value(fields)?));
        Some((*name, format!("{name}#{hash}")))
    });
    markers.collect()
}

/// The elements of `some` that are not in `others`.
fn without(some: &[Marker], others: &[Marker]) -> Vec<Marker> {
    let some = some.iter().filter(|marker| !others.contains(marker));
    some.cloned().collect()
}

/// The fields whose values are taken, according to the checks of the claims of `markers`.
fn taken(markers: &[Marker], checks: &[Check]) -> Vec<&'static str> {
    let failed = markers.iter().zip(checks);
    let failed = failed.filter(|(_, check)| **check != Check::Passed);
    failed.map(|((name, _), _)| *name).collect()
}

/// The error if other requests wrote the resource during every attempt.
fn busy() -> Error {
    ServiceError::Unavailable("other requests keep writing the resource".into()).into()
}

impl<R: Resource> Store<R> for ResourceTable<R> {
    async fn insert(&self, resource: &R, sub: Option<Sub>) -> Result<(), Error> {
        let (user, id) = (resource.user_id(), resource.id());
        let is_new = format!("attribute_not_exists({})", R::ID);
        let markers = markers(resource.fields());
        if markers.is_empty() {
            let put = self.table.put().condition_expression(is_new);
            let put = put.set_item(Some(authored_item(resource, sub)?));
            checked(self.table.send(put).await)?;
            return Ok(());
        }
        let actions = || {
            let put = self.table.put_action().condition_expression(&is_new);
            let put = put.set_item(Some(authored_item(resource, sub)?));
            let mut actions = vec![put.action()?];
            actions.extend(self.claims(user, id, &markers)?);
            Ok(actions)
        };
        match self.table.transact_all(actions).await?.as_deref() {
            // If the resource exists, an earlier request with the same plan has stored it.
            None | Some([Check::ConditionFailed(_), ..]) => Ok(()),
            Some([_, claims @ ..]) => Err(Error::Taken(taken(&markers, claims))),
            Some([]) => Err(busy()),
        }
    }

    async fn find(&self, user: &UserId, id: R::Id) -> Result<R, Error> {
        let item = self.get(user, id).await?.ok_or(Error::NotFound)?;
        Ok(resource(item)?)
    }

    async fn page(
        &self,
        user: &UserId,
        before: Option<R::Id>,
        limit: usize,
    ) -> Result<Page<R>, Error> {
        let query = self
            .table
            .query()
            .key_condition_expression("userId = :user")
            .expression_attribute_values(":user", text(user.as_str()))
            .set_exclusive_start_key(before.map(|id| key::<R>(user, id)))
            .scan_index_forward(false)
            .consistent_read(true)
            .limit(page_limit(limit));
        let mut found = self
            .table
            .send(query)
            .await
            .map_err(dynamodb::Error::from)?;
        for item in found.items.iter_mut().flatten() {
            add_defaults::<R::Fields>(item)?;
        }
        Ok(read_page(found, limit)?)
    }

    async fn replace(
        &self,
        user: &UserId,
        id: R::Id,
        change: &Change<R::Fields>,
        expected: &Precondition,
    ) -> Result<(), Error> {
        let after = markers(&change.fields);
        for _ in 0..ATTEMPTS {
            let mut expressions = Expressions::default();
            expressions.set(change)?;
            let is_stored = format!("attribute_exists({})", R::ID);
            expressions.conditions.push(is_stored);
            expressions.expect_version(expected);
            let (mut claimed, mut released) = (Vec::new(), Vec::new());
            if !R::Fields::UNIQUE.is_empty() {
                let item = self.get(user, id).await?.ok_or(Error::NotFound)?;
                expressions.expect_unique_values::<R::Fields>(&item);
                let before: R = resource(item)?;
                if !expected.allows(before.version()) {
                    return Err(Error::Changed);
                }
                let before = markers(before.fields());
                claimed = without(&after, &before);
                released = without(&before, &after);
            }
            if claimed.is_empty() && released.is_empty() {
                let update = self
                    .table
                    .update()
                    .set_key(Some(key::<R>(user, id)))
                    .update_expression(&expressions.update)
                    .set_condition_expression(expressions.condition())
                    .set_expression_attribute_names(expressions.names())
                    .set_expression_attribute_values(expressions.values())
                    .return_values_on_condition_check_failure(
                        ReturnValuesOnConditionCheckFailure::AllOld,
                    );
                let now: R = match checked(self.table.send(update).await)? {
                    Checked::Done(_) => return Ok(()),
                    Checked::ConditionFailed(None) => return Err(Error::NotFound),
                    Checked::ConditionFailed(Some(now)) => resource(now)?,
                };
                // If the resource already has this version, the SDK has sent the write twice.
                if now.version() == change.version {
                    return Ok(());
                }
                if !expected.allows(now.version()) {
                    return Err(Error::Changed);
                }
                continue;
            }
            let actions = || {
                let update = self
                    .table
                    .update_action()
                    .set_key(Some(key::<R>(user, id)))
                    .update_expression(&expressions.update)
                    .set_condition_expression(expressions.condition())
                    .set_expression_attribute_names(expressions.names())
                    .set_expression_attribute_values(expressions.values());
                let mut actions = vec![update.action()?];
                actions.extend(self.claims(user, id, &claimed)?);
                actions.extend(self.releases(user, &released)?);
                Ok(actions)
            };
            match self.table.transact_all(actions).await?.as_deref() {
                None => return Ok(()),
                Some([Check::Passed, claims @ ..]) => {
                    return Err(Error::Taken(taken(&claimed, claims)));
                }
                // Another request has written the resource since it was read.
                Some(_) => {}
            }
        }
        Err(busy())
    }

    async fn remove(&self, user: &UserId, id: R::Id, expected: &Precondition) -> Result<(), Error> {
        if R::Fields::UNIQUE.is_empty() {
            let mut expressions = Expressions::default();
            expressions.expect_version(expected);
            let is_absent = format!("attribute_not_exists({}) OR ", R::ID);
            let condition = expressions.condition();
            let delete = self
                .table
                .delete()
                .set_key(Some(key::<R>(user, id)))
                .set_condition_expression(condition.map(|condition| is_absent + &condition))
                .set_expression_attribute_values(expressions.values());
            return match checked(self.table.send(delete).await)? {
                Checked::Done(_) => Ok(()),
                Checked::ConditionFailed(_) => Err(Error::Changed),
            };
        }
        for _ in 0..ATTEMPTS {
            let mut expressions = Expressions::default();
            expressions.expect_version(expected);
            let Some(item) = self.get(user, id).await? else {
                return Ok(());
            };
            expressions.expect_unique_values::<R::Fields>(&item);
            let before: R = resource(item)?;
            if !expected.allows(before.version()) {
                return Err(Error::Changed);
            }
            let released = markers(before.fields());
            let actions = || {
                let delete = self
                    .table
                    .delete_action()
                    .set_key(Some(key::<R>(user, id)))
                    .set_condition_expression(expressions.condition())
                    .set_expression_attribute_names(expressions.names())
                    .set_expression_attribute_values(expressions.values());
                let mut actions = vec![delete.action()?];
                actions.extend(self.releases(user, &released)?);
                Ok(actions)
            };
            if self.table.transact_all(actions).await?.is_none() {
                return Ok(());
            }
        }
        Err(busy())
    }
}
