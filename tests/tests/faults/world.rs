//! One life, lived to its end: everybody who takes part in a purchase does what they do, whatever
//! call fails in whatever way.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime};

use e2e::functions::{self, Function};
use lambda_host::{Host, Outcome, StartError};
use local_stripe::Authentication;
use reqwest::Client;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::broken::Broken;
use crate::cloud::{Cloud, IDEMPOTENCY, PURCHASES, SECRETS, TOPIC, WEBHOOK_SECRET};
use crate::failure::Fault;
use crate::life::{FUNCTIONS, Life, NOTIFY, PURCHASE, PURCHASE_PAID, RECONCILE, WEBHOOK};
use crate::place::Place;
use crate::stream::Stream;
use crate::wire::Wire;

/// How long a client waits before it asks again, and then goes away for a while: at first not for as
/// long as another's work may last.
const PAUSES: [Duration; 3] = [
    Duration::from_secs(13),
    Duration::from_secs(31),
    Duration::from_secs(31),
];

/// How often something is delivered that should be taken sooner or later, at the most.
const DELIVERED: usize = 5;

/// How long Lambda waits before it gives an event once more to a function that failed. Then the
/// event goes to the function's failure queue.
/// <https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html>
const RETRIES: [Duration; 2] = [Duration::from_secs(60), Duration::from_secs(120)];

/// Minutes between the runs of reconcile after the first. By the last, a purchase is older than any
/// that is waited for.
const LOOKS: [u64; 7] = [5, 5, 30, 25, 60, 60, 30];

const MINUTE: Duration = Duration::from_secs(60);

/// How many notes the person buys room for, and what that costs.
const STORAGE: u32 = 10;
pub(crate) const PRICE: u32 = 4_000;
pub(crate) const SMS: &str = "Charged 4000 for storage for 10 notes";

/// The functions, as their manifests say.
static MANIFESTS: LazyLock<BTreeMap<&'static str, Function>> = LazyLock::new(|| {
    let all = functions::all().into_iter();
    let of_name = |function: Function| {
        let name = FUNCTIONS.into_iter().find(|name| *name == function.name)?;
        Some((name, function))
    };
    let found: BTreeMap<_, _> = all.filter_map(of_name).collect();
    assert_eq!(found.len(), FUNCTIONS.len(), "{found:#?}");
    found
});

/// What a client is told at last.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Final {
    pub(crate) status: u64,
    pub(crate) body: Value,
}

/// What a run of a function called.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) function: &'static str,
    pub(crate) number: usize,
    pub(crate) calls: Vec<String>,
}

pub(crate) struct World {
    pub(crate) life: Life,
    pub(crate) cloud: Arc<Cloud>,
    pub(crate) wire: Arc<Wire>,
    place: Arc<Place>,
    broken: Broken,
    url: String,
    server: JoinHandle<()>,
    /// The functions that wait for their next event.
    hosts: HashMap<&'static str, Host>,
    stream: Stream,
    /// All records of the stream that functions wrote, and how many of them were delivered.
    pub(crate) changes: Vec<Value>,
    heard: usize,
    /// How many of Stripe's events were delivered.
    told: usize,
    pub(crate) finals: Vec<Final>,
    pub(crate) runs: Vec<Ran>,
    /// What happened, for people.
    pub(crate) story: Vec<String>,
    /// All lines that functions wrote.
    pub(crate) log: Vec<String>,
    /// What was never taken, however often it was delivered.
    pub(crate) untaken: Vec<String>,
}

/// What a client hears.
enum Heard {
    /// It is decided.
    Final,
    /// The card's owner has to act.
    Act,
    /// Nothing, or that it is to ask again.
    Later,
}

impl World {
    pub(crate) async fn new(
        life: Life,
        broken: Broken,
        fault: Option<Fault>,
        place: Arc<Place>,
        client: Client,
    ) -> Self {
        place.take().await;
        let cloud = Arc::new(Cloud::start(client, life.search_lag).await);
        let faults = life.always().into_iter().chain(fault).collect();
        let wire = Wire::new(Arc::clone(&cloud), broken, faults, Arc::clone(&place));
        let wire = Arc::new(wire);
        let (url, server) = wire.listen().await;
        Self {
            life,
            stream: Stream::open(&cloud).await,
            cloud,
            wire,
            place,
            broken,
            url,
            server,
            hosts: HashMap::new(),
            changes: Vec::new(),
            heard: 0,
            told: 0,
            finals: Vec::new(),
            runs: Vec::new(),
            story: Vec::new(),
            log: Vec::new(),
            untaken: Vec::new(),
        }
    }

    /// The whole life.
    pub(crate) async fn live(&mut self) {
        if self.life.has_poison {
            let poison = json!({"userId": {"S": "nobody"}, "purchaseId": {"S": "none"}});
            self.cloud.dynamodb.put(PURCHASES, &poison).unwrap();
        }
        self.come_and_ask().await;
        if self.life.owner_acts {
            self.authenticate();
        }
        if self.life.is_told_at_once {
            self.tell().await;
        }
        if self.life.client_repeats {
            self.ask().await;
            self.hear().await;
        }
        self.look_after().await;
        self.tell().await;
        if self.life.client_repeats {
            // Twice, for it is told the same however often it asks.
            self.come_and_ask().await;
            self.come_and_ask().await;
        }
        for (_, host) in self.hosts.drain() {
            self.log.extend(host.stop().await);
        }
    }

    /// The client asks until it hears something that it can act on, or goes away for a while.
    async fn come_and_ask(&mut self) {
        let repeats = self.life.client_repeats;
        let mut pauses = PAUSES.into_iter().filter(|_| repeats);
        loop {
            let heard = self.ask().await;
            self.hear().await;
            match (heard, pauses.next()) {
                (Heard::Later, Some(pause)) => self.pass(pause).await,
                _ => break,
            }
        }
    }

    /// Reconcile runs until nothing is left for it.
    async fn look_after(&mut self) {
        for minutes in [self.life.first_look].into_iter().chain(LOOKS) {
            self.pass(MINUTE * u32::try_from(minutes).unwrap()).await;
            self.run(RECONCILE, MANIFESTS[RECONCILE].event()).await;
            self.hear().await;
            if self.life.is_told_at_once {
                self.tell().await;
            }
            if self.pending().is_empty() {
                break;
            }
        }
    }

    /// The purchases that are not settled.
    pub(crate) fn pending(&self) -> Vec<Value> {
        let mut purchases = self.cloud.purchases();
        purchases.retain(|purchase| purchase["status"]["S"] == "PENDING");
        purchases
    }

    /// The client asks for its purchase, the same each time.
    async fn ask(&mut self) -> Heard {
        let body = json!({"storage": STORAGE, "source": self.life.source});
        let mut event = MANIFESTS[PURCHASE].event();
        header(&mut event, "Idempotency-Key", "one-and-the-same");
        event["body"] = body.to_string().into();
        // Who has no answer of the function has one of API Gateway's: 502, or 504.
        let Some(answer) = self.run(PURCHASE, event).await else {
            return Heard::Later;
        };
        let body = answer["body"].as_str().unwrap_or_default();
        let body: Value = serde_json::from_str(body).unwrap_or_default();
        match answer["statusCode"].as_u64().unwrap_or_default() {
            402 if body["code"] == "requires_action" => Heard::Act,
            409 | 500.. => Heard::Later,
            status => {
                self.finals.push(Final { status, body });
                Heard::Final
            }
        }
    }

    /// The cards' owners show that the cards are theirs.
    fn authenticate(&mut self) {
        for intent in self.cloud.stripe.payment_intents() {
            if intent["status"] == "requires_action" {
                let id = intent["id"].as_str().unwrap();
                let succeeds = Authentication::Succeeds;
                self.cloud.stripe.authenticate(id, succeeds).unwrap();
                self.story
                    .push("the owner shows that the card is theirs".into());
            }
        }
    }

    /// Stripe delivers what it has to tell, in order, until it is taken, and once more.
    async fn tell(&mut self) {
        while let Some(event) = self.cloud.stripe.events().get(self.told).cloned() {
            self.told += 1;
            let mut taken = 0;
            for _ in 0..DELIVERED {
                let is_taken = self.deliver(&event).await;
                taken += usize::from(is_taken);
                if taken == 2 {
                    break;
                }
                if !is_taken {
                    self.pass(MINUTE).await;
                }
            }
            self.taken(taken == 2, &event["type"]);
            self.hear().await;
        }
    }

    async fn deliver(&mut self, stripe_event: &Value) -> bool {
        let payload = stripe_event.to_string();
        let now = SystemTime::now();
        let signature = local_stripe::signature(payload.as_bytes(), now, &[WEBHOOK_SECRET]);
        let mut event = MANIFESTS[WEBHOOK].event();
        header(&mut event, "Stripe-Signature", &signature);
        event["body"] = payload.into();
        event["isBase64Encoded"] = false.into();
        let answer = self.run(WEBHOOK, event).await;
        answer.is_some_and(|answer| answer["statusCode"] == 200)
    }

    /// The stream delivers what was written until it is taken, and once more; then the topic what
    /// was published.
    async fn hear(&mut self) {
        loop {
            self.catch_up().await;
            let batch = self.changes[self.heard..].to_vec();
            self.heard = self.changes.len();
            if batch.is_empty() || !self.broken.has_stream() {
                break;
            }
            let event = of_batch(batch);
            let mut taken = 0;
            for _ in 0..DELIVERED {
                taken += usize::from(self.run(PURCHASE_PAID, event.clone()).await.is_some());
                if taken == 2 {
                    break;
                }
            }
            self.taken(taken == 2, &json!("a batch of the stream"));
        }
        let published = std::mem::take(&mut self.cloud.sent().topic);
        for message in published {
            self.receive(message).await;
        }
    }

    /// The topic gives a message to who has subscribed, twice.
    async fn receive(&mut self, message: String) {
        let mut event = MANIFESTS[NOTIFY].event();
        event["Records"][0]["Sns"]["Message"] = message.into();
        for _ in 0..2 {
            let mut retries = RETRIES.into_iter();
            while self.run(NOTIFY, event.clone()).await.is_none() {
                let Some(pause) = retries.next() else {
                    self.taken(false, &json!("a message of the topic"));
                    break;
                };
                self.pass(pause).await;
            }
        }
    }

    fn taken(&mut self, is_taken: bool, what: &Value) {
        if !is_taken {
            self.untaken.push(what.to_string());
        }
    }

    /// Reads on in the stream.
    async fn catch_up(&mut self) {
        let records = self.stream.read().await;
        self.changes.extend(records);
    }

    /// Time passes: what is stored is that much older. It comes to the same, as functions only
    /// compare what is stored with now.
    async fn pass(&mut self, time: Duration) {
        self.catch_up().await;
        let millis = u64::try_from(time.as_millis()).unwrap();
        let dynamodb = &self.cloud.dynamodb;
        for mut purchase in self.pending() {
            for name in ["createdAt", "updatedAt", "dueAt"] {
                set_back(&mut purchase[name], millis);
            }
            dynamodb.put(PURCHASES, &purchase).unwrap();
        }
        for mut claim in dynamodb.items(IDEMPOTENCY).unwrap() {
            set_back(&mut claim["expiresAt"], time.as_secs());
            if claim.get("leaseUntil").is_some() {
                set_back(&mut claim["leaseUntil"], millis);
            }
            dynamodb.put(IDEMPOTENCY, &claim).unwrap();
        }
        self.cloud.stripe.advance(time);
        // What was written here, nobody wrote.
        self.stream.read().await;
        self.story.push(format!("{} s pass", time.as_secs()));
    }

    /// Gives a function an event. Returns its answer, if it gave one.
    async fn run(&mut self, function: &'static str, event: Value) -> Option<Value> {
        let earlier = self.runs.iter().filter(|ran| ran.function == function);
        let number = earlier.count() + 1;
        self.wire.begin(function, number);
        let outcome = self.invoke(function, event).await;
        self.place.take().await;
        let calls = self.wire.calls();
        let said = match &outcome {
            Ok(answer) if answer["statusCode"].is_null() => answer.to_string(),
            Ok(answer) => format!("{} {}", answer["statusCode"], answer["body"]),
            Err(why) => why.clone(),
        };
        let story = format!("{function} #{number}: {}\n    = {said}", calls.join(", "));
        self.story.push(story);
        self.runs.push(Ran {
            function,
            number,
            calls,
        });
        outcome.ok()
    }

    async fn invoke(&mut self, function: &'static str, event: Value) -> Result<Value, String> {
        let manifest = &MANIFESTS[function];
        let mut host = self.hosts.remove(function);
        let invocation = async {
            let host = match &mut host {
                Some(warm) => warm,
                cold => cold.insert(Host::start(self.hosted(manifest)).await?),
            };
            let timeout = manifest.timeout;
            Ok::<_, StartError>(host.invoke(event.to_string(), timeout, None).await)
        };
        let ran = tokio::select! {
            biased;
            () = self.wire.killed() => None,
            ran = invocation => Some(ran),
        };
        let outcome = match ran {
            None => Err("killed".to_owned()),
            Some(Err(error)) => {
                if let StartError::Exited { log, .. } | StartError::TimedOut { log, .. } = &error {
                    self.log.extend(log.iter().cloned());
                }
                Err(error.to_string())
            }
            Some(Ok(invocation)) => match invocation.outcome {
                Outcome::Response(answer) => {
                    let answer = serde_json::from_slice(&answer).unwrap();
                    self.hosts.extend(host.take().map(|host| (function, host)));
                    Ok(answer)
                }
                Outcome::Error(error) => {
                    self.hosts.extend(host.take().map(|host| (function, host)));
                    Err(error.to_string())
                }
                gone => Err(format!("{gone:?}")),
            },
        };
        if let Some(gone) = host {
            self.log.extend(gone.stop().await);
        }
        outcome
    }

    fn hosted(&self, function: &Function) -> lambda_host::Function {
        let from_lambda = [
            "AWS_ACCESS_KEY_ID",
            "AWS_ENDPOINT_URL",
            "AWS_REGION",
            "AWS_SECRET_ACCESS_KEY",
        ];
        let settings = function.variables.iter().map(String::as_str);
        let settings = settings.chain(from_lambda).map(|setting| {
            let value = match setting {
                "ALLOWED_ORIGIN" => "https://app.example.com",
                "AWS_ACCESS_KEY_ID" => "AKIDEXAMPLE",
                "AWS_ENDPOINT_URL" | "STRIPE_URL" => &self.url,
                "AWS_REGION" => "us-east-1",
                "AWS_SECRET_ACCESS_KEY" => "a-secret",
                "DEAD_LETTER_QUEUE" => {
                    "https://sqs.us-east-1.amazonaws.com/111111111111/dead-letters"
                }
                "IDEMPOTENCY_TABLE" => IDEMPOTENCY,
                "LOG_LEVEL" => "info",
                "NOTE_PURCHASED_TOPIC" => TOPIC,
                "PURCHASES_TABLE" => PURCHASES,
                "SECRETS_PREFIX" => SECRETS,
                other => panic!("say here what a good {other} is"),
            };
            (setting, value)
        });
        lambda_host::Function::new(function.binary()).with_env(settings)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// Sets a header of a request, in both places where API Gateway has it.
fn header(event: &mut Value, name: &str, value: &str) {
    for (headers, value) in [
        ("headers", json!(value)),
        ("multiValueHeaders", json!([value])),
    ] {
        if let Value::Object(headers) = &mut event[headers] {
            headers.retain(|other, _| !other.eq_ignore_ascii_case(name));
            headers.insert(name.to_owned(), value);
        }
    }
}

fn of_batch(records: Vec<Value>) -> Value {
    let records = records.into_iter().map(|mut record| {
        record["eventSourceARN"] = format!(
            "arn:aws:dynamodb:us-east-1:111111111111:table/{PURCHASES}/stream/2025-11-20T00:00:00.000"
        )
        .into();
        record["awsRegion"] = "us-east-1".into();
        record
    });
    json!({"Records": records.collect::<Vec<_>>()})
}

/// Makes a time that much earlier.
fn set_back(time: &mut Value, by: u64) {
    let was: u64 = time["N"].as_str().unwrap().parse().unwrap();
    time["N"] = (was - by).to_string().into();
}
