//! The policies of recipient domains, put together: asked for, decided, counted.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use relevo_resolve::secure::{DaneHost, DaneLookUp, DaneState, SecureLookUp, Tlsa};
use relevo_smtp::client::{TlsFailure, TlsState};

use crate::decision::{Facts, HostDecision, WantedTable, decide};
use crate::mta_sts::{StsAnswer, StsPolicies};
use crate::report::{FailureDetail, PolicyKind, SessionOutcome, Tallies, TallyPolicy};

/// Octets of the data of a TLSA record in a report.
const MAX_DATA: usize = 256;

/// What is asked for.
pub struct DomainPolicies {
    /// DANE; none: off.
    pub dane: Option<DaneLookUp<Arc<dyn SecureLookUp>>>,
    /// MTA-STS; none: off.
    pub sts: Option<Arc<StsPolicies>>,
    /// The operator's table.
    pub wanted: WantedTable,
    /// What sessions came to.
    pub tallies: Arc<Tallies>,
}

/// What the mail of a recipient domain needs of its hosts.
pub struct DomainPlan {
    domain: String,
    sts: Option<StsAnswer>,
    hosts: HashMap<String, PlannedHost>,
    tallies: Arc<Tallies>,
}

struct PlannedHost {
    dane: Option<DaneHost>,
    decision: HostDecision,
    /// Its TLSA records as reports quote them, once somebody counts.
    reported: OnceLock<Arc<TallyPolicy>>,
}

/// A connection, as far as TLS is concerned.
#[derive(Debug, Clone, Copy)]
pub struct Session<'a> {
    /// The MX host.
    pub host: &'a str,
    /// Its address; none: it was not connected to.
    pub ip: Option<IpAddr>,
    /// Our address, where one was chosen.
    pub source: Option<IpAddr>,
    /// What came about, or why it did not with words.
    pub result: Result<&'a TlsState, (TlsFailure, &'a str)>,
}

impl DomainPolicies {
    /// Asks for the policies of a domain with these hosts. DANE and MTA-STS are asked for at the
    /// same time. `now` is in milliseconds since 1970.
    pub async fn plan(&self, domain: &str, hosts: &[&str], is_demanded: bool, now: i64) -> DomainPlan {
        let dane = async {
            match &self.dane {
                Some(dane) => dane.hosts(domain, hosts).await.into_iter().map(Some).collect(),
                None => vec![None; hosts.len()],
            }
        };
        let sts = async {
            match &self.sts {
                Some(sts) => Some(sts.of(domain, now).await),
                None => None,
            }
        };
        let (dane, sts) = tokio::join!(dane, sts);
        self.decided(domain, hosts, dane, sts, is_demanded)
    }

    /// As [`Self::plan`], by the operator's table alone: for mail that policies of domains must not stop.
    #[must_use]
    pub fn exempt(&self, domain: &str, hosts: &[&str], is_demanded: bool) -> DomainPlan {
        self.decided(domain, hosts, vec![None; hosts.len()], None, is_demanded)
    }

    fn decided(
        &self,
        domain: &str,
        hosts: &[&str],
        dane: Vec<Option<DaneHost>>,
        sts: Option<StsAnswer>,
        is_demanded: bool,
    ) -> DomainPlan {
        let wanted = self.wanted.of(domain);
        let decided = hosts.iter().zip(dane).map(|(host, dane)| {
            let facts = Facts { host, dane: dane.as_ref(), sts: sts.as_ref(), is_demanded, wanted };
            let decision = decide(&facts);
            ((*host).to_owned(), PlannedHost { dane, decision, reported: OnceLock::new() })
        });
        let hosts = decided.collect();
        DomainPlan { domain: domain.to_owned(), sts, hosts, tallies: self.tallies.clone() }
    }
}

impl DomainPlan {
    /// What a host must do. None: it is not one of the domain's.
    #[must_use]
    pub fn of(&self, host: &str) -> Option<&HostDecision> {
        self.hosts.get(host).map(|host| &host.decision)
    }

    /// What DANE says of a host.
    #[must_use]
    pub fn dane(&self, host: &str) -> Option<&DaneHost> {
        self.hosts.get(host).and_then(|host| host.dane.as_ref())
    }

    /// What is known of the domain's MTA-STS policy.
    #[must_use]
    pub fn sts(&self) -> Option<&StsAnswer> {
        self.sts.as_ref()
    }

    /// Counts a session under the policy that decides on its host.
    pub fn count(&self, session: &Session<'_>, now: i64) {
        let dane = self.dane(session.host);
        let in_force = self.sts.as_ref().and_then(StsAnswer::in_force);
        let (policy, outcome) = match dane.map(|dane| &dane.state) {
            Some(DaneState::Records(records)) => {
                (self.of_tlsa(session.host, records), outcome(session, true))
            }
            Some(DaneState::Unusable | DaneState::Defer(_)) => {
                (self.of_tlsa(session.host, &[]), outcome(session, false))
            }
            // What keeps the mail here is no business of the domain.
            _ if self.sts.as_ref().is_some_and(|sts| sts.is_unknown) => return,
            _ => match (in_force, self.sts.as_ref().and_then(|sts| sts.failure.as_ref())) {
                (Some(policy), _) if !policy.names_host(session.host) => {
                    let reason = Some("the policy does not name the host".to_owned());
                    (self.of_sts(), failed(session, "validation-failure", reason))
                }
                (Some(_), _) => (self.of_sts(), outcome(session, true)),
                (None, Some(failure)) => {
                    (self.of_sts(), failed(session, failure.result_type(), Some(failure.to_string())))
                }
                (None, None) => (Arc::new(NO_POLICY), outcome(session, false)),
            },
        };
        self.tallies.count(now, &self.domain, &policy, outcome);
    }

    fn of_sts(&self) -> Arc<TallyPolicy> {
        self.sts.as_ref().map(|sts| Arc::clone(&sts.reported)).unwrap_or_else(|| Arc::new(NO_POLICY))
    }

    fn of_tlsa(&self, host: &str, records: &[Tlsa]) -> Arc<TallyPolicy> {
        let of_records = || {
            let lines = records.iter().map(presented).collect();
            Arc::new(TallyPolicy { kind: PolicyKind::Tlsa, lines, mx: Vec::new() })
        };
        match self.hosts.get(host) {
            Some(host) => Arc::clone(host.reported.get_or_init(of_records)),
            None => of_records(),
        }
    }
}

const NO_POLICY: TallyPolicy = TallyPolicy { kind: PolicyKind::None, lines: Vec::new(), mx: Vec::new() };

/// A TLSA record as zone files have it.
#[must_use]
pub fn presented(tlsa: &Tlsa) -> String {
    let data: String = tlsa.data.iter().take(MAX_DATA).map(|octet| format!("{octet:02x}")).collect();
    format!("{} {} {} {data}", tlsa.usage, tlsa.selector, tlsa.matching_type)
}

/// `must_verify`: TLS with a certificate that is not valid is a failure.
fn outcome(session: &Session<'_>, must_verify: bool) -> SessionOutcome {
    match session.result {
        Ok(state) if state.cipher.is_none() => failed(session, "starttls-not-supported", None),
        Ok(state) if must_verify && !state.verified => failed(session, "certificate-not-trusted", None),
        Ok(_) => SessionOutcome::Success,
        Err((failure, words)) => failed(session, failure.result_type(), Some(words.to_owned())),
    }
}

fn failed(session: &Session<'_>, result_type: &str, reason: Option<String>) -> SessionOutcome {
    SessionOutcome::Failure(FailureDetail {
        result_type: result_type.to_owned(),
        sending_ip: session.source,
        host: Some(session.host.to_owned()),
        receiving_ip: session.ip,
        reason,
    })
}

#[cfg(test)]
mod tests {
    use relevo_smtp::client::TlsPolicy;

    use super::*;
    use crate::decision::Wanted;
    use crate::mta_sts::StsPolicy;

    fn plan(sts: Option<&str>, dane: Option<DaneState>) -> DomainPlan {
        let sts = sts.map(|mode| {
            let text = format!("version: STSv1\nmode: {mode}\nmx: mx.example\nmax_age: 60\n");
            let policy = Arc::new(StsPolicy::parse(text.as_bytes()).unwrap());
            StsAnswer { policy: Some(policy), ..StsAnswer::default() }
        });
        let dane = dane.map(|state| DaneHost { state, base: "mx.example".into(), names: Vec::new() });
        let of = |host: &str| {
            let facts =
                Facts { host, dane: dane.as_ref(), sts: sts.as_ref(), is_demanded: false, wanted: None };
            let decision = decide(&facts);
            (host.to_owned(), PlannedHost { dane: dane.clone(), decision, reported: OnceLock::new() })
        };
        let hosts = ["mx.example", "mx.other"].map(of).into_iter().collect();
        DomainPlan { domain: "example".into(), sts, hosts, tallies: Arc::default() }
    }

    /// What a session is counted as: kind of policy, and result type of a failure.
    fn counted(plan: &DomainPlan, session: &Session<'_>) -> (PolicyKind, Option<String>) {
        plan.count(session, 0);
        let tally = plan.tallies.of(0, "example").unwrap();
        plan.tallies.forget(0, "example");
        let (policy, counts) = &tally.policies[0];
        (policy.kind, counts.details.first().map(|(detail, _)| detail.result_type.clone()))
    }

    #[test]
    fn sessions_are_counted_under_the_policy_that_decides() {
        let clear = TlsState::default();
        let any = TlsState { cipher: Some("TLSv1.3".into()), verified: false };
        let good = TlsState { verified: true, ..any.clone() };
        let session = |host, result| Session { host, ip: None, source: None, result };
        let none = plan(None, None);
        let (ours, other) = ("mx.example", "mx.other");
        let result = |name: &str| Some(name.to_owned());
        assert_eq!(counted(&none, &session(ours, Ok(&any))), (PolicyKind::None, None));
        let unsupported = result("starttls-not-supported");
        assert_eq!(counted(&none, &session(ours, Ok(&clear))), (PolicyKind::None, unsupported));
        let testing = plan(Some("testing"), None);
        assert_eq!(counted(&testing, &session(ours, Ok(&good))), (PolicyKind::Sts, None));
        let untrusted = result("certificate-not-trusted");
        assert_eq!(counted(&testing, &session(ours, Ok(&any))), (PolicyKind::Sts, untrusted));
        let mismatch = result("validation-failure");
        assert_eq!(counted(&testing, &session(other, Ok(&good))), (PolicyKind::Sts, mismatch));
        let tlsa = Tlsa { usage: 3, selector: 1, matching_type: 1, data: vec![0; 32] };
        let dane = plan(Some("enforce"), Some(DaneState::Records(vec![tlsa])));
        let failed = session(ours, Err((TlsFailure::CertificateTlsa, "no match")));
        assert_eq!(counted(&dane, &failed), (PolicyKind::Tlsa, result("tlsa-invalid")));
        let HostDecision::Connect(tls) = testing.of(other).unwrap() else { panic!("testing enforces") };
        assert_eq!(tls.mode, TlsPolicy::Opportunistic);
    }

    #[test]
    fn connections_share_the_text_of_their_policy() {
        let tlsa = Tlsa { usage: 3, selector: 1, matching_type: 1, data: vec![0; 32] };
        let of_dane = plan(None, Some(DaneState::Records(vec![tlsa])));
        let of_sts = plan(Some("enforce"), None);
        let good = TlsState { verified: true, cipher: Some("TLSv1.3".into()) };
        let session = Session { host: "mx.example", ip: None, source: None, result: Ok(&good) };
        for plan in [&of_dane, &of_sts] {
            plan.count(&session, 0);
            let counted = || plan.tallies.of(0, "example").unwrap().policies[0].0.clone();
            let first = counted();
            plan.tallies.forget(0, "example");
            plan.count(&session, 0);
            assert!(Arc::ptr_eq(&first, &counted()));
        }
    }

    #[test]
    fn a_session_that_our_store_stopped_is_not_reported() {
        let sts = StsAnswer { is_unknown: true, ..StsAnswer::default() };
        let plan = DomainPlan { sts: Some(sts), ..plan(None, None) };
        let session = Session {
            host: "mx.example",
            ip: None,
            source: None,
            result: Err((TlsFailure::Unproved, "the store is away")),
        };
        plan.count(&session, 0);
        assert_eq!(plan.tallies.of(0, "example"), None);
    }

    #[test]
    fn what_the_operator_needs_counts_for_exempt_mail_too() {
        let wanted = WantedTable::new([("strict.example".to_owned(), Wanted::Verified)]);
        let policies = DomainPolicies { dane: None, sts: None, wanted, tallies: Arc::default() };
        for (domain, mode) in
            [("strict.example", TlsPolicy::Verified), ("other.example", TlsPolicy::Opportunistic)]
        {
            let plan = policies.exempt(domain, &["mx.example"], false);
            let Some(HostDecision::Connect(tls)) = plan.of("mx.example") else {
                panic!("{domain} is refused")
            };
            assert_eq!(tls.mode, mode, "{domain}");
        }
    }
}
