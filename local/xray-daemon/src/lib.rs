//! What stands in for the X-Ray daemon on a laptop: takes the datagrams that traced functions send
//! and keeps their documents.
//!
//! A datagram is a header line, `{"format":"json","version":1}`, and one segment document
//! (<https://docs.aws.amazon.com/xray/latest/devguide/xray-api-sendingdata.html>). What is not of
//! this form is dropped, as the daemon does.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};

use serde_json::Value;

/// The longest payload that a UDP datagram over IPv4 has room for, in bytes.
const DATAGRAM: usize = 65_507;

/// A socket that listens where the daemon would.
#[derive(Debug)]
pub struct Daemon(UdpSocket);

impl Daemon {
    /// Listens on the loopback interface: on `port`, or with 0 on any that is free.
    ///
    /// # Errors
    ///
    /// When the port is taken.
    pub fn bind(port: u16) -> io::Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, port))?;
        socket.set_nonblocking(true)?;
        Ok(Self(socket))
    }

    /// Where it listens; its display form is what `AWS_XRAY_DAEMON_ADDRESS` takes.
    ///
    /// # Errors
    ///
    /// When the system can't say.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    /// The documents that came since the last call, without waiting for more: a datagram on the
    /// loopback interface is there as soon as its sender has sent it.
    ///
    /// # Errors
    ///
    /// When the socket fails.
    pub fn documents(&self) -> io::Result<Vec<Value>> {
        let mut datagram = vec![0; DATAGRAM];
        let mut documents = Vec::new();
        loop {
            match self.0.recv(&mut datagram) {
                Ok(length) => documents.extend(datagram.get(..length).and_then(document)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(documents),
                Err(error) => return Err(error),
            }
        }
    }

    /// Appends every document that comes to `file`, one to a line, until the future is dropped.
    ///
    /// Once the file is over `limit` bytes it is renamed to end in `.1`, in place of an earlier
    /// one, and a new one begun.
    ///
    /// # Errors
    ///
    /// When the socket or the file fails.
    pub async fn record(self, file: &Path, limit: u64) -> io::Result<()> {
        let socket = tokio::net::UdpSocket::from_std(self.0)?;
        let mut datagram = vec![0; DATAGRAM];
        let mut log = Log::open(file.to_owned(), limit)?;
        loop {
            let length = socket.recv(&mut datagram).await?;
            if let Some(document) = datagram.get(..length).and_then(document) {
                log.append(&document)?;
            }
        }
    }
}

/// The document of a datagram that is of the daemon's format.
fn document(datagram: &[u8]) -> Option<Value> {
    let line = datagram.iter().position(|byte| *byte == b'\n')?;
    let (header, document) = datagram.split_at(line);
    let header: Value = serde_json::from_slice(header).ok()?;
    let expected = header.get("format")? == "json" && header.get("version")? == 1;
    expected
        .then(|| serde_json::from_slice(document).ok())
        .flatten()
}

struct Log {
    path: PathBuf,
    file: File,
    length: u64,
    limit: u64,
}

impl Log {
    fn open(path: PathBuf, limit: u64) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(&path)?;
        let length = file.metadata()?.len();
        Ok(Self {
            path,
            file,
            length,
            limit,
        })
    }

    fn append(&mut self, document: &Value) -> io::Result<()> {
        let line = format!("{document}\n");
        self.file.write_all(line.as_bytes())?;
        self.length += line.len() as u64;
        if self.length > self.limit {
            let mut previous = OsString::from(&self.path);
            previous.push(".1");
            std::fs::rename(&self.path, previous)?;
            *self = Self::open(self.path.clone(), self.limit)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn send(daemon: &Daemon, datagram: &str) {
        let sender = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        sender
            .send_to(datagram.as_bytes(), daemon.address().unwrap())
            .unwrap();
    }

    #[test]
    fn documents_come_out_once_in_the_order_they_came_in() {
        let daemon = Daemon::bind(0).unwrap();
        send(
            &daemon,
            "{\"format\": \"json\", \"version\": 1}\n{\"name\":\"first\"}",
        );
        send(
            &daemon,
            "{\"version\":1,\"format\":\"json\"}\n{\"name\":\"second\"}",
        );
        let documents = daemon.documents().unwrap();
        let names: Vec<_> = documents.iter().map(|document| &document["name"]).collect();
        assert_eq!(names, ["first", "second"]);
        assert!(daemon.documents().unwrap().is_empty());
    }

    #[test]
    fn datagrams_of_another_form_are_dropped() {
        let daemon = Daemon::bind(0).unwrap();
        for datagram in [
            "",
            "{\"format\":\"json\",\"version\":1}",
            "{\"format\":\"json\",\"version\":1}\n{\"name\":",
            "{\"format\":\"xml\",\"version\":1}\n{}",
            "{\"format\":\"json\",\"version\":2}\n{}",
            "\n{}",
        ] {
            send(&daemon, datagram);
        }
        assert!(daemon.documents().unwrap().is_empty());
    }

    #[test]
    fn a_log_over_its_limit_is_begun_anew_and_the_previous_one_kept() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("traces");
        let mut log = Log::open(path.clone(), 10).unwrap();
        log.append(&serde_json::json!({"name": "over the limit"}))
            .unwrap();
        log.append(&serde_json::json!({})).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "{}\n");
        let previous = std::fs::read_to_string(directory.path().join("traces.1")).unwrap();
        assert_eq!(previous, "{\"name\":\"over the limit\"}\n");
    }

    #[tokio::test]
    async fn a_recorded_document_is_one_line_of_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("traces");
        let daemon = Daemon::bind(0).unwrap();
        send(
            &daemon,
            "{\"format\":\"json\",\"version\":1}\n{\n\"name\": \"DynamoDB\"\n}",
        );
        let written = async {
            while std::fs::read_to_string(&path)
                .unwrap_or_default()
                .is_empty()
            {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            result = daemon.record(&path, 1_000) => panic!("recording ended: {result:?}"),
            () = written => {}
        }
        assert_eq!(
            std::fs::read_to_string(&path).unwrap(),
            "{\"name\":\"DynamoDB\"}\n"
        );
    }
}
