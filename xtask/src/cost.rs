//! `cost`: what a month costs on AWS, by what was measured and by `bench/prices.toml`.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::workspace::Workspace;

/// What to price.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Requests that people make in a month
    #[arg(long, value_name = "N")]
    requests_per_month: u64,
    /// People, each counted once; by default as many as make so many requests by bench/prices.toml
    #[arg(long, value_name = "N")]
    people: Option<u64>,
}

/// `cargo xtask cost`.
///
/// # Errors
/// When the prices or the measurements cannot be read, or do not know each other's functions.
pub(crate) fn cost(options: &Options) -> Result<()> {
    let workspace = Workspace::read()?;
    let root = workspace.root();
    let (known, text) = Known::read(&root.join("bench/prices.toml"))?;
    let (measured, source) = Measured::read(root)?;
    let requests = options.requests_per_month as f64;
    let people = options.people.map(|people| people as f64);
    let people = people.unwrap_or(requests / known.assumptions.requests_per_person);
    let bill = Bill::of(&known, &measured, requests, people)?;
    let assumed = text.split_once("[assumptions]\n");
    let assumed = assumed.map_or("", |(_, assumed)| assumed);
    println!("{}", bill.text());
    println!(
        "Measured: {source}. Prices, with their sources, and what is assumed: bench/prices.toml.\n"
    );
    println!("{assumed}");
    Ok(())
}

/// A price.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Price {
    usd: f64,
    /// For so many.
    per: f64,
    /// So many are free in every month.
    #[serde(default)]
    free: f64,
    /// Where AWS says so.
    #[serde(rename = "source")]
    _source: String,
}

impl Price {
    /// What so many cost.
    fn of(&self, amount: f64) -> f64 {
        (amount - self.free).max(0.0) / self.per * self.usd
    }
}

/// `prices.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Known {
    prices: BTreeMap<String, Price>,
    assumptions: Assumptions,
    functions: BTreeMap<String, Use>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Assumptions {
    requests_per_person: f64,
    memory_mb: f64,
    cold_share: f64,
    dynamodb_ms: f64,
    stripe_ms: f64,
    aws_ms: f64,
    log_bytes: f64,
    log_share_kept: f64,
    log_months: f64,
    traced_per_second: f64,
    traced_share: f64,
    notes_per_person: f64,
    note_kb: f64,
    files_per_person: f64,
    file_kb: f64,
    alarms: f64,
    hosted_zones: f64,
}

/// How often a function is invoked, and what it takes each time.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Use {
    /// Of the requests that people make.
    share: f64,
    /// For each invocation of another function, so many times.
    per: Option<String>,
    times: f64,
    /// In a month, whatever happens.
    monthly: f64,
    /// Whether it is behind API Gateway although no person asks for it.
    is_route: bool,
    reads: f64,
    writes: f64,
    dynamodb: f64,
    stripe: f64,
    aws: f64,
    secrets: f64,
    s3_reads: f64,
    s3_writes: f64,
    messages: f64,
    sms: f64,
    out_kb: f64,
}

impl Known {
    /// Also returns the file's text.
    fn read(file: &Path) -> Result<(Self, String)> {
        let text = fs::read_to_string(file)
            .with_context(|| format!("{} cannot be read", file.display()))?;
        let known = toml::from_str(&text);
        let known = known.with_context(|| format!("{} is malformed", file.display()))?;
        Ok((known, text))
    }

    /// How often a function is invoked when people make so many requests.
    fn invocations(&self, function: &Use, requests: f64) -> Result<f64> {
        let Some(other) = &function.per else {
            return Ok(function.share * requests + function.monthly);
        };
        let cause = self
            .functions
            .get(other)
            .with_context(|| format!("prices.toml knows no function {other}"))?;
        Ok(cause.share * requests * function.times)
    }
}

/// What `cargo xtask bench` found of one function, over TLS: milliseconds on a CPU.
#[derive(Debug, Clone, Copy, Default)]
struct Cpu {
    /// Until its first answer.
    cold: f64,
    /// For each further one.
    warm: f64,
}

/// What was measured, by function.
#[derive(Debug, Default)]
struct Measured(BTreeMap<String, Cpu>);

/// The part of a report that is read here.
#[derive(Deserialize)]
struct Report {
    date: String,
    rows: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    function: String,
    variant: String,
    tls: Option<Times>,
}

#[derive(Deserialize)]
struct Times {
    cold_cpu_ms: f64,
    warm_cpu_ms: f64,
}

impl Measured {
    /// The latest run on this machine, or else the one behind `bench/RESULTS.md`. Also says which.
    fn read(root: &Path) -> Result<(Self, String)> {
        for file in ["target/bench/report.json", "bench/report.json"] {
            let Ok(text) = fs::read_to_string(root.join(file)) else {
                continue;
            };
            let report: Report =
                serde_json::from_str(&text).with_context(|| format!("{file} is malformed"))?;
            let measured = Self::from(&report);
            // One that only counted instructions knows no times.
            if !measured.0.is_empty() {
                return Ok((measured, format!("{file} of {}", report.date)));
            }
        }
        bail!("nothing is measured; run cargo xtask bench")
    }
}

impl From<&Report> for Measured {
    fn from(report: &Report) -> Self {
        let deployed = report.rows.iter().filter(|row| row.variant == "rust");
        let times = deployed.filter_map(|row| {
            let Times {
                cold_cpu_ms: cold,
                warm_cpu_ms: warm,
            } = *row.tls.as_ref()?;
            Some((row.function.clone(), Cpu { cold, warm }))
        });
        Self(times.collect())
    }
}

/// A GB of memory has this share of a CPU, by the thousand MB
/// (<https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html>).
const MB_OF_A_CPU: f64 = 1769.0;

const SECONDS_OF_A_MONTH: f64 = 30.0 * 24.0 * 3600.0;

const KB_OF_A_GB: f64 = 1024.0 * 1024.0;

/// What a month costs.
#[derive(Debug, Default)]
struct Bill {
    people: f64,
    requests: f64,
    /// Dollars by service.
    services: BTreeMap<&'static str, f64>,
    /// Invocations and dollars by function; what no function causes is not here.
    functions: BTreeMap<String, (f64, f64)>,
}

/// How much of what is priced is used: by price, how much each function uses, and how much there is
/// besides.
#[derive(Debug, Default)]
struct Usage(BTreeMap<&'static str, (BTreeMap<String, f64>, f64)>);

impl Usage {
    fn add(&mut self, price: &'static str, function: &str, amount: f64) {
        let (functions, _) = self.0.entry(price).or_default();
        *functions.entry(function.to_owned()).or_default() += amount;
    }

    fn besides(&mut self, price: &'static str, amount: f64) {
        self.0.entry(price).or_default().1 += amount;
    }
}

/// Whose bill a price is on.
fn service(price: &str) -> &'static str {
    match price.split('_').next().unwrap_or_default() {
        "lambda" if price.ends_with("requests") => "Lambda, requests",
        "lambda" => "Lambda, GB-seconds",
        "api" => "API Gateway",
        "dynamodb" if price.ends_with("reads") => "DynamoDB, reads",
        "dynamodb" if price.ends_with("writes") => "DynamoDB, writes",
        "dynamodb" => "DynamoDB, storage",
        "s3" => "S3",
        "logs" => "CloudWatch Logs",
        "alarms" => "CloudWatch alarms",
        "xray" => "X-Ray",
        "cognito" => "Cognito",
        "sns" | "sms" => "SNS and SMS",
        "kms" => "KMS",
        "transfer" => "Data transfer",
        _ => "Route 53",
    }
}

impl Bill {
    /// Of so many requests by so many people.
    ///
    /// # Errors
    /// Names a function that is priced and not measured, and a price that is missing.
    fn of(known: &Known, measured: &Measured, requests: f64, people: f64) -> Result<Self> {
        let assumed = &known.assumptions;
        let mut usage = Usage::default();
        let mut all = BTreeMap::new();
        for (name, function) in &known.functions {
            let times = known.invocations(function, requests)?;
            let cpu = measured
                .0
                .get(name)
                .with_context(|| format!("{name} is not measured; run cargo xtask bench"))?;
            let per = |amount: f64| amount * times;
            usage.add("lambda_requests", name, times);
            let seconds = billed_ms(function, *cpu, assumed) / 1000.0;
            usage.add(
                "lambda_gb_seconds",
                name,
                per(seconds * assumed.memory_mb / 1024.0),
            );
            if function.share > 0.0 || function.is_route {
                usage.add("api_gateway_requests", name, times);
            }
            usage.add("dynamodb_reads", name, per(function.reads));
            usage.add("dynamodb_writes", name, per(function.writes));
            usage.add("s3_reads", name, per(function.s3_reads));
            usage.add("s3_writes", name, per(function.s3_writes));
            usage.add("sns_messages", name, per(function.messages));
            usage.add("sms", name, per(function.sms));
            usage.add(
                "kms_requests",
                name,
                per(function.secrets * assumed.cold_share),
            );
            let logged = per(assumed.log_bytes / 1024.0) / KB_OF_A_GB;
            usage.add("logs_gb", name, logged);
            usage.add(
                "logs_kept_gb",
                name,
                logged * assumed.log_share_kept * assumed.log_months,
            );
            usage.add("transfer_gb", name, per(function.out_kb) / KB_OF_A_GB);
            all.insert(name.clone(), (times, 0.0));
        }
        let per_second = (requests / SECONDS_OF_A_MONTH).min(assumed.traced_per_second);
        let first = per_second * SECONDS_OF_A_MONTH;
        usage.besides(
            "xray_traces",
            first + (requests - first) * assumed.traced_share,
        );
        usage.besides("cognito_people", people);
        let notes = people * assumed.notes_per_person * assumed.note_kb / KB_OF_A_GB;
        usage.besides("dynamodb_gb", notes);
        usage.besides("dynamodb_backup_gb", notes);
        let files = people * assumed.files_per_person * assumed.file_kb / KB_OF_A_GB;
        usage.besides("s3_gb", files);
        usage.besides("alarms", assumed.alarms);
        usage.besides("hosted_zones", assumed.hosted_zones);

        let mut bill = Self {
            people,
            requests,
            functions: all,
            ..Self::default()
        };
        for (name, (functions, besides)) in usage.0 {
            let price = known
                .prices
                .get(name)
                .with_context(|| format!("prices.toml has no price {name}"))?;
            let amount = functions.values().sum::<f64>() + besides;
            let cost = price.of(amount);
            *bill.services.entry(service(name)).or_default() += cost;
            for (function, part) in functions {
                // What is free is shared by all in proportion.
                if let Some((_, dollars)) = bill.functions.get_mut(&function)
                    && amount > 0.0
                {
                    *dollars += cost * part / amount;
                }
            }
        }
        Ok(bill)
    }

    fn total(&self) -> f64 {
        self.services.values().sum()
    }

    /// The bill as it is shown, dearest first.
    fn text(&self) -> String {
        let total = self.total();
        let mut lines = vec![
            format!(
                "{} requests a month by {} people: {total:.2} USD, {:.2} USD per 1000 people",
                self.requests,
                self.people,
                total / self.people.max(1.0) * 1000.0
            ),
            String::new(),
            format!("{:<22}{:>12}{:>8}", "service", "USD", "share"),
        ];
        let mut services: Vec<_> = self.services.iter().collect();
        services.sort_by(|(_, one), (_, other)| other.total_cmp(one));
        for (service, dollars) in services {
            let share = dollars / total * 100.0;
            lines.push(format!("{service:<22}{dollars:>12.2}{share:>7.1}%"));
        }
        lines.push(String::new());
        lines.push(format!(
            "{:<22}{:>12}{:>12}{:>18}",
            "function", "invocations", "USD", "USD per million"
        ));
        let mut functions: Vec<_> = self.functions.iter().collect();
        functions.sort_by(|(_, (_, one)), (_, (_, other))| other.total_cmp(one));
        for (name, (times, dollars)) in functions {
            let each = dollars / times.max(1.0) * 1e6;
            lines.push(format!(
                "{name:<22}{times:>12.0}{dollars:>12.2}{each:>18.2}"
            ));
        }
        let caused: f64 = self.functions.values().map(|(_, dollars)| dollars).sum();
        lines.push(format!(
            "{:<22}{:>12}{:>12.2}",
            "(people, data, fixed)",
            "",
            total - caused
        ));
        lines.push(String::new());
        lines.join("\n")
    }
}

/// Milliseconds that Lambda bills for one invocation, its part of an init included: its time on a CPU,
/// as long as the function's share of a CPU makes it, and what it waits for others. Whole
/// milliseconds are billed, which is half of one more on average.
fn billed_ms(function: &Use, cpu: Cpu, assumed: &Assumptions) -> f64 {
    let slower = (MB_OF_A_CPU / assumed.memory_mb).max(1.0);
    let waiting = function.dynamodb * assumed.dynamodb_ms
        + function.stripe * assumed.stripe_ms
        + function.aws * assumed.aws_ms;
    let (cold, warm) = (cpu.cold * slower, cpu.warm * slower);
    let secrets = function.secrets * assumed.aws_ms;
    waiting + 0.5 + warm * (1.0 - assumed.cold_share) + (cold + secrets) * assumed.cold_share
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(one: f64, other: f64) {
        assert!((one - other).abs() < 1e-6, "{one} is not {other}");
    }

    fn known() -> Known {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        Known::read(&root.join("bench/prices.toml")).unwrap().0
    }

    fn measured(known: &Known) -> Measured {
        let cpu = Cpu {
            cold: 4.0,
            warm: 0.5,
        };
        let functions = known.functions.keys();
        Measured(functions.map(|name| (name.clone(), cpu)).collect())
    }

    #[test]
    fn what_is_free_is_not_paid_and_the_rest_is_by_the_unit() {
        let price: Price = toml::from_str("usd = 0.2\nper = 1e6\nfree = 1e6\nsource = ''").unwrap();
        close(price.of(500_000.0), 0.0);
        close(price.of(31e6), 6.0);
    }

    #[test]
    fn waiting_and_cpu_time_are_billed_and_an_init_by_its_share() {
        let assumed = Assumptions {
            memory_mb: 884.5, // half a CPU
            cold_share: 0.1,
            dynamodb_ms: 5.0,
            ..known().assumptions
        };
        let function = Use {
            dynamodb: 2.0,
            ..Use::default()
        };
        let cpu = Cpu {
            cold: 4.0,
            warm: 0.5,
        };
        // 10 ms of waiting, half a millisecond of rounding, 0.9 of 1 ms, 0.1 of 8 ms.
        close(billed_ms(&function, cpu, &assumed), 10.0 + 0.5 + 0.9 + 0.8);
    }

    #[test]
    fn the_month_of_100_000_people_adds_up_as_by_hand() {
        let known = known();
        let bill = Bill::of(&known, &measured(&known), 30e6, 100_000.0).unwrap();
        // 30 million requests and 60,000 webhooks at 3.50 a million.
        close(bill.services["API Gateway"], 30.06 * 3.5);
        // 30,000,000 + 3 × 60,000 of purchases + 300,000 uploads + 8,640, without the first million.
        close(bill.services["Lambda, requests"], (30.48864 - 1.0) * 0.2);
        // 90,000 people beyond the first 10,000.
        close(bill.services["Cognito"], 1350.0);
        // One a second, and one in twenty of the others, without the first 100,000.
        close(bill.services["X-Ray"], (2.592 + 27.408 * 0.05 - 0.1) * 5.0);
        // create 2.4 million × 3.1, update 3.3 × 1.2, delete 0.9 × 1.1, purchase 0.06 × 6, webhook
        // 0.06, notify 0.06 × 2, attachment-uploaded 0.3 × 2.
        let writes = 7.44 + 3.96 + 0.99 + 0.36 + 0.06 + 0.12 + 0.6;
        close(bill.services["DynamoDB, writes"], writes * 0.625);
        // get 12 million, list 10.5 × 8, delete 0.9, purchases 0.54, and
        // two for each of 8,640 runs of reconcile.
        let reads = 12.0 + 84.0 + 0.9 + 0.54 + 0.01728;
        close(bill.services["DynamoDB, reads"], reads * 0.125);
        let functions: f64 = bill.functions.values().map(|(_, dollars)| dollars).sum();
        assert!(functions < bill.total());
    }

    #[test]
    fn the_shares_of_what_people_ask_for_are_a_whole() {
        close(
            known()
                .functions
                .values()
                .map(|function| function.share)
                .sum(),
            1.0,
        );
    }

    #[test]
    fn every_function_is_priced_and_no_other() {
        let workspace = Workspace::read().unwrap();
        let functions: Vec<_> = workspace
            .functions()
            .map(|function| &function.name)
            .collect();
        assert_eq!(known().functions.keys().collect::<Vec<_>>(), functions);
    }

    #[test]
    fn memory_is_that_of_the_stage_prod() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let stages = fs::read_to_string(root.join("serverless.yml")).unwrap();
        let (_, prod) = stages.split_once("\n  prod:\n").unwrap();
        let memory = prod
            .lines()
            .find_map(|line| line.trim().strip_prefix("memory: "));
        let assumed = known().assumptions.memory_mb;
        assert_eq!(memory, Some(assumed.to_string().as_str()));
    }

    #[test]
    fn a_function_that_was_not_measured_is_named() {
        let known = known();
        let error = Bill::of(&known, &Measured::default(), 1.0, 1.0).unwrap_err();
        assert!(
            error.to_string().contains("notes-attachment-uploaded"),
            "{error}"
        );
    }

    #[test]
    fn a_report_tells_of_what_is_deployed_and_of_nothing_else() {
        let report = r#"{"date": "2026-11-21", "rows": [
            {"function": "notes-get", "variant": "node", "tls": {"cold_cpu_ms": 100, "warm_cpu_ms": 1}},
            {"function": "notes-get", "variant": "rust", "tls": {"cold_cpu_ms": 4, "warm_cpu_ms": 0.5}},
            {"function": "notes-list", "variant": "rust", "instructions": {"init": 1}}
        ]}"#;
        let Measured(found) = Measured::from(&serde_json::from_str::<Report>(report).unwrap());
        assert_eq!(found.len(), 1);
        close(found["notes-get"].cold, 4.0);
    }
}
