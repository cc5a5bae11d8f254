//! The processes of the functions: their memory and file descriptors over time. Only on Linux, which has /proc.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::Duration;

use serde::Serialize;
use test_support::stage::Stage;

/// A running process of a function.
#[derive(Debug)]
pub(crate) struct Process {
    /// The name of the function's crate.
    pub(crate) function: String,
    pub(crate) pid: i32,
}

/// Returns the process ID of the stage's local cloud. `None` if its file does not exist.
pub(crate) fn cloud(stage: &Stage) -> Option<i32> {
    let pid = fs::read_to_string(stage.folder().join("cloud.pid")).ok()?;
    pid.trim().parse().ok()
}

/// Returns the processes of the functions, which are children of the local cloud.
pub(crate) fn functions_of(stage: &Stage) -> Vec<Process> {
    let Some(cloud) = cloud(stage) else {
        return Vec::new();
    };
    let prefix = format!("scratchpad-{}-", stage.name());
    let children = fs::read_dir("/proc").into_iter().flatten().flatten();
    let children = children.filter_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        (parent(pid)? == cloud).then_some(pid)
    });
    let functions = children.filter_map(|pid| {
        let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
        let name = environment
            .split(|byte| *byte == 0)
            .find_map(|variable| variable.strip_prefix(b"AWS_LAMBDA_FUNCTION_NAME="))?;
        let name = String::from_utf8_lossy(name);
        let function = name.strip_prefix(&prefix)?.to_owned();
        Some(Process { function, pid })
    });
    functions.collect()
}

/// Returns the process ID of a process's parent (<https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html>).
fn parent(pid: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name of the program is in parentheses, and may contain spaces.
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(1)?.parse().ok()
}

/// What a process used at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sample {
    /// The resident set size, in kB.
    pub(crate) memory: u64,
    /// The number of open file descriptors.
    pub(crate) files: u64,
}

impl Sample {
    fn take(pid: i32) -> Option<Self> {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let memory = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))?;
        Some(Self {
            memory: memory.split_whitespace().next()?.parse().ok()?,
            files: fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count() as u64,
        })
    }
}

/// The pause between two samples.
pub(crate) const INTERVAL: Duration = Duration::from_secs(2);

/// A function must have processes in this number of samples to be judged: 40 s.
const ENOUGH: usize = 20;

/// A function does not grow if its largest process uses at most this much more in the last quarter of the run than in the
/// second quarter, in addition to 10 %: memory in kB, and file descriptors. The first call of a service over
/// TLS takes 6 MB, and some functions make it only rarely.
const TOLERANCE: Sample = Sample {
    memory: 8_192,
    files: 8,
};

/// The samples of all functions, by name.
#[derive(Debug, Default)]
pub(crate) struct Samples(BTreeMap<String, History>);

/// The samples of a function.
#[derive(Debug, Default)]
struct History {
    /// The IDs of all its processes.
    processes: BTreeSet<i32>,
    /// What its largest process used, oldest first.
    largest: Vec<Sample>,
}

impl Samples {
    /// Takes a sample of each process.
    pub(crate) fn take(&mut self, stage: &Stage) {
        let mut functions: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for Process { function, pid } in functions_of(stage) {
            let sample = Sample::take(pid).map(|sample| (pid, sample));
            functions.entry(function).or_default().extend(sample);
        }
        for (function, processes) in functions {
            self.add(function, &processes);
        }
    }

    /// Adds a sample of a function's processes.
    fn add(&mut self, function: String, processes: &[(i32, Sample)]) {
        let memory = processes.iter().map(|(_, sample)| sample.memory).max();
        let files = processes.iter().map(|(_, sample)| sample.files).max();
        if let (Some(memory), Some(files)) = (memory, files) {
            let history = self.0.entry(function).or_default();
            history
                .processes
                .extend(processes.iter().map(|(pid, _)| pid));
            history.largest.push(Sample { memory, files });
        }
    }

    /// Returns the usage of each function.
    pub(crate) fn usage(&self) -> Vec<Usage> {
        let usage = self.0.iter().map(|(function, history)| {
            let memory = history.largest.iter().map(|sample| sample.memory);
            let files = history.largest.iter().map(|sample| sample.files);
            Usage {
                function: function.clone(),
                processes: history.processes.len(),
                memory_kb: Trend::of(memory.collect(), TOLERANCE.memory),
                files: Trend::of(files.collect(), TOLERANCE.files),
            }
        });
        usage.collect()
    }
}

/// What the processes of a function used.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Usage {
    pub(crate) function: String,
    pub(crate) processes: usize,
    /// The memory of the largest process in kB.
    pub(crate) memory_kb: Trend,
    /// The file descriptors of the process with the most.
    pub(crate) files: Trend,
}

impl Usage {
    /// Whether the function used more and more.
    pub(crate) fn grows(&self) -> bool {
        self.memory_kb.grows || self.files.grows
    }
}

/// How a value changed during the run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Trend {
    pub(crate) maximum: u64,
    /// The median in the second quarter of the samples.
    pub(crate) second_quarter: u64,
    /// The median in the last quarter of the samples.
    pub(crate) last_quarter: u64,
    /// Whether the last quarter is more than 10 % plus a constant above the second one. False if there are too few samples.
    pub(crate) grows: bool,
}

impl Trend {
    fn of(values: Vec<u64>, tolerance: u64) -> Self {
        let quarter = values.len() / 4;
        let median_of = |range| values.get(range).map_or(0, median);
        let second_quarter = median_of(quarter..2 * quarter);
        let last_quarter = median_of(values.len() - quarter..values.len());
        let limit = second_quarter + second_quarter / 10 + tolerance;
        Self {
            maximum: values.iter().copied().max().unwrap_or(0),
            second_quarter,
            last_quarter,
            grows: values.len() >= ENOUGH && last_quarter > limit,
        }
    }
}

fn median(values: &[u64]) -> u64 {
    let mut values = values.to_vec();
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLAT: Sample = Sample {
        memory: 20_000,
        files: 12,
    };

    fn usage(samples: impl Iterator<Item = Sample>) -> Usage {
        let mut all = Samples::default();
        for sample in samples {
            all.add(
                "notes-get".into(),
                &[
                    (1, sample),
                    (
                        2,
                        Sample {
                            memory: 1,
                            files: 1,
                        },
                    ),
                ],
            );
        }
        all.usage().remove(0)
    }

    #[test]
    fn a_function_whose_memory_or_files_grow_is_detected() {
        let flat = usage((0..100).map(|_| FLAT));
        assert_eq!((flat.processes, flat.grows()), (2, false));
        let memory = usage((0..100).map(|time| Sample {
            memory: 20_000 + time * 300,
            ..FLAT
        }));
        assert_eq!((memory.memory_kb.grows, memory.files.grows), (true, false));
        let files = usage((0..100).map(|time| Sample {
            files: 12 + time / 4,
            ..FLAT
        }));
        assert_eq!((files.memory_kb.grows, files.files.grows), (false, true));
    }

    #[test]
    fn growth_in_the_first_quarter_and_a_short_run_are_not_judged() {
        let warm = |time: u64| Sample {
            memory: 5_000 + time.min(20) * 1_000,
            ..FLAT
        };
        assert!(!usage((0..100).map(warm)).grows());
        let short = usage((0..10).map(|time| Sample {
            memory: time * 10_000,
            files: time * 100,
        }));
        assert!(!short.grows());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_parent_and_the_usage_of_this_process_are_read() {
        let pid = std::process::id().try_into().unwrap();
        let parent_id: i32 = std::os::unix::process::parent_id().try_into().unwrap();
        assert_eq!(parent(pid), Some(parent_id));
        let sample = Sample::take(pid).unwrap();
        assert!(sample.memory > 100 && sample.files > 2, "{sample:?}");
    }
}
