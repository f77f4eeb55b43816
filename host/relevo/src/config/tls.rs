//! Checks what `[dns]`, `[delivery]` and `[tls_report]` say about policies of recipient domains.

use std::path::PathBuf;

use ipnet::IpNet;
use relevo_tls::decision::{Wanted, WantedTable};

use super::document::Document;
use super::formats::DomainName;
use super::schema::File;
use super::values::{Format as _, Raw};

/// Policies of recipient domains.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TlsConfig {
    pub(crate) mta_sts: bool,
    pub(crate) dane: bool,
    /// None: the keys of the root that IANA publishes.
    pub(crate) trust_anchor: Option<PathBuf>,
    pub(crate) wanted: WantedTable,
    /// Policy hosts may lie in these.
    pub(crate) allow_networks: Vec<IpNet>,
    /// None: no reports are sent.
    pub(crate) report: Option<TlsReportConfig>,
}

/// `[tls_report]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TlsReportConfig {
    pub(crate) from: String,
    pub(crate) organization: String,
    pub(crate) contact: String,
}

pub(crate) fn tls(d: &mut Document<'_>, file: &File) -> TlsConfig {
    let s = &file.delivery;
    let mut wanted: Vec<(String, Wanted)> = Vec::new();
    for entry in &s.tls {
        let domain = d.need(entry.span, &entry.domain, "domain");
        let need = d.need(entry.span, &entry.need, "need");
        let (Some(domain), Some(need)) = (domain, need) else { continue };
        let name = match pattern(&domain.value) {
            Ok(name) => name,
            Err(message) => {
                d.mistake(domain.span, message);
                continue;
            }
        };
        if need.value == Wanted::Dane && !s.dane.or(true) {
            d.mistake(need.span, "needs `dane = true`");
        }
        if wanted.iter().any(|(known, _)| *known == name) {
            d.mistake(domain.span, "is there twice");
        }
        wanted.push((name, need.value));
    }
    let trust_anchor = file.dns.dnssec_trust_anchor.at().map(|at| {
        let path = d.path(&at.value);
        if let Err(error) = relevo_resolve::secure::check_trust_anchor(&path) {
            d.mistake(at.span, error.to_string());
        }
        path
    });
    let networks = s.allow_networks.iter().filter_map(|at| IpNet::new(at.value.addr, at.value.prefix).ok());
    TlsConfig {
        mta_sts: s.mta_sts.or(true),
        dane: s.dane.or(true),
        trust_anchor,
        wanted: WantedTable::new(wanted),
        allow_networks: networks.collect(),
        report: report(d, file),
    }
}

fn report(d: &mut Document<'_>, file: &File) -> Option<TlsReportConfig> {
    let s = file.tls_report.as_ref()?;
    let from = d.need(s.span, &s.from, "from")?.value.clone();
    if !from.is_ascii() {
        d.mistake_in(s.span, "from", "must be ASCII");
    }
    Some(TlsReportConfig {
        organization: s.organization.or(file.hostname.or(String::new())),
        contact: s.contact.or(from.clone()),
        from,
    })
}

/// `example.com`, `.example.com` or `*`.
fn pattern(text: &str) -> Result<String, String> {
    if text == "*" {
        return Ok(text.to_owned());
    }
    let (dot, name) = text.strip_prefix('.').map_or(("", text), |name| (".", name));
    // A top-level domain is no domain of a recipient, but stands for many.
    if dot == "."
        && !name.contains('.')
        && !name.is_empty()
        && name.bytes().all(|c| c.is_ascii_alphanumeric())
    {
        return Ok(text.to_ascii_lowercase());
    }
    DomainName::read(Raw::Text(name.to_owned())).map(|name| format!("{dot}{name}"))
}
