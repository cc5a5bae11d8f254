//! `RESULTS.md`: what a run found, for people.

use std::fmt::Write as _;

use crate::report::{Instructions, Page, Report, Row, Times};

/// What each variant is called in tables.
const VARIANTS: [(&str, &str); 8] = [
    ("rust", "Rust, as deployed"),
    ("node", "Node"),
    ("hello", "bare lambda_runtime, as cargo-lambda builds it"),
    ("hello-static", "bare lambda_runtime, linked as ours are"),
    ("sdk-defaults", "Rust, the SDK's defaults"),
    ("not-sampled", "an event that X-Ray does not sample"),
    ("untraced", "tracing off"),
    ("debug-log", "`LOG_LEVEL` debug"),
];

/// The variants of `get` that differ from what is deployed by one setting.
const SETTINGS: [&str; 3] = ["not-sampled", "untraced", "debug-log"];

/// From here on a file is written by hand.
const BY_HAND: &str = "<!-- measured by hand, and kept from run to run -->\n";

/// The whole file, with what is written by hand.
pub(crate) fn write(report: &Report, by_hand: &str) -> String {
    let mut out = String::new();
    let machine = &report.machine;
    let (rounds, warm) = (report.rounds, report.warm);
    // Writing to a string does not fail
    let _ = writeln!(
        out,
        "# Results

Written by `cargo xtask bench` on {date}: {cpu}, {cores} cores, {system}; {rustc}; Node {node}.

Every variant was started {rounds} times, all in turn, and each time asked once and then {warm} times. Times are medians of
the {rounds} starts; of warm answers they are of all {all}. Read them as ratios: the machine is a shared one, and what stands in for
DynamoDB (dynoxide, in the harness's process) answers sooner than AWS. CPU is the process's own, so nobody else's work is in it.
Instructions are counted by callgrind, hardly differ between runs, and are what `cargo xtask bench --gate` holds to
[gates.toml](gates.toml).

- *init*: from the start of the process until it asks for its first event; *first*: from that event until its answer; *cold*: both.
- *TLS*: the same over TLS, with a chain like AWS's own (RSA 2048: certificate, intermediate, cross-signed root). A function trusts
  Amazon's roots and can be told of no other, so these rows run a copy of the shipped binary in which one of these is written
  over by the bench's, of the same length: the same code. All other rows run the shipped binary as it is.
  Node is given that root alone, in place of the many it brings, which is a little in its favour. Stripe's double is asked by plain HTTP.
- Lambda's environment: nothing but its variables, tracing on and every event sampled, a session token of 1000 bytes. The twins in
  Node are not traced, check less and keep no Idempotency-Keys.
- *memory*: the most that was resident. *zip*: what is uploaded.
",
        date = report.date,
        cpu = machine.cpu,
        cores = machine.cores,
        system = machine.system,
        rustc = machine.rustc,
        node = machine.node,
        all = rounds * warm,
    );
    marks(&mut out, report);
    functions(&mut out, report);
    beside_get(&mut out, report);
    ratios(&mut out, report);
    settings(&mut out, report);
    pages(&mut out, &report.pages);
    out + BY_HAND + by_hand
}

/// What of an earlier file is written by hand.
pub(crate) fn by_hand(file: &str) -> &str {
    file.split_once(BY_HAND).map_or("", |(_, text)| text)
}

fn called(variant: &str) -> &str {
    let found = VARIANTS.iter().find(|(name, _)| *name == variant);
    found.map_or(variant, |(_, called)| called)
}

/// Whether it is a bare runtime, which calls nobody.
fn is_bare(row: &Row) -> bool {
    row.variant.starts_with("hello")
}

/// A row's address in the file.
fn anchor(row: &Row) -> String {
    format!("<a id=\"{}-{}\"></a>", row.function, row.variant)
}

const HEAD: &str = "| zip MB | init ms | cold ms | cold CPU ms | first TLS ms | cold TLS ms | cold TLS CPU ms | warm p50 ms | warm p99 ms | warm CPU ms | memory MB | M instructions init / cold / warm | the same over TLS |
|---|---|---|---|---|---|---|---|---|---|---|---|---|";

fn cells(row: &Row) -> String {
    let of = |times: Option<Times>, of: fn(Times) -> f64| {
        times.map_or("–".into(), |times| number(of(times)))
    };
    let (http, tls) = (row.http, row.tls);
    let tls = tls.filter(|_| !is_bare(row));
    [
        number(row.zip as f64 / 1e6),
        of(http, |times| times.init_ms),
        of(http, |times| times.cold_ms),
        of(http, |times| times.cold_cpu_ms),
        of(tls, |times| times.first_ms),
        of(tls, |times| times.cold_ms),
        of(tls, |times| times.cold_cpu_ms),
        of(http, |times| times.warm_p50_ms),
        of(http, |times| times.warm_p99_ms),
        of(http, |times| times.warm_cpu_ms),
        of(http, megabytes),
        counts(row.instructions),
        counts(row.tls_instructions.filter(|_| !is_bare(row))),
    ]
    .join(" | ")
}

fn counts(counts: Option<Instructions>) -> String {
    counts.map_or("–".into(), |Instructions { init, cold, warm }| {
        [init, cold, warm]
            .map(|count| format!("{:.2}", count as f64 / 1e6))
            .join(" / ")
    })
}

/// With as many digits as say something.
fn number(value: f64) -> String {
    match value {
        value if value >= 100.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}

fn table<'a>(
    out: &mut String,
    first: &str,
    rows: impl Iterator<Item = &'a Row>,
    name: fn(&Row) -> String,
) {
    let _ = writeln!(out, "| {first} {}", HEAD.replacen("\n|", "\n|---|", 1));
    for row in rows {
        let _ = writeln!(out, "| {} | {} |", name(row), cells(row));
    }
    out.push('\n');
}

fn functions(out: &mut String, report: &Report) {
    out.push_str("## Functions and their peers\n\n");
    let all = report.rows.iter();
    let rows = all.filter(|row| !SETTINGS.contains(&row.variant.as_str()));
    table(out, "", rows, |row| {
        let anchor = anchor(row);
        match row.variant.as_str() {
            variant if is_bare(row) => format!("{anchor}{}", called(variant)),
            variant => format!("{anchor}{}: {}", row.function, called(variant)),
        }
    });
}

/// What `get` may take at most.
struct Mark {
    of: &'static str,
    limit: f64,
    unit: &'static str,
    /// By the rows of `get`, of Node and of the bare runtime.
    measured: fn(&Row, &Row, &Row) -> Option<f64>,
}

const MARKS: [Mark; 9] = [
    Mark {
        of: "CPU of a cold start, in those of the bare runtime",
        limit: 2.0,
        unit: "×",
        measured: |get, _, bare| Some(get.http?.cold_cpu_ms / bare.http?.cold_cpu_ms),
    },
    Mark {
        of: "cold, in Node's",
        limit: 2.5,
        unit: "%",
        measured: |get, node, _| Some(100.0 * get.http?.cold_ms / node.http?.cold_ms),
    },
    Mark {
        of: "cold over TLS, in the bare runtime's that calls nobody",
        limit: 3.0,
        unit: "×",
        measured: |get, _, bare| Some(get.tls?.cold_ms / bare.http?.cold_ms),
    },
    Mark {
        of: "cold over TLS, in Node's",
        limit: 4.0,
        unit: "%",
        measured: |get, node, _| Some(100.0 * get.tls?.cold_ms / node.tls?.cold_ms),
    },
    Mark {
        of: "first answer after init over TLS, its connection open",
        limit: 1.0,
        unit: "ms",
        measured: |get, _, _| Some(get.tls?.first_ms),
    },
    Mark {
        of: "CPU of a warm answer, in Node's",
        limit: 12.0,
        unit: "%",
        measured: |get, node, _| Some(100.0 * get.http?.warm_cpu_ms / node.http?.warm_cpu_ms),
    },
    Mark {
        of: "the same over TLS",
        limit: 12.0,
        unit: "%",
        measured: |get, node, _| Some(100.0 * get.tls?.warm_cpu_ms / node.tls?.warm_cpu_ms),
    },
    Mark {
        of: "memory, over TLS",
        limit: 9.0,
        unit: "MB",
        measured: |get, _, _| Some(megabytes(get.tls?)),
    },
    Mark {
        of: "zip",
        limit: 3.5,
        unit: "MB",
        measured: |get, _, _| Some(get.zip as f64 / 1e6),
    },
];

/// How `get` stands to what it may take.
fn marks(out: &mut String, report: &Report) {
    let row = |variant| report.row("notes-get", variant);
    let (Some(get), Some(node), Some(bare)) = (row("rust"), row("node"), row("hello")) else {
        return;
    };
    out.push_str("## What `get` may take\n\n| | at most | measured | |\n|---|---|---|---|\n");
    for mark in MARKS {
        let (of, limit, unit) = (mark.of, mark.limit, mark.unit);
        if let Some(measured) = (mark.measured)(get, node, bare) {
            let verdict = if measured <= limit {
                "held"
            } else {
                "**not held**"
            };
            let measured = number(measured);
            let _ = writeln!(
                out,
                "| {of} | {limit} {unit} | {measured} {unit} | {verdict} |"
            );
        }
    }
    out.push('\n');
}

fn megabytes(times: Times) -> f64 {
    times.memory as f64 / 1_048_576.0
}

/// What is compared of two rows.
type Column = (&'static str, fn(&Row) -> Option<f64>);

const COLUMNS: [Column; 11] = [
    ("zip", |row| Some(row.zip as f64)),
    ("init", |row| Some(row.http?.init_ms)),
    ("cold", |row| Some(row.http?.cold_ms)),
    ("cold CPU", |row| Some(row.http?.cold_cpu_ms)),
    ("init TLS", |row| Some(row.tls?.init_ms)),
    ("first TLS", |row| Some(row.tls?.first_ms)),
    ("cold TLS", |row| Some(row.tls?.cold_ms)),
    ("cold TLS CPU", |row| Some(row.tls?.cold_cpu_ms)),
    ("warm p50", |row| Some(row.http?.warm_p50_ms)),
    ("warm CPU", |row| Some(row.http?.warm_cpu_ms)),
    ("memory", |row| Some(row.http?.memory as f64)),
];

/// A table of how many times as much the first of two rows takes as the second; bold what is above `limit`.
fn compared<'a>(
    out: &mut String,
    limit: f64,
    pairs: impl Iterator<Item = (String, &'a Row, &'a Row)>,
) {
    let head = COLUMNS.map(|(name, _)| name).join(" | ");
    let _ = writeln!(out, "| | {head} |\n|{}", "---|".repeat(1 + COLUMNS.len()));
    for (name, row, other) in pairs {
        let cells = COLUMNS.map(|(_, of)| match of(row).zip(of(other)) {
            Some((this, that)) if this / that > limit => format!("**{}**", number(this / that)),
            Some((this, that)) => number(this / that),
            None => "–".into(),
        });
        let _ = writeln!(out, "| {name} | {} |", cells.join(" | "));
    }
    out.push('\n');
}

/// What the others may take, in those of `get`.
const BESIDE_GET: f64 = 1.5;

/// How many times as much as `get` each other function takes.
fn beside_get(out: &mut String, report: &Report) {
    let Some(get) = report.row("notes-get", "rust") else {
        return;
    };
    let _ = write!(
        out,
        "## Every function beside `get`\n\nHow many times as much it takes; bold what is above {BESIDE_GET}.\n\n"
    );
    let others = report.rows.iter();
    let others = others.filter(|row| row.variant == "rust" && row.function != "notes-get");
    let pairs = others.map(|row| {
        let name = &row.function;
        (format!("<a id=\"{name}-beside-get\"></a>{name}"), row, get)
    });
    compared(out, BESIDE_GET, pairs);
}

/// How many times as much the peers of what is deployed take.
fn ratios(out: &mut String, report: &Report) {
    out.push_str("## How many times as much as Rust, as deployed\n\n");
    let peers = report.rows.iter();
    let peers =
        peers.filter(|row| is_bare(row) || ["node", "sdk-defaults"].contains(&&*row.variant));
    let pairs = peers.filter_map(|peer| {
        let (function, variant) = (&peer.function, &peer.variant);
        let name = format!(
            "<a id=\"{function}-{variant}-ratio\"></a>{function}: {}",
            called(variant)
        );
        Some((name, peer, report.row(function, "rust")?))
    });
    compared(out, f64::INFINITY, pairs);
}

fn settings(out: &mut String, report: &Report) {
    out.push_str(
        "## What a setting costs\n\n`get` as it is deployed, and with one setting otherwise.\n\n",
    );
    let all = report.rows.iter().filter(|row| row.function == "notes-get");
    let rows = all.filter(|row| row.variant == "rust" || SETTINGS.contains(&row.variant.as_str()));
    table(out, "", rows, |row| match row.variant.as_str() {
        "rust" => called("rust").into(),
        variant => format!("{}{}", anchor(row), called(variant)),
    });
}

fn pages(out: &mut String, pages: &[Page]) {
    out.push_str("## A page of a list, by how many notes its user has\n\n");
    out.push_str("`list`, warm. A page costs what is on it, not what there is.\n\n");
    out.push_str("| notes | on the page | p50 ms | p99 ms | CPU ms | memory MB | M instructions |\n|---|---|---|---|---|---|---|\n");
    for page in pages {
        let _ = writeln!(
            out,
            "| <a id=\"list-{0}-{1}\"></a>{0} | {1} | {2} | {3} | {4} | {5} | {6} |",
            page.notes,
            page.length,
            number(page.p50_ms),
            number(page.p99_ms),
            number(page.cpu_ms),
            number(page.memory as f64 / 1_048_576.0),
            page.instructions
                .map_or("–".into(), |count| format!("{:.2}", count as f64 / 1e6)),
        );
    }
    out.push('\n');
}

/// Between these stands what README.md tells of a run.
const BEGIN: &str = "<!-- written by cargo xtask bench -->\n";
const END: &str = "<!-- to here -->\n";

/// README.md with the ratios of a run. As it is when it has no place for them.
pub(crate) fn in_readme(readme: &str, report: &Report) -> String {
    let place = readme.split_once(BEGIN);
    let place = place.and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
    let Some((before, after)) = place else {
        return readme.to_owned();
    };
    let mut out = format!(
        "{before}{BEGIN}| route | cold start | its CPU time | CPU time of a warm request | memory | zip |\n|---|---|---|---|---|---|\n"
    );
    for peer in report.rows.iter().filter(|row| row.variant == "node") {
        let times = report.row(&peer.function, "rust").and_then(|ours| {
            let (theirs, our) = (peer.tls?, ours.tls?);
            let ratio = |of: fn(Times) -> f64| number(of(theirs) / of(our));
            Some([
                ratio(|times| times.cold_ms),
                ratio(|times| times.cold_cpu_ms),
                ratio(|times| times.warm_cpu_ms),
                ratio(|times| times.memory as f64),
                number(peer.zip as f64 / ours.zip as f64),
            ])
        });
        if let Some(times) = times {
            let _ = writeln!(
                out,
                "| [{0}](bench/RESULTS.md#{0}-node-ratio) | {1} |",
                peer.function,
                times.join(" | ")
            );
        }
    }
    out + END + after
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let row = |variant: &str, init_ms: f64| Row {
            function: "notes-get".into(),
            variant: variant.into(),
            zip: 2_000_000,
            http: Some(Times {
                init_ms,
                ..Times::default()
            }),
            ..Row::default()
        };
        Report {
            rows: vec![row("rust", 2.0), row("node", 130.0), row("hello", 1.0)],
            ..Report::default()
        }
    }

    #[test]
    fn a_mark_is_held_up_to_its_limit_and_what_is_above_it_is_said() {
        let mut report = report();
        for (cold_cpu_ms, line) in [(2.0, "2.00 × | held"), (2.1, "2.10 × | **not held**")] {
            for row in &mut report.rows {
                let is_ours = row.variant == "rust";
                row.http = row.http.map(|times| Times {
                    cold_cpu_ms: if is_ours { cold_cpu_ms } else { 1.0 },
                    ..times
                });
            }
            let results = write(&report, "");
            assert!(results.contains(&format!("| 2 × | {line} |")), "{results}");
        }
    }

    #[test]
    fn a_function_stands_beside_get_and_what_takes_too_much_is_bold() {
        let mut report = report();
        let mut list = report.rows[0].clone();
        list.function = "notes-list".into();
        list.zip = 5_000_000;
        report.rows.push(list);
        let results = write(&report, "");
        assert!(
            results.contains("<a id=\"list-beside-get\"></a>list | **2.50** | 1.00 | "),
            "{results}"
        );
    }

    #[test]
    fn a_peer_has_a_row_of_its_own_and_one_of_how_many_times_as_much_it_takes() {
        let results = write(&report(), "");
        assert!(
            results.contains("<a id=\"get-node\"></a>get: Node | 2.00 | 130 |"),
            "{results}"
        );
        assert!(
            results.contains("<a id=\"get-node-ratio\"></a>get: Node | 1.00 | 65.0 |"),
            "{results}"
        );
    }

    #[test]
    fn tables_have_as_many_cells_in_each_row_as_in_their_head() {
        let results = write(&report(), "");
        let lines: Vec<_> = results.lines().collect();
        for pair in lines
            .windows(2)
            .filter(|pair| pair.iter().all(|line| line.starts_with('|')))
        {
            let cells = |line: &str| line.matches('|').count();
            assert_eq!(cells(pair[0]), cells(pair[1]), "{pair:?}");
        }
    }

    #[test]
    fn the_readme_has_the_ratios_in_their_place_and_is_otherwise_as_it_was() {
        let mut report = report();
        for row in &mut report.rows {
            row.tls = row.http.map(|times| Times {
                cold_ms: times.init_ms,
                ..times
            });
        }
        let readme = format!("before\n{BEGIN}of last week\n{END}after\n");
        let written = in_readme(&readme, &report);
        assert!(written.starts_with("before\n") && written.ends_with("after\n"));
        assert!(
            written.contains("| [get](bench/RESULTS.md#get-node-ratio) | 65.0 |"),
            "{written}"
        );
        assert!(!written.contains("last week"));
        assert_eq!(in_readme("no place", &report), "no place");
    }

    #[test]
    fn what_was_measured_by_hand_stays() {
        let results = write(&report(), "| a save | 3 s |\n");
        assert_eq!(write(&report(), by_hand(&results)), results);
        assert!(results.ends_with("\n| a save | 3 s |\n"));
    }
}
