//! Looks up the name servers of a domain, with the resolvers that this machine uses.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use simple_dns::{CLASS, Name, Packet, PacketFlag, Question, RCODE, TYPE, rdata::RData};
use tokio::{net::UdpSocket, time::timeout};
use uuid::Uuid;

use super::failure::Failure;

/// The time limit for the response of a resolver.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);

/// The maximum number of queries to each resolver, because UDP can lose packets.
const ATTEMPTS: usize = 2;

/// The maximum size of a DNS message over UDP without extensions:
/// <https://www.rfc-editor.org/rfc/rfc1035#section-4.2.1>
const MAX_MESSAGE: usize = 512;

/// A client of recursive DNS resolvers.
#[derive(Debug, Clone)]
pub(super) struct Resolver {
    servers: Vec<SocketAddr>,
}

impl Resolver {
    /// Creates a client of the resolvers in /etc/resolv.conf. Without this file, the client has no resolver.
    pub(super) fn of_system() -> Self {
        let text = fs::read("/etc/resolv.conf").unwrap_or_default();
        let (config, _) = resolv_conf::Config::parse_with_errors(&text);
        let addresses = config.nameservers.iter().map(IpAddr::from);
        Self::new(addresses.map(|address| SocketAddr::new(address, 53)))
    }

    /// Creates a client of the given resolvers. The client tries them in this order.
    pub(super) fn new(servers: impl IntoIterator<Item = SocketAddr>) -> Self {
        Self {
            servers: servers.into_iter().collect(),
        }
    }

    /// The first resolver.
    #[cfg(test)]
    pub(super) fn first(&self) -> SocketAddr {
        self.servers[0]
    }

    /// The name servers of a domain, in lower case and sorted. Empty if the domain does not exist, or if its parent zone
    /// does not delegate it.
    ///
    /// # Errors
    /// Fails if no resolver sends a usable response.
    pub(super) async fn name_servers(&self, domain: &str) -> Result<Vec<String>, Failure> {
        let mut failure = Failure::new("this machine has no DNS resolver in /etc/resolv.conf");
        for server in &self.servers {
            for _ in 0..ATTEMPTS {
                match self.ask(*server, domain).await {
                    Ok(found) => return Ok(found),
                    Err(error) => failure = error,
                }
            }
        }
        Err(failure)
    }

    async fn ask(&self, server: SocketAddr, domain: &str) -> Result<Vec<String>, Failure> {
        let failed = |cause: &dyn std::fmt::Display| {
            Failure::new(&format!(
                "cannot look up {domain} with the resolver {server}: {cause}"
            ))
        };
        // The last bytes of a version 7 UUID are random.
        let [.., high, low] = *Uuid::now_v7().as_bytes();
        let id = u16::from_be_bytes([high, low]);
        let mut query = Packet::new_query(id);
        query.set_flags(PacketFlag::RECURSION_DESIRED);
        let name = Name::new(domain).map_err(|error| failed(&error))?;
        let question = Question::new(name, TYPE::NS.into(), CLASS::IN.into(), false);
        query.questions.push(question);
        let query = query.build_bytes_vec().map_err(|error| failed(&error))?;

        let any = match server {
            SocketAddr::V4(_) => IpAddr::from(Ipv4Addr::UNSPECIFIED),
            SocketAddr::V6(_) => IpAddr::from(Ipv6Addr::UNSPECIFIED),
        };
        let exchange = async {
            let socket = UdpSocket::bind((any, 0)).await?;
            // A connected socket receives only packets from this resolver.
            socket.connect(server).await?;
            socket.send(&query).await?;
            let mut answer = vec![0; MAX_MESSAGE];
            let size = socket.recv(&mut answer).await?;
            answer.truncate(size);
            std::io::Result::Ok(answer)
        };
        let answer = match timeout(ANSWER_TIMEOUT, exchange).await {
            Ok(answer) => answer.map_err(|error| failed(&error))?,
            Err(_) => return Err(failed(&"no response within 3 s")),
        };
        let answer = Packet::parse(&answer).map_err(|error| failed(&error))?;
        if answer.id() != id {
            return Err(failed(&"the response belongs to another query"));
        }
        if answer.has_flags(PacketFlag::TRUNCATION) {
            return Err(failed(&"the response is too long for UDP"));
        }
        match answer.rcode() {
            RCODE::NoError => {}
            RCODE::NameError => return Ok(Vec::new()),
            RCODE::ServerFailure => {
                return Err(failed(
                    &"SERVFAIL. If the parent zone delegates the domain, one of the delegated name servers does not \
                      serve it",
                ));
            }
            code => return Err(failed(&format!("the response code is {code:?}"))),
        }
        let mut found: Vec<String> = answer
            .answers
            .iter()
            .filter_map(|record| match &record.rdata {
                RData::NS(server) => Some(normalized(&server.0.to_string())),
                _ => None,
            })
            .collect();
        found.sort();
        Ok(found)
    }
}

/// The name of a server in lower case and without the dot at its end.
pub(super) fn normalized(name: &str) -> String {
    name.trim().trim_end_matches('.').to_ascii_lowercase()
}
