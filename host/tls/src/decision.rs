//! From policies to what one host must do. Nothing is asked here.

use std::collections::HashMap;

use relevo_resolve::secure::{DaneHost, DaneState, Tlsa};
use relevo_smtp::client::{TlsFailure, TlsPolicy, TlsReason, TlsRequirement, TlsaRecord};

use crate::mta_sts::{StsAnswer, StsMode};

/// What the operator wants for a recipient domain, whatever it publishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Wanted {
    /// Policies of the domain are left alone: TLS if the host offers it. The way out when a domain
    /// has broken what it publishes.
    Opportunistic,
    /// TLS at least, with any certificate.
    Required,
    /// A certificate that is valid for the host at least.
    Verified,
    /// TLSA records that are usable, or no mail.
    Dane,
}

/// What the operator wants, by recipient domain: of the domain itself, or of the nearest one above
/// it that has an entry with `.` before it, or of all (`*`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WantedTable(HashMap<String, Wanted>);

impl WantedTable {
    /// Entries are `example.com`, `.example.com` (the domains below it) and `*`; in A-labels and
    /// lower case.
    #[must_use]
    pub fn new(entries: impl IntoIterator<Item = (String, Wanted)>) -> Self {
        Self(entries.into_iter().collect())
    }

    /// What is wanted for a domain.
    #[must_use]
    pub fn of(&self, domain: &str) -> Option<Wanted> {
        if self.0.is_empty() {
            return None;
        }
        if let Some(wanted) = self.0.get(domain) {
            return Some(*wanted);
        }
        let mut rest = domain;
        while let Some(dot) = rest.find('.') {
            if let Some(wanted) = self.0.get(&rest[dot..]) {
                return Some(*wanted);
            }
            rest = &rest[dot + 1..];
        }
        self.0.get("*").copied()
    }
}

/// Facts that decide on one host of one recipient domain.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The MX host, in lower case without a final dot.
    pub host: &'a str,
    /// What DANE says; none: DANE is off.
    pub dane: Option<&'a DaneHost>,
    /// The MTA-STS policy of the recipient domain; none: MTA-STS is off.
    pub sts: Option<&'a StsAnswer>,
    /// The sender demands a verified certificate.
    pub is_demanded: bool,
    /// The operator's table.
    pub wanted: Option<Wanted>,
}

/// What one host must do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostDecision {
    /// It may be connected to, with this TLS.
    Connect(TlsRequirement),
    /// It may not. The mail waits, or goes to another host.
    Refuse {
        /// The kind.
        failure: TlsFailure,
        /// Which policy.
        reason: TlsReason,
        /// Words that name policy and host.
        detail: String,
    },
}

/// Decides. DANE wins over MTA-STS where it has usable records; what sender and operator want only
/// adds to that, except [`Wanted::Opportunistic`].
#[must_use]
pub fn decide(facts: &Facts<'_>) -> HostDecision {
    if facts.wanted == Some(Wanted::Opportunistic) {
        return without_policy(facts);
    }
    match facts.dane.map(|dane| (dane, &dane.state)) {
        Some((_, DaneState::Defer(reason))) => HostDecision::Refuse {
            failure: TlsFailure::Unproved,
            reason: TlsReason::Dane,
            detail: format!("DANE of {} is not known: {reason}", facts.host),
        },
        Some((dane, DaneState::Records(records))) => {
            let records = records.iter().map(record).collect();
            let requirement = TlsRequirement::by_tlsa(dane.names.clone(), records, TlsReason::Dane);
            HostDecision::Connect(TlsRequirement { server_name: Some(dane.base.clone()), ..requirement })
        }
        state => without_records(facts, matches!(state, Some((_, DaneState::Unusable)))),
    }
}

fn without_records(facts: &Facts<'_>, is_unusable: bool) -> HostDecision {
    if facts.wanted == Some(Wanted::Dane) {
        return HostDecision::Refuse {
            failure: TlsFailure::NoTlsa,
            reason: TlsReason::Operator,
            detail: format!("[delivery] tls requires DANE, and {} has no usable TLSA record", facts.host),
        };
    }
    if facts.sts.is_some_and(|sts| sts.is_unknown) {
        return HostDecision::Refuse {
            failure: TlsFailure::Unproved,
            reason: TlsReason::MtaSts,
            detail: "the MTA-STS policy of the domain is not known: the store cannot be read".to_owned(),
        };
    }
    let enforced = facts.sts.and_then(StsAnswer::in_force).filter(|policy| policy.mode == StsMode::Enforce);
    if let Some(policy) = enforced {
        return if policy.names_host(facts.host) {
            HostDecision::Connect(TlsRequirement::new(TlsPolicy::Verified, TlsReason::MtaSts))
        } else {
            HostDecision::Refuse {
                failure: TlsFailure::NotInPolicy,
                reason: TlsReason::MtaSts,
                detail: format!("the MTA-STS policy of the domain does not name {}", facts.host),
            }
        };
    }
    match without_policy(facts) {
        HostDecision::Connect(weak) if is_unusable && weak.mode != TlsPolicy::Verified => {
            HostDecision::Connect(TlsRequirement::new(TlsPolicy::Required, TlsReason::DaneUnusable))
        }
        other => other,
    }
}

fn without_policy(facts: &Facts<'_>) -> HostDecision {
    let (mode, reason) = match facts.wanted {
        _ if facts.is_demanded => (TlsPolicy::Verified, TlsReason::Demanded),
        Some(Wanted::Verified) => (TlsPolicy::Verified, TlsReason::Operator),
        Some(Wanted::Required) => (TlsPolicy::Required, TlsReason::Operator),
        _ => (TlsPolicy::Opportunistic, TlsReason::ByMx),
    };
    HostDecision::Connect(TlsRequirement::new(mode, reason))
}

fn record(tlsa: &Tlsa) -> TlsaRecord {
    TlsaRecord {
        usage: tlsa.usage,
        selector: tlsa.selector,
        matching_type: tlsa.matching_type,
        data: tlsa.data.clone(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use relevo_resolve::secure::{DeferReason, NotApplicable};

    use super::*;
    use crate::mta_sts::StsPolicy;

    fn sts(mode: &str) -> StsAnswer {
        let text = format!("version: STSv1\nmode: {mode}\nmx: *.example\nmax_age: 60\n");
        let policy = Arc::new(StsPolicy::parse(text.as_bytes()).unwrap());
        StsAnswer { policy: Some(policy), ..StsAnswer::default() }
    }

    fn dane(state: DaneState) -> DaneHost {
        DaneHost { state, base: "mx.example".into(), names: vec!["mx.example".into(), "example".into()] }
    }

    fn facts<'a>(host: &'a str, dane: Option<&'a DaneHost>, sts: Option<&'a StsAnswer>) -> Facts<'a> {
        Facts { host, dane, sts, is_demanded: false, wanted: None }
    }

    fn short(decision: HostDecision) -> Result<(TlsPolicy, TlsReason), TlsFailure> {
        match decision {
            HostDecision::Connect(tls) => Ok((tls.mode, tls.reason)),
            HostDecision::Refuse { failure, .. } => Err(failure),
        }
    }

    #[test]
    fn the_strongest_policy_that_applies_decides() {
        use TlsPolicy::{Opportunistic, Required, Verified};
        use TlsReason::{ByMx, Dane, DaneUnusable, MtaSts};
        let tlsa = Tlsa { usage: 3, selector: 1, matching_type: 1, data: vec![0; 32] };
        let records = dane(DaneState::Records(vec![tlsa]));
        let unusable = dane(DaneState::Unusable);
        let defer = dane(DaneState::Defer(DeferReason::Support("silence".into())));
        let none = dane(DaneState::NotApplicable(NotApplicable::NoTlsa));
        let [enforce, testing, off] = ["enforce", "testing", "none"].map(sts);
        let unknown = StsAnswer { is_unknown: true, ..StsAnswer::default() };
        let (good, bad) = ("mx.example", "mx.other");
        for (host, dane, sts, expected) in [
            (good, None, None, Ok((Opportunistic, ByMx))),
            (good, Some(&none), None, Ok((Opportunistic, ByMx))),
            (good, Some(&none), Some(&enforce), Ok((Verified, MtaSts))),
            (bad, Some(&none), Some(&enforce), Err(TlsFailure::NotInPolicy)),
            (bad, None, Some(&enforce), Err(TlsFailure::NotInPolicy)),
            (bad, None, Some(&testing), Ok((Opportunistic, ByMx))),
            (bad, None, Some(&off), Ok((Opportunistic, ByMx))),
            (bad, Some(&records), Some(&enforce), Ok((Verified, Dane))),
            (good, Some(&unusable), None, Ok((Required, DaneUnusable))),
            (good, Some(&unusable), Some(&testing), Ok((Required, DaneUnusable))),
            (good, Some(&unusable), Some(&enforce), Ok((Verified, MtaSts))),
            (good, Some(&defer), Some(&enforce), Err(TlsFailure::Unproved)),
            (good, Some(&none), Some(&unknown), Err(TlsFailure::Unproved)),
            (good, Some(&records), Some(&unknown), Ok((Verified, Dane))),
        ] {
            assert_eq!(short(decide(&facts(host, dane, sts))), expected, "{host} {dane:?} {sts:?}");
        }
        let HostDecision::Connect(tls) = decide(&facts(good, Some(&records), None)) else {
            panic!("refused")
        };
        assert_eq!(tls.server_name.as_deref(), Some("mx.example"));
        assert_eq!((tls.names, tls.tlsa.len()), (records.names.clone(), 1));
    }

    #[test]
    fn sender_and_operator_add_to_policies_and_one_word_takes_them_away() {
        let defer = dane(DaneState::Defer(DeferReason::Support("silence".into())));
        let unusable = dane(DaneState::Unusable);
        let enforce = sts("enforce");
        let with = |wanted, is_demanded, dane, sts| {
            short(decide(&Facts { is_demanded, wanted, ..facts("mx.other", dane, sts) }))
        };
        let opportunistic = Some(Wanted::Opportunistic);
        let weak = Ok((TlsPolicy::Opportunistic, TlsReason::ByMx));
        assert_eq!(with(opportunistic, false, Some(&defer), Some(&enforce)), weak);
        let demanded = Ok((TlsPolicy::Verified, TlsReason::Demanded));
        assert_eq!(with(opportunistic, true, Some(&defer), None), demanded);
        assert_eq!(with(None, true, Some(&unusable), None), demanded);
        let required = Ok((TlsPolicy::Required, TlsReason::Operator));
        assert_eq!(with(Some(Wanted::Required), false, None, None), required);
        assert_eq!(with(Some(Wanted::Required), false, None, Some(&enforce)), Err(TlsFailure::NotInPolicy));
        let verified = Ok((TlsPolicy::Verified, TlsReason::Operator));
        assert_eq!(with(Some(Wanted::Verified), false, Some(&unusable), None), verified);
        assert_eq!(with(Some(Wanted::Dane), false, None, None), Err(TlsFailure::NoTlsa));
        assert_eq!(with(Some(Wanted::Dane), false, Some(&unusable), None), Err(TlsFailure::NoTlsa));
    }

    #[test]
    fn the_nearest_entry_of_the_table_counts() {
        let entries = [
            ("example.com", Wanted::Verified),
            (".example.com", Wanted::Required),
            (".de", Wanted::Dane),
            ("*", Wanted::Opportunistic),
        ];
        let table = WantedTable::new(entries.map(|(domain, wanted)| (domain.to_owned(), wanted)));
        assert_eq!(table.of("example.com"), Some(Wanted::Verified));
        assert_eq!(table.of("a.b.example.com"), Some(Wanted::Required));
        assert_eq!(table.of("mail.de"), Some(Wanted::Dane));
        assert_eq!(table.of("example.org"), Some(Wanted::Opportunistic));
        assert_eq!(WantedTable::default().of("example.org"), None);
    }
}
