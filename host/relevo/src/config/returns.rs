//! Checks `[returns]`: where mail comes back to.

use relevo_mailkit::address::Address;
use relevo_relay::settings::{OrdinaryMail, ReturnSettings};

use super::document::Document;
use super::networks::check_trusted;
use super::schema::File;
use super::values::plain;

pub(crate) fn returns(d: &mut Document<'_>, file: &File) -> ReturnSettings {
    let (s, default) = (&file.returns, ReturnSettings::default());
    let domains = plain(&s.domains);
    for (at, domain) in s.domains.iter().enumerate() {
        if domains[..at].contains(&domain.value) {
            d.mistake(domain.span, "is there already");
        }
        check_not_sending(d, file, domain.span, &domain.value);
    }
    let relay = file.smtp.as_ref().is_some_and(|smtp| !smtp.relay.is_empty());
    if let Some(first) = s.domains.first().filter(|_| !relay) {
        d.mistake(first.span, "needs `relay` of [smtp]: mail comes back to that port");
    }
    let known = |domain: &String| domains.contains(domain);
    d.check(&s.default, known, "is not in `domains`");
    let feedback = s.feedback_domains.first().map(|at| at.span);
    if let Some(at) =
        feedback.or(s.feedback_networks.first().map(|at| at.span)).filter(|_| domains.is_empty())
    {
        d.mistake(at, "needs `domains`: there is nowhere for reports to come to");
    }
    if let Some(at) = s.cfbl.at().filter(|at| at.value && domains.is_empty()) {
        d.mistake(at.span, "needs `domains`: there is nowhere for complaints to come to");
    }
    check_trusted(d, &s.feedback_networks, "anybody could complain about anybody's mail");
    let ordinary_mail = s.ordinary_mail.or(OrdinaryMail::Drop);
    let postmaster = file
        .postmaster
        .at()
        .filter(|at| Address::parse(&at.value).is_ok_and(|address| domains.contains(&address.domain)));
    if let Some(postmaster) = postmaster {
        d.mistake(postmaster.span, "is at a return domain: its mail is forwarded to this address, in a loop");
    }
    ReturnSettings {
        domains,
        default: s.default.value(),
        ordinary_mail,
        spf_fail: s.spf_fail.or(default.spf_fail),
        max_size: s.max_size.or(default.max_size),
        max_connections: s.max_connections.or(default.max_connections),
        messages_per_minute: s.messages_per_minute.or(default.messages_per_minute),
        messages_per_minute_per_client: s
            .messages_per_minute_per_client
            .or(default.messages_per_minute_per_client),
        feedback_domains: plain(&s.feedback_domains),
        feedback_networks: plain(&s.feedback_networks),
        feedback_id: s.feedback_id.or(default.feedback_id),
        cfbl: s.cfbl.or(default.cfbl),
    }
}

/// The MX of a return domain is this relay, and that of a sending domain the mail of its people.
fn check_not_sending(d: &mut Document<'_>, file: &File, span: super::document::FileSpan, domain: &str) {
    let sending = file.tenant.iter().flat_map(|tenant| &tenant.domain).filter_map(|s| s.name.value());
    if sending.into_iter().any(|name| name == domain) {
        d.mistake(span, "is a sending domain: take a name below it, such as `return.example.com`");
    }
}
