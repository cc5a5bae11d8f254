//! A local replacement for the X-Ray daemon. It receives the datagrams of traced functions and
//! stores the segment documents that the datagrams contain.
//!
//! A datagram is a header line, `{"format":"json","version":1}`, and one segment document
//! (<https://docs.aws.amazon.com/xray/latest/devguide/xray-api-sendingdata.html>). Like the real
//! daemon, this daemon drops datagrams of another form.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};

use serde_json::Value;

/// The longest payload of a UDP datagram over IPv4, in bytes.
const MAX_DATAGRAM: usize = 65_507;

/// The local X-Ray daemon: a UDP socket that receives datagrams.
#[derive(Debug)]
pub struct Daemon(UdpSocket);

impl Daemon {
    /// Listens on the loopback interface, on `port`, or on any free port if `port` is 0.
    ///
    /// # Errors
    ///
    /// Fails if the port is in use.
    pub fn bind(port: u16) -> io::Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, port))?;
        socket.set_nonblocking(true)?;
        Ok(Self(socket))
    }

    /// The address of the daemon's socket. As text, it is the value for `AWS_XRAY_DAEMON_ADDRESS`.
    ///
    /// # Errors
    ///
    /// Fails if the operating system does not report the address.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    /// Returns the segment documents that were received since the previous call, without waiting
    /// for more. On the loopback interface, a datagram is available as soon as it has been sent.
    ///
    /// # Errors
    ///
    /// Fails if the socket cannot be read.
    pub fn documents(&self) -> io::Result<Vec<Value>> {
        let mut datagram = vec![0; MAX_DATAGRAM];
        let mut documents = Vec::new();
        loop {
            match self.0.recv(&mut datagram) {
                Ok(length) => documents.extend(datagram.get(..length).and_then(document)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(documents),
                Err(error) => return Err(error),
            }
        }
    }

    /// Appends every segment document to `file`, one per line, until the future is dropped.
    ///
    /// When `file` exceeds `limit` bytes, it is renamed: its name gets the suffix `.1`. The renamed
    /// file replaces an earlier file of that name. Later documents go to a new `file`.
    ///
    /// # Errors
    ///
    /// Fails if the socket cannot be read or the file cannot be written.
    pub async fn record(self, file: &Path, limit: u64) -> io::Result<()> {
        let socket = tokio::net::UdpSocket::from_std(self.0)?;
        let mut datagram = vec![0; MAX_DATAGRAM];
        let mut log = Log::open(file.to_owned(), limit)?;
        loop {
            let length = socket.recv(&mut datagram).await?;
            if let Some(document) = datagram.get(..length).and_then(document) {
                log.append(&document)?;
            }
        }
    }
}

/// Returns the segment document in a datagram. None if the datagram has another form.
fn document(datagram: &[u8]) -> Option<Value> {
    let line = datagram.iter().position(|byte| *byte == b'\n')?;
    let (header, document) = datagram.split_at(line);
    let header: Value = serde_json::from_slice(header).ok()?;
    let is_supported = header.get("format")? == "json" && header.get("version")? == 1;
    is_supported
        .then(|| serde_json::from_slice(document).ok())
        .flatten()
}

/// A file of segment documents. It is rotated when it exceeds `limit` bytes.
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
    fn each_document_is_returned_once_in_order() {
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
    fn datagrams_of_another_format_are_dropped() {
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
    fn a_log_above_its_limit_is_rotated() {
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
    async fn a_recorded_document_is_one_line() {
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
