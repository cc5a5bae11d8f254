//! The table of idempotency records.

use idempotency::{
    Error,
    store::{Expected, Record, Store, Version, WriteOutcome},
};
use serde_json::Value;
use uuid::Uuid;

use super::{Hashed, World};
use crate::{
    bugs::Bug,
    call::{Port, Response},
};

impl World {
    fn write_record(&mut self, record: &Record, expected: Expected) -> WriteOutcome {
        let existing = self.data.records.get(&record.id);
        let holds = match expected {
            Expected::AbsentOrExpired { now } => {
                existing.is_none_or(|existing| existing.expires_at <= now)
            }
            Expected::Version(version) => {
                existing.is_some_and(|existing| existing.version == version)
            }
        };
        let free = [
            (Bug::NotifyWithoutClaim, "notify"), // part: notify
            (Bug::CreateWithoutClaim, "POST /notes"),
        ];
        let mut free = free.into_iter();
        let is_free = free.any(|(bug, scope)| self.has(bug) && record.id.starts_with(scope));
        if !holds && !is_free {
            return WriteOutcome::ConditionFailed(existing.map(|record| Record::clone(record)));
        }
        let record = record.clone();
        let id = record.id.clone();
        self.data().records.insert(id, Hashed::new(record));
        WriteOutcome::Done
    }
}

impl Response for WriteOutcome {
    fn brief(&self) -> String {
        match self {
            Self::Done => "done".into(),
            Self::ConditionFailed(Some(record)) => {
                let state = format!("{:?}", record.state);
                let end = state.find([' ', '(']).unwrap_or(state.len());
                format!("condition failed, {}", &state[..end])
            }
            Self::ConditionFailed(None) => "condition failed".into(),
        }
    }
}

impl Store for Port {
    /// The code under test generates a random version for each write. The services see a version that depends only on
    /// the invocation and the number of the write, so that equal schedules lead to equal situations.
    async fn write(&self, record: &Record, expected: Expected) -> Result<WriteOutcome, Error> {
        let version = self.with_versions(|versions| {
            let number = versions.len() as u64;
            let uuid = Uuid::from_u64_pair(self.id(), number).to_string();
            let version: Version = serde_json::from_value(Value::String(uuid)).unwrap();
            versions.push((record.version, version));
            version
        });
        let expected = match expected {
            Expected::Version(expected) => Expected::Version(self.with_versions(|versions| {
                let mut versions = versions.iter();
                let seen = versions.find(|(generated, _)| *generated == expected);
                seen.map_or(expected, |(_, version)| *version)
            })),
            absent => absent,
        };
        let record = Record {
            version,
            ..record.clone()
        };
        let name = match (&expected, &record.state) {
            (_, idempotency::store::State::Completed { .. }) => "complete the claim",
            (_, idempotency::store::State::Released) => "release the claim",
            (Expected::Version(_), _) => "take over the claim",
            (Expected::AbsentOrExpired { .. }, _) => "claim",
        };
        let written = self.call(name, |world| world.write_record(&record, expected));
        let unavailable = |_| Error::Unavailable("simulated failure".into());
        written.await.map_err(unavailable)
    }
}
