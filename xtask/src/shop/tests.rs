use std::time::Duration;
use std::time::SystemTime; // part: notify

use aws_config::{BehaviorVersion, SdkConfig};
use aws_credential_types::{Credentials, provider::SharedCredentialsProvider};
use aws_types::region::Region;
use domain::events::NotePurchased; // part: notify
use idempotency::{Idempotency, IdempotencyTable}; // part: notify
use local_dynamodb::Dynamodb;
use local_stripe::Settings;
use notify::service::Sms; // part: notify
use serde_json::{Value, json};
use test_support::proxy::{HttpResponse, Lost, forward, listen};

use super::{timeline::Source, *};
use crate::release::{Account, StageContext, Target};

const ID: &str = "019aa0b4-e100-7d21-a6e4-3c8f1b52d90a";
const OTHER: &str = "019aa0b4-e100-7d21-a6e4-3c8f1b52d90b";
const USER: &str = "us-east-1:7d5e0c3a-94b1-4c6f-8e2d-5a1b3f709c48";
const SUB: &str = "7d5e0c3a-94b1-4c6f-8e2d-5a1b3f709c40";
const EMAIL: &str = "ada@example.com";

/// A stage with local doubles of its services.
struct Stage {
    dynamodb: Dynamodb,
    stripe: local_stripe::Stripe,
    shop: Shop,
    workspace: Workspace,
}

impl Stage {
    /// Starts the services. The table Purchases has a purchase of Ada, paid with Stripe, and another one.
    async fn start() -> Self {
        let dynamodb = Dynamodb::start(&[("Purchases", "purchaseId"), ("Storage", "entry")])
            .await
            .unwrap();
        dynamodb.create("Idempotency", &["id"]).unwrap(); // part: notify
        let stripe = local_stripe::Stripe::start(0, Settings::default())
            .await
            .unwrap();
        let (key, client) = (stripe.secret_key().to_owned(), reqwest::Client::new());
        let database = dynamodb.url();
        let (url, _) = listen(move |head, body| {
            let (key, client, database) = (key.clone(), client.clone(), database.clone());
            async move {
                let target = head.headers.get("x-amz-target");
                let target = target.map_or("", |target| target.to_str().unwrap());
                let form = String::from_utf8_lossy(&body).into_owned();
                let json = match target.split('.').next_back().unwrap() {
                    _ if target.starts_with("DynamoDB") => {
                        return Ok::<_, Lost>(forward(&client, &database, head, body).await);
                    }
                    "GetParameters" => {
                        json!({"Parameters": [{"Name": "/scratchpad/dev/stripe-secret-key", "Value": key}]})
                    }
                    "ListUsers" => {
                        assert!(form.contains(EMAIL), "{form}");
                        json!({"Users": [{"Attributes": [{"Name": "sub", "Value": SUB}]}]})
                    }
                    "FilterLogEvents" if form.contains("notes-credit") => json!({"events": [
                        {"timestamp": 4_000_000_000_000_u64, "message": format!("credited {ID}")},
                        {"timestamp": 4_000_000_000_000_u64, "message": "another purchase"},
                    ]}),
                    "FilterLogEvents" => json!({"events": []}),
                    _ => {
                        assert!(form.contains("Action=ListExports"), "{form}");
                        return Ok(HttpResponse::new(exports().into()));
                    }
                };
                Ok(HttpResponse::new(json.to_string().into()))
            }
        })
        .await;
        let workspace = Workspace::read().unwrap();
        let name = "dev".parse().unwrap();
        let mut target = Target::read(&workspace, &name, None).await.unwrap();
        target.account = Account::fake(config(&url));
        target.row.stripe_url = stripe.url();
        let shop = Shop::new(StageContext::new(&workspace, target))
            .await
            .unwrap();
        let stage = Self {
            dynamodb,
            stripe,
            shop,
            workspace,
        };
        let intent = stage.charge().await;
        stage.put(ID, &intent);
        stage.put(OTHER, "pi_other");
        stage
    }

    /// Charges a card for the purchase [`ID`]. Returns the id of the PaymentIntent.
    async fn charge(&self) -> String {
        let form = form_urlencoded::Serializer::new(String::new())
            .extend_pairs([
                ("amount", "4000"),
                ("currency", "usd"),
                ("confirm", "true"),
                ("description", "storage for 10 notes"),
                ("metadata[userId]", USER),
                ("metadata[purchaseId]", ID),
                ("automatic_payment_methods[enabled]", "true"),
                ("automatic_payment_methods[allow_redirects]", "never"),
                ("payment_method", "pm_card_visa"),
            ])
            .finish();
        let intent = reqwest::Client::new()
            .post(format!("{}/v1/payment_intents", self.stripe.url()))
            .bearer_auth(self.stripe.secret_key())
            .body(form)
            .send()
            .await
            .unwrap();
        let intent: Value = intent.json().await.unwrap();
        assert_eq!(text(&intent, "/status"), "succeeded", "{intent}");
        text(&intent, "/id").to_owned()
    }

    fn put(&self, id: &str, intent: &str) {
        let now = now();
        let (sub, user) = if id == ID {
            (SUB, USER)
        } else {
            ("other", "us-east-1:bob")
        };
        let number = |number: u64| json!({"N": number.to_string()});
        let item = json!({
            "userId": {"S": user}, "purchaseId": {"S": id}, "sub": {"S": sub}, "storage": number(10),
            "amount": number(4000), "currency": {"S": "usd"}, "description": {"S": "storage for 10 notes"},
            "createdAt": number(now), "updatedAt": number(now), "status": {"S": "PAID"},
            "paymentIntentId": {"S": intent}, "revision": number(1),
        });
        self.dynamodb.put("Purchases", &item).unwrap();
    }

    async fn purchase(&self) -> Purchase {
        self.shop.purchase(USER, ID).await.unwrap().unwrap()
    }

    // part: notify {
    /// Handles the message about the purchase with the code of notify-send.
    async fn notify(&self) {
        struct Silent;
        impl Sms for Silent {
            async fn send(&self, _: &str) -> Result<(), notify::service::Error> {
                Ok(())
            }
        }
        let url = self.dynamodb.url();
        let aws = aws::Stack::from_vars(|name| {
            Some(match name {
                "AWS_ENDPOINT_URL" => url.clone().into(),
                "AWS_REGION" => "us-east-1".into(),
                "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" => "local".into(),
                _ => return None,
            })
        });
        let table = dynamodb::Dynamodb::new(&aws.unwrap()).table("Idempotency".parse().unwrap());
        let idempotency = Idempotency::new(IdempotencyTable::new(table));
        let message: NotePurchased = serde_json::from_value(json!({
            "purchaseId": ID, "userId": USER, "amount": 4000, "description": "storage for 10 notes",
        }))
        .unwrap();
        let (stage, deadline) = (
            "dev".parse().unwrap(),
            SystemTime::now() + Duration::from_secs(10),
        );
        notify::controller::send(&Silent, &idempotency, &stage, &message, deadline)
            .await
            .unwrap();
    }
    // part: notify }
}

fn exports() -> String {
    let names = [
        ("PurchasesTableName", "Purchases"),
        ("StorageTableName", "Storage"),
        ("IdempotencyTableName", "Idempotency"), // part: notify
        ("UserPoolId", "us-east-1_pool"),
    ];
    let members = names.map(|(name, value)| {
        format!("<member><Name>scratchpad-dev-{name}</Name><Value>{value}</Value></member>")
    });
    format!(
        "<ListExportsResponse><ListExportsResult><Exports>{}</Exports></ListExportsResult></ListExportsResponse>",
        members.concat()
    )
}

fn config(url: &str) -> SdkConfig {
    let credentials = Credentials::new("id", "secret", None, None, "test");
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .endpoint_url(url)
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .http_client(aws::https(Duration::from_secs(10)).for_aws())
        .sleep_impl(aws_smithy_async::rt::sleep::default_async_sleep().unwrap())
        .build()
}

#[tokio::test]
async fn a_purchase_is_found_by_its_id_its_buyer_or_its_payment() {
    let stage = Stage::start().await;
    let purchase = stage.purchase().await;
    let charges = Stripe::of(&stage.shop.context.target)
        .await
        .unwrap()
        .charges(purchase.intent())
        .await
        .unwrap();
    let charge = text(&charges[0], "/id").to_owned();
    for term in [ID, USER, SUB, EMAIL, purchase.intent(), &charge] {
        let found = purchases(&stage.shop, term).await.unwrap();
        let ids: Vec<&str> = found.iter().map(Purchase::id).collect();
        assert_eq!(ids, [ID], "{term}");
    }
    for term in [
        "ada",
        "us-east-1:nobody",
        "pi_unknown",
        "019aa0b4-e100-7d21-a6e4-000000000000",
    ] {
        assert!(purchases(&stage.shop, term).await.is_err(), "{term}");
    }
}

#[tokio::test]
async fn show_combines_the_tables_stripe_and_the_logs() {
    let stage = Stage::start().await;
    stage.notify().await; // part: notify
    let purchase = stage.purchase().await;
    let facts = facts(&stage.shop, &stage.workspace, purchase)
        .await
        .unwrap();
    let entries = timeline(&facts);
    let of = |source: Source| {
        let entries = entries.iter().filter(|entry| entry.source == source);
        entries.map(|entry| entry.text.as_str()).collect::<Vec<_>>()
    };
    assert_eq!(of(Source::Payment).len(), 2, "{entries:?}");
    assert!(
        of(Source::Event)
            .iter()
            .any(|text| text.contains("payment_intent.succeeded"))
    );
    assert_eq!(of(Source::Sms), ["SMS about `paid` sent"]); // part: notify
    assert_eq!(of(Source::Log), [format!("notes-credit: credited {ID}")]);
    let advice = advice(&facts, "dev");
    assert!(
        advice
            .iter()
            .any(|line| line.contains("grants 10 notes, but 0 are credited")),
        "{advice:?}"
    );
}

#[tokio::test]
async fn a_purchase_is_refunded_in_parts_and_never_beyond_its_amount() {
    let stage = Stage::start().await;
    let stripe = Stripe::of(&stage.shop.context.target).await.unwrap();
    let purchase = stage.purchase().await;
    let part = Refund::of(&stripe, &purchase, Some(1000)).await.unwrap();
    for _ in 0..2 {
        // The second request is a repetition after a lost response.
        stripe
            .refund(purchase.intent(), part.amount, &part.key)
            .await
            .unwrap();
    }
    let rest = Refund::of(&stripe, &purchase, None).await.unwrap();
    assert_eq!(rest.amount, 3000);
    assert_ne!(rest.key, part.key);
    stripe
        .refund(purchase.intent(), rest.amount, &rest.key)
        .await
        .unwrap();
    for amount in [None, Some(1)] {
        let error = Refund::of(&stripe, &purchase, amount).await.unwrap_err();
        assert!(error.to_string().contains("are left"), "{error}");
    }
    let facts = facts(&stage.shop, &stage.workspace, purchase)
        .await
        .unwrap();
    assert!(
        advice(&facts, "dev")
            .iter()
            .any(|line| line.starts_with("Stripe refunded 40.00 USD"))
    );
}

#[tokio::test]
async fn a_purchase_that_is_announced_again_gets_its_notices_again() {
    let stage = Stage::start().await;
    stage.notify().await; // part: notify
    let purchase = stage.purchase().await;
    let notices = purchase.notices();
    // part: notify {
    let record = stage.shop.claim(&purchase, &notices[0]).await;
    assert!(record.unwrap().is_some());
    // part: notify }
    stage.shop.announce(&purchase, &notices).await.unwrap();
    // part: notify {
    let record = stage.shop.claim(&purchase, &notices[0]).await;
    assert_eq!(record.unwrap(), None);
    // part: notify }
    let announced = stage.purchase().await;
    let read: billing::purchase::Purchase = serde_json::from_value(announced.0.clone()).unwrap();
    assert_eq!(read.outbox, Some(vec![billing::purchase::Notice::Paid]));
    assert_eq!((read.revision, read.due_at.is_some()), (1, true));
    for changed in [&purchase, &announced] {
        assert!(stage.shop.announce(changed, &notices).await.is_err());
    }
}

#[test]
fn the_form_of_a_term_says_what_it_names() {
    for (term, expected) in [
        (ID, Term::Uuid(ID)),
        ("pi_1", Term::Payment("pi_1")),
        ("ch_1", Term::Payment("ch_1")),
        (EMAIL, Term::Owner(Owner::Email(EMAIL))),
        (USER, Term::Owner(Owner::Identity(USER))),
    ] {
        assert_eq!(Term::parse(term).unwrap(), expected);
    }
    assert!(Term::parse("ada").is_err());
}
