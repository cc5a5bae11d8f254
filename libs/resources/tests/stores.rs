//! Tests that both kinds of storage behave alike: the table, with an in-memory DynamoDB, and the memory. With resources
//! that have no unique fields, and with resources that have two.

// Clippy allows panics in tests, but not in their helper functions.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

use fastrand::Rng;
use local_dynamodb::{Dynamodb, client_variable};
use resources::{Error, ResourceTable, memory::Memory, prelude::*};
use serde::{Deserialize, Serialize};
use serde_json::json;
use test_support::proxy::LossyProxy;

/// Defines a resource with the fields `name` and `size`. Both names are reserved words of DynamoDB's expressions.
macro_rules! resource {
    ($resource:ident, $fields:ident, $kind:ident, $unique:expr, $defaults:expr) => {
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct $resource {
            user_id: UserId,
            thing_id: Id<$kind>,
            #[serde(flatten)]
            fields: $fields,
            created_at: Timestamp,
            updated_at: Timestamp,
            version: Version,
        }

        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        struct $fields {
            name: Text<40>,
            size: Option<Integer>,
        }

        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        enum $kind {}

        impl Fields for $fields {
            const UNIQUE: UniqueFields<Self> = $unique;
            const DEFAULTS: Defaults = $defaults;
        }

        impl Thing for $resource {
            fn new(user: &UserId, plan: Plan<$kind>, fields: $fields) -> Self {
                Self {
                    user_id: user.clone(),
                    thing_id: plan.id,
                    fields,
                    created_at: plan.created_at,
                    updated_at: plan.created_at,
                    version: plan.version,
                }
            }

            type Kind = $kind;

            fn fields(name: &str, size: Option<i64>) -> $fields {
                $fields {
                    name: name.to_owned().try_into().unwrap(),
                    size: size.map(|size| size.try_into().unwrap()),
                }
            }
        }

        impl Resource for $resource {
            type Id = Id<$kind>;
            type Fields = $fields;

            const ID: &'static str = "thingId";

            fn user_id(&self) -> &UserId {
                &self.user_id
            }

            fn id(&self) -> Id<$kind> {
                self.thing_id
            }

            fn fields(&self) -> &$fields {
                &self.fields
            }

            fn version(&self) -> Version {
                self.version
            }

            fn apply(&mut self, change: &Change<$fields>) {
                self.fields = change.fields.clone();
                self.updated_at = change.updated_at;
                self.version = change.version;
            }
        }
    };
}

/// A resource of these tests.
trait Thing: Resource<Id = Id<Self::Kind>> {
    type Kind: Copy + PartialEq + Send + Sync;

    fn new(user: &UserId, plan: Plan<Self::Kind>, fields: Self::Fields) -> Self;
    fn fields(name: &str, size: Option<i64>) -> Self::Fields;
}

resource!(Plain, PlainFields, PlainKind, &[], &[("name", "\"?\"")]);
resource!(
    Named,
    NamedFields,
    NamedKind,
    &[
        ("name", |fields| fields.name.text()),
        ("size", |fields| fields.size.text()),
    ],
    &[]
);

async fn database() -> Dynamodb {
    Dynamodb::start(&[("Things", "thingId")]).await.unwrap()
}

fn table<R: Resource>(endpoint: &str) -> ResourceTable<R> {
    let variable = |name| client_variable(endpoint, name);
    let dynamodb = dynamodb::Dynamodb::new(&aws::Stack::from_vars(variable).unwrap());
    ResourceTable::new(dynamodb.table("Things".parse().unwrap()))
}

fn ada() -> UserId {
    "us-east-1:ada".parse().unwrap()
}

fn thing<R: Thing>(user: &UserId, name: &str, size: Option<i64>) -> R {
    R::new(user, Plan::generate(), <R as Thing>::fields(name, size))
}

fn change<R: Thing>(name: &str, size: Option<i64>) -> Change<R::Fields> {
    let author = Author {
        id: ada(),
        sub: None,
    };
    Change::new(<R as Thing>::fields(name, size), &author)
}

/// A result without details that differ between the kinds of storage.
fn kind(result: Result<(), Error>) -> String {
    match result {
        Ok(()) => "done".into(),
        Err(Error::Taken(fields)) => format!("taken: {fields:?}"),
        Err(error) => error.to_string(),
    }
}

/// Asserts that random operations have the same results in the table and in memory.
async fn assert_alike<R: Thing>(seed: u64) {
    let database = database().await;
    let (table, memory) = (table::<R>(&database.url()), Memory::<R>::default());
    let random = &mut Rng::with_seed(seed);
    let users = [ada(), "us-east-1:bob".parse().unwrap()];
    let mut known: Vec<R> = Vec::new();
    let mut seen = std::collections::HashSet::new();
    for _ in 0..60 {
        let user = &users[random.usize(..2)];
        let name = ["a", "b", "c"][random.usize(..3)];
        let size = [None, Some(1), Some(2)][random.usize(..3)];
        let resource = random.choice(&known).cloned();
        let resource = resource.unwrap_or_else(|| thing(user, name, size));
        let id = resource.id();
        let expected = match random.u8(..4) {
            0 => Precondition::OneOf(vec![Version::generate()]),
            1 => Precondition::OneOf(vec![Version::generate(), resource.version()]),
            _ => Precondition::Any,
        };
        let results = match random.u8(..3) {
            0 => {
                let new = match random.bool() {
                    true => thing(user, name, size),
                    false => resource,
                };
                let results = [
                    table.insert(&new, None).await,
                    memory.insert(&new, None).await,
                ];
                known.push(new);
                results
            }
            1 => {
                let change = change::<R>(name, size);
                [
                    table.replace(user, id, &change, &expected).await,
                    memory.replace(user, id, &change, &expected).await,
                ]
            }
            _ => [
                table.remove(user, id, &expected).await,
                memory.remove(user, id, &expected).await,
            ],
        };
        let [in_table, in_memory] = results.map(kind);
        assert_eq!(in_table, in_memory, "seed {seed}");
        seen.insert(in_table);
        for user in &users {
            let stored = table.page(user, None, 100).await.unwrap();
            assert_eq!(stored, memory.page(user, None, 100).await.unwrap());
            if let Some(resource) = stored.items.first() {
                let last = known.iter_mut().find(|known| known.id() == resource.id());
                last.unwrap().clone_from(resource);
            }
        }
    }
    assert!(seen.len() >= 3, "{seen:?}");
    // Nothing is left of removed resources.
    for resource in known {
        let (user, id) = (resource.user_id(), resource.id());
        table.remove(user, id, &Precondition::Any).await.unwrap();
    }
    assert!(database.items("Things").unwrap().is_empty());
}

#[tokio::test]
async fn resources_without_unique_fields_behave_alike_in_the_table_and_in_memory() {
    for seed in 0..2 {
        assert_alike::<Plain>(seed).await;
    }
}

#[tokio::test]
async fn resources_with_unique_fields_behave_alike_in_the_table_and_in_memory() {
    for seed in 0..2 {
        assert_alike::<Named>(seed).await;
    }
}

#[tokio::test]
async fn a_write_of_a_resource_without_unique_fields_takes_effect_once_if_its_response_is_lost() {
    let database = database().await;
    let proxy = LossyProxy::start(database.url(), |number| number.is_multiple_of(2)).await;
    let table = table::<Plain>(&proxy.url);
    let created: Plain = thing(&ada(), "a", None);
    table.insert(&created, None).await.unwrap();
    let (id, first) = (created.thing_id, created.version);
    let change = change::<Plain>("b", Some(1));
    let expected = Precondition::OneOf(vec![first]);
    table.replace(&ada(), id, &change, &expected).await.unwrap();
    let found = table.find(&ada(), id).await.unwrap();
    assert_eq!(
        (found.fields, found.version),
        (change.fields, change.version)
    );
    let stale = table.remove(&ada(), id, &expected).await;
    assert!(matches!(stale, Err(Error::Changed)));
    let expected = Precondition::OneOf(vec![change.version]);
    table.remove(&ada(), id, &expected).await.unwrap();
    assert!(proxy.lost() > 0);
}

#[tokio::test]
async fn resources_without_a_value_of_a_unique_field_do_not_conflict() {
    let database = database().await;
    let table = table::<Named>(&database.url());
    for name in ["a", "b", "c"] {
        let thing: Named = thing(&ada(), name, None);
        table.insert(&thing, None).await.unwrap();
    }
    let refused: Named = thing(&ada(), "a", Some(1));
    let refused = table.insert(&refused, None).await;
    let Err(Error::Taken(fields)) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!(fields, ["name"]);
}

#[tokio::test]
async fn a_resource_that_is_older_than_a_unique_field_can_be_changed_and_removed() {
    let database = database().await;
    let table = table::<Named>(&database.url());
    for name in ["a", "b"] {
        let thing: Named = thing(&ada(), name, None);
        table.insert(&thing, None).await.unwrap();
    }
    for item in database.items("Things").unwrap() {
        let mut item = item;
        item.as_object_mut().unwrap().remove("size");
        database.put("Things", &item).unwrap();
    }
    for (number, thing) in table
        .page(&ada(), None, 9)
        .await
        .unwrap()
        .items
        .iter()
        .enumerate()
    {
        assert_eq!(json!(thing.fields.size), json!(null));
        let size = (number == 0).then_some(1);
        for _ in 0..2 {
            let change = change::<Named>(thing.fields.name.as_str(), size);
            let id = thing.thing_id;
            let replaced = table.replace(&ada(), id, &change, &Precondition::Any).await;
            replaced.unwrap();
        }
        let removed = table
            .remove(&ada(), thing.thing_id, &Precondition::Any)
            .await;
        removed.unwrap();
    }
    assert!(database.items("Things").unwrap().is_empty());
}

#[tokio::test]
async fn a_resource_that_is_older_than_a_required_field_has_its_default_value() {
    let database = database().await;
    let table = table::<Plain>(&database.url());
    for name in ["a", "b"] {
        let thing: Plain = thing(&ada(), name, None);
        table.insert(&thing, None).await.unwrap();
    }
    let [newer, older] = &database.items("Things").unwrap()[..] else {
        panic!("two things were inserted");
    };
    let mut older = older.clone();
    older.as_object_mut().unwrap().remove("name");
    database.put("Things", &older).unwrap();
    let page = table.page(&ada(), None, 9).await.unwrap().items;
    let mut names: Vec<_> = page
        .iter()
        .map(|thing| thing.fields.name.as_str())
        .collect();
    names.sort_unstable();
    assert_eq!(names, ["?", newer["name"]["S"].as_str().unwrap()]);
    let old = page
        .iter()
        .find(|thing| thing.fields.name.as_str() == "?")
        .unwrap();
    let found = table.find(&ada(), old.thing_id).await.unwrap();
    assert_eq!(found, *old);
    let change = change::<Plain>("c", None);
    let stale = Precondition::OneOf(vec![Version::generate()]);
    let refused = table.replace(&ada(), old.thing_id, &change, &stale).await;
    assert!(matches!(refused, Err(Error::Changed)), "{refused:?}");
    let any = Precondition::Any;
    let replaced = table.replace(&ada(), old.thing_id, &change, &any).await;
    replaced.unwrap();
    let found = table.find(&ada(), old.thing_id).await.unwrap();
    assert_eq!(found.fields, change.fields);
}
