//! The domain that is examined, and what the relay knows of itself.

use std::net::IpAddr;

use crate::blocklist::Listing;
use crate::imports::SndsRow;

/// What is examined. All names are lower case A-labels without a final dot.
#[derive(Debug, Clone, Default)]
pub struct Subject {
    /// The sending domain: that of From, and `d=` of its signatures.
    pub domain: String,
    /// The relay's name.
    pub hostname: String,
    /// Addresses that the domain's mail leaves from. Empty: the system chooses, and those of
    /// `hostname` stand for it.
    pub sources: Vec<Source>,
    /// The argument of EHLO where no address is configured.
    pub ehlo: String,
    /// A smarthost sends: its addresses are not known here.
    pub has_smarthost: bool,
    /// What an SPF record needs so that mail may leave from here, such as `ip4:192.0.2.1`.
    pub spf_terms: Vec<String>,
    /// The keys that sign.
    pub dkim: Vec<DkimKey>,
    /// Where bounces go. None: to the domain itself, whose mail others take.
    pub return_domain: Option<ReturnDomain>,
    /// Certificates of the listeners.
    pub certificates: Vec<Certificate>,
    /// The host of links and of the page to unsubscribe.
    pub tracking: Option<TrackingHost>,
    /// Rates of complaints and hard bounces by provider.
    pub rates: Vec<ProviderRate>,
    /// What block lists say of addresses: list, address, answer.
    pub listings: Vec<(String, IpAddr, Listing)>,
    /// What Microsoft reports of addresses.
    pub snds: Vec<SndsRow>,
    /// Seconds since 1970.
    pub now: i64,
}

/// An address that mail leaves from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The address.
    pub address: IpAddr,
    /// The argument of EHLO.
    pub ehlo: String,
}

/// A key that signs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DkimKey {
    /// `s=`
    pub selector: String,
    /// The text of its record.
    pub record: String,
}

/// A domain of reverse-paths whose mail the relay takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReturnDomain {
    /// Such as `return.example.com`.
    pub name: String,
}

/// A certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// Where it is used, such as `smtp`.
    pub listener: String,
    /// Seconds since 1970.
    pub ends_at: i64,
    /// Its DNS names, in lower case.
    pub names: Vec<String>,
    /// Made by the relay itself.
    pub is_self_signed: bool,
}

/// The host of links.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrackingHost {
    /// Its name or address, without a port.
    pub host: String,
    /// Links are `https`.
    pub is_https: bool,
    /// A request to it.
    pub reply: TrackingReply,
}

/// What a request to a tracking host found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TrackingReply {
    /// It answered, with this status, over a verified certificate where links are `https`.
    Answered(u16),
    /// Its certificate does not verify.
    Certificate(String),
    /// It cannot be reached from here.
    Unreachable(String),
    /// Nobody asked.
    NotAsked,
}

/// What a provider's recipients answered to the domain's mail.
#[derive(Debug, Clone, PartialEq)]
pub struct ProviderRate {
    /// Such as `google`.
    pub provider: String,
    /// Recipients whose message was delivered.
    pub delivered: u64,
    /// Complaints.
    pub complained: u64,
    /// Hard bounces.
    pub bounced: u64,
    /// Where the figures come from, such as `events` or `Google Postmaster Tools`.
    pub origin: String,
    /// A rate of complaints that the provider itself reports.
    pub reported: Option<f64>,
}
