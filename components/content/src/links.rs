//! Where links lead, and where they say that they lead.

use std::collections::HashSet;

use relevo_mailkit::model::Severity;
use relevo_mailkit::unsubscribe::PLACEHOLDER;

use crate::hosts::{has_user, host, host_in_text, is_ip_address, is_shortener, parts, share_domain};
use crate::html::{Document, Link};
use crate::inspector::Findings;

/// Words of links that unsubscribe, lower case.
const UNSUBSCRIBE: [&str; 13] = [
    "unsubscribe",
    "opt out",
    "opt-out",
    "optout",
    "email preferences",
    "d\u{e9}sinscri",
    "d\u{e9}sabonn",
    "abmelden",
    "abbestellen",
    "darse de baja",
    "darme de baja",
    "cancelar la suscripci",
    "disiscri",
];

/// Returns true for text that offers to unsubscribe.
pub(crate) fn says_unsubscribe(text: &str) -> bool {
    let text = text.to_lowercase();
    text.contains(PLACEHOLDER) || UNSUBSCRIBE.iter().any(|word| text.contains(word))
}

impl Document {
    pub(crate) fn has_unsubscribe_link(&self) -> bool {
        self.links.iter().any(|link| says_unsubscribe(&link.href) || says_unsubscribe(&link.text))
    }
}

/// Checks each link once; of links to one destination the first is named.
pub(crate) fn check(document: &Document, findings: &mut Findings) {
    let mut told = HashSet::new();
    for link in &document.links {
        for (check, severity, message) in of_link(link) {
            if told.insert((check, host(&link.href), link.text.clone())) {
                findings.add(check, severity, message, format!("html line {}", link.line));
            }
        }
    }
}

fn of_link(link: &Link) -> Vec<(&'static str, Severity, String)> {
    let mut found = Vec::new();
    let Some((scheme, _)) = parts(&link.href) else {
        if !link.href.trim().is_empty() && !link.href.starts_with(['#', '{', '*']) {
            let message = format!(
                "A link has no scheme and leads nowhere in mail: {}. Begin it with https://.",
                link.href
            );
            found.push(("link_target", Severity::Warning, message));
        }
        return found;
    };
    if matches!(scheme.as_str(), "javascript" | "vbscript" | "data" | "file") {
        found.push((
            "link_target",
            Severity::Error,
            format!("Mail programs block links with {scheme}:. Link to a page."),
        ));
    }
    let Some(leads_to) = host(&link.href) else { return found };
    if let Some(says) = host_in_text(&link.text)
        && !share_domain(&says, &leads_to)
    {
        let message = format!(
            "The text of a link names {says}, but the link leads to {leads_to}. Filters take that for phishing: \
             let the text be words, or link to {says}."
        );
        found.push(("link_mismatch", Severity::Error, message));
    }
    if is_shortener(&leads_to) {
        let message = format!(
            "A link is shortened by {leads_to}, which many receivers block. Link to its destination."
        );
        found.push(("link_shortener", Severity::Warning, message));
    }
    if is_ip_address(&leads_to) {
        let message =
            format!("A link leads to an IP address, {leads_to}, as phishing does. Link to a host name.");
        found.push(("link_target", Severity::Warning, message));
    }
    if has_user(&link.href) {
        let message =
            format!("A link has a user name before its host {leads_to}, which misleads readers. Remove it.");
        found.push(("link_target", Severity::Error, message));
    }
    found
}
