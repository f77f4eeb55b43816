//! DANE of the MX hosts of a domain: asks, judges, remembers.

use std::collections::HashSet;
use std::time::Duration;

use futures::future::join_all;

use super::dane::{DaneAddresses, DaneState, DeferReason, NotApplicable, judge_addresses, judge_tlsa};
use super::{
    Denial, DnssecSupport, SecureAnswer, SecureFailure, SecureKind, SecureLookUp, SecureRecord, SingleFlight,
};

/// Domains and hosts that are remembered.
const MEMORY: usize = 20_000;
/// Bounds of the time for which an answer is remembered: its TTL is the most (RFC 2181 section 8), as
/// a key may be rolled over two TTLs after its record was published (RFC 7671 section 8.1).
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(3600);
/// How long a failure is remembered.
const FAILED: Duration = Duration::from_secs(30);
/// How long absence is remembered: its TTL is not known here.
const ABSENT: Duration = Duration::from_secs(300);
/// All lookups for one host.
const TIME: Duration = Duration::from_secs(60);

/// What DANE says of one MX host of a domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DaneHost {
    /// What it says.
    pub state: DaneState,
    /// The TLSA base domain, where there are TLSA records: the name for SNI.
    pub base: String,
    /// Names that a certificate below a DANE-TA record may be for: the base domain, the domain of
    /// the recipient, and what the latter is an alias of (RFC 7672 section 3.2.3).
    pub names: Vec<String>,
}

/// Looks up DANE for the MX hosts of domains, and remembers what it found.
pub struct DaneLookUp<L> {
    look_up: L,
    port: u16,
    mx: SingleFlight<String, SecureAnswer>,
    hosts: SingleFlight<String, (DaneState, String)>,
}

impl<L: SecureLookUp> DaneLookUp<L> {
    /// For mail hosts at this port.
    #[must_use]
    pub fn new(look_up: L, port: u16) -> Self {
        Self { look_up, port, mx: SingleFlight::new(MEMORY), hosts: SingleFlight::new(MEMORY) }
    }

    /// Whether the name server supports DNSSEC.
    pub async fn support(&self) -> DnssecSupport {
        self.look_up.support().await
    }

    /// What DANE says of these hosts of a domain, one answer for each. `hosts` are those that the
    /// mail would go to, in lower case without a final dot.
    pub async fn hosts(&self, domain: &str, hosts: &[&str]) -> Vec<DaneHost> {
        let of_all = |state: DaneState| hosts.iter().map(|host| self.plain(host, state.clone())).collect();
        match self.look_up.support().await {
            DnssecSupport::Available => {}
            DnssecSupport::Unavailable(_) => {
                return of_all(DaneState::NotApplicable(NotApplicable::NoDnssec));
            }
            DnssecSupport::Unknown(detail) => return of_all(DaneState::Defer(DeferReason::Support(detail))),
        }
        let mx = self.mx.get(domain.to_owned(), self.ask(SecureKind::Mx, domain.to_owned())).await;
        let (named, aliases) = match mx {
            SecureAnswer::Found { is_secure, ref aliases, .. }
                if !is_secure || !aliases.iter().all(|alias| alias.is_secure) =>
            {
                return of_all(DaneState::NotApplicable(NotApplicable::InsecureMx));
            }
            SecureAnswer::Found { records, aliases, .. } => (exchangers(records), aliases),
            // The domain is its own mail host (RFC 5321 section 5.1).
            SecureAnswer::Absent(_) => (HashSet::from([domain.to_owned()]), Vec::new()),
            SecureAnswer::Failed(failure) => return of_all(DaneState::Defer(failure.into())),
        };
        let of_host = async |host: &&str| {
            if !named.contains(*host) {
                return self.plain(host, DaneState::Defer(DeferReason::Contradiction((*host).to_owned())));
            }
            let (state, base) = self.hosts.get((*host).to_owned(), self.host(host)).await;
            let mut names = vec![base.clone(), domain.to_owned()];
            names.extend(aliases.iter().map(|alias| alias.target.clone()));
            let mut seen = HashSet::new();
            names.retain(|name| seen.insert(name.clone()));
            DaneHost { state, base, names }
        };
        join_all(hosts.iter().map(of_host)).await
    }

    fn plain(&self, host: &str, state: DaneState) -> DaneHost {
        DaneHost { state, base: host.to_owned(), names: Vec::new() }
    }

    /// The state of a host, its TLSA base domain, and how long they may be remembered.
    async fn host(&self, host: &str) -> ((DaneState, String), Duration) {
        let slow = || {
            let failure = SecureFailure::NoAnswer(format!("{host}: DNS was too slow"));
            ((DaneState::Defer(failure.into()), host.to_owned()), FAILED)
        };
        tokio::time::timeout(TIME, self.judged(host)).await.unwrap_or_else(|_| slow())
    }

    async fn judged(&self, host: &str) -> ((DaneState, String), Duration) {
        let (a, aaaa) = tokio::join!(
            self.look_up.secure(SecureKind::A, host),
            self.look_up.secure(SecureKind::Aaaa, host)
        );
        let mut time = lifetime(&a).min(lifetime(&aaaa));
        let names = match judge_addresses(host, &a, &aaaa) {
            DaneAddresses::Decided(state) => return ((state, host.to_owned()), time),
            DaneAddresses::Ask(names) => names,
        };
        let mut last = NotApplicable::NoTlsa;
        for base in names {
            let name = format!("_{}._tcp.{base}", self.port);
            let answer = self.look_up.secure(SecureKind::Tlsa, &name).await;
            time = time.min(lifetime(&answer));
            match judge_tlsa(&answer) {
                Ok(state) => return ((state, base), time),
                Err(why) => last = why,
            }
        }
        ((DaneState::NotApplicable(last), host.to_owned()), time)
    }

    async fn ask(&self, kind: SecureKind, name: String) -> (SecureAnswer, Duration) {
        let answer = match tokio::time::timeout(TIME, self.look_up.secure(kind, &name)).await {
            Ok(answer) => answer,
            Err(_) => SecureAnswer::Failed(SecureFailure::NoAnswer(format!("{name}: DNS was too slow"))),
        };
        let time = lifetime(&answer);
        (answer, time)
    }
}

fn exchangers(records: Vec<SecureRecord>) -> HashSet<String> {
    let name = |record| match record {
        SecureRecord::Mx(host) => Some(host),
        _ => None,
    };
    records.into_iter().filter_map(name).collect()
}

fn lifetime(answer: &SecureAnswer) -> Duration {
    match answer {
        SecureAnswer::Found { ttl, .. } => (*ttl).clamp(SHORTEST, LONGEST),
        SecureAnswer::Absent(Denial::Secure | Denial::Insecure) => ABSENT,
        SecureAnswer::Absent(Denial::Unproved) | SecureAnswer::Failed(_) => FAILED,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_remembered_no_longer_than_it_says() {
        let answer = |ttl| SecureAnswer::Found {
            records: Vec::new(),
            aliases: Vec::new(),
            is_secure: true,
            ttl: Duration::from_secs(ttl),
        };
        for (ttl, remembered) in [(2, 2), (300, 300), (0, 1), (86_400, 3600)] {
            assert_eq!(lifetime(&answer(ttl)), Duration::from_secs(remembered), "{ttl}");
        }
    }
}
