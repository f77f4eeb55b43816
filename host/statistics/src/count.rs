//! What one event counts.

use relevo_mailkit::event::{Event, Failure};
use relevo_mailkit::labels::Tag;
use relevo_mailkit::visitor::Visitor;
use relevo_queue::{Millis, NewEvent};
use relevo_store::{Counter, Dimension};

use crate::bounce;
use crate::provider::Sites;

/// Milliseconds of an hour and of a day.
const HOUR: Millis = 3_600_000;
const DAY: Millis = 24 * HOUR;
/// Days after its acceptance in which a message's opens and clicks can be unique. So long are marks
/// kept.
pub(crate) const UNIQUE_DAYS: i64 = 60;
/// Octets of a value that are kept.
const MAX_VALUE: usize = 500;

/// Marks of [`relevo_store::SeenCandidate`]. They are stored: never renumber them.
mod mark {
    pub(super) const OPENED: i64 = 1;
    pub(super) const OPENED_HUMAN: i64 = 2;
    pub(super) const CLICKED: i64 = 4;
    pub(super) const CLICKED_HUMAN: i64 = 8;
    pub(super) const UNSUBSCRIBED: i64 = 16;
}

/// What an event counts, and under which values.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct EventCounts {
    pub(crate) counts: Vec<(Counter, i64)>,
    /// Values besides the total. A value occurs once.
    pub(crate) values: Vec<(Dimension, String)>,
    pub(crate) once: Vec<Once>,
    /// Counters of the link alone.
    pub(crate) link: Option<Link>,
}

/// A counter that is raised once for each recipient, or for each recipient and link.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Once {
    pub(crate) recipient: u32,
    pub(crate) mark: i64,
    pub(crate) counter: Counter,
    /// The link has marks of its own.
    pub(crate) of_link: bool,
}

/// A link that was clicked.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) url: String,
    pub(crate) digest: i64,
}

/// Hours since 1970.
pub(crate) fn hour(at: Millis) -> i64 {
    at.div_euclid(HOUR)
}

/// What an event counts; none if it is not about mail that is counted.
///
/// Mail without a tenant is nobody's to ask for. Mail from the null reverse-path is notifications.
pub(crate) fn count(event: &NewEvent, sites: &mut Sites) -> Option<EventCounts> {
    if event.tenant.is_empty() {
        return None;
    }
    let mut counted = EventCounts::default();
    let mut of = Of { counted: &mut counted, sites, day: event.at.div_euclid(DAY) };
    let sender = of.count(&event.event)?;
    if sender.is_some_and(str::is_empty) {
        return None;
    }
    let domain = match event.labels.domain.as_str() {
        "" => sender.and_then(|sender| sender.rsplit_once('@')).map(|(_, domain)| domain),
        domain => Some(domain),
    };
    add_labels(&mut counted, domain, &event.labels.tags, &event.labels.template);
    if !is_recent(event) {
        counted.once.clear();
    }
    Some(counted)
}

fn add_labels(counted: &mut EventCounts, domain: Option<&str>, tags: &[Tag], template: &str) {
    if let Some(domain) = domain {
        counted.values.push((Dimension::Domain, cut(&domain.to_ascii_lowercase())));
    }
    for Tag { name, value } in tags {
        let tag = if value.is_empty() { name.clone() } else { format!("{name}:{value}") };
        let tag = (Dimension::Tag, cut(&tag));
        if !counted.values.contains(&tag) {
            counted.values.push(tag);
        }
    }
    if !template.is_empty() {
        counted.values.push((Dimension::Template, cut(template)));
    }
}

/// Returns true if the message is so young that marks of its recipients are kept. The id of a
/// message begins with the time of its acceptance.
fn is_recent(event: &NewEvent) -> bool {
    let Some(item) = event.item else { return false };
    let mut millis = [0; 8];
    millis[2..].copy_from_slice(&item.0[..6]);
    event.at.saturating_sub(i64::from_be_bytes(millis)) < UNIQUE_DAYS * DAY
}

/// The parts that an event's count is put into.
struct Of<'a> {
    counted: &'a mut EventCounts,
    sites: &'a mut Sites,
    day: i64,
}

impl Of<'_> {
    /// Counts, and returns the reverse-path if the event has one; nothing for an event that is not
    /// counted.
    fn count<'e>(&mut self, event: &'e Event) -> Option<Option<&'e str>> {
        match event {
            Event::Queued(queued) => {
                self.add(Counter::Accepted, queued.recipients.len());
                Some(Some(&queued.sender))
            }
            Event::Rejected(refusal) => {
                self.add(Counter::Rejected, usize::try_from(refusal.recipient_count).unwrap_or(0));
                Some(Some(&refusal.sender))
            }
            Event::Discarded(withheld) => {
                self.add(Counter::Discarded, withheld.recipients.len());
                Some(Some(&withheld.sender))
            }
            Event::Suppressed(suppressed) => {
                self.add(Counter::Suppressed, 1);
                self.provider(Some(&suppressed.recipient), None);
                Some(Some(&suppressed.sender))
            }
            Event::Canceled(canceled) => {
                self.add(Counter::Canceled, canceled.recipients.len());
                Some(None)
            }
            Event::Opened(opened) => {
                let human = is_human(event);
                self.requests([Counter::Opened, Counter::OpenedHuman], opened.count, human);
                self.once(opened.recipient_index, mark::OPENED, Counter::OpenedUnique);
                if human {
                    self.once(opened.recipient_index, mark::OPENED_HUMAN, Counter::OpenedUniqueHuman);
                }
                self.provider(opened.recipient.as_deref(), None);
                Some(None)
            }
            Event::Clicked(clicked) => {
                let human = is_human(event);
                self.requests([Counter::Clicked, Counter::ClickedHuman], clicked.count, human);
                self.clicked(clicked.recipient_index, mark::CLICKED, Counter::ClickedUnique);
                if human {
                    self.clicked(clicked.recipient_index, mark::CLICKED_HUMAN, Counter::ClickedUniqueHuman);
                }
                self.counted.link = Some(Link { url: cut(&clicked.url), digest: digest(&clicked.url) });
                self.provider(clicked.recipient.as_deref(), None);
                Some(None)
            }
            Event::Unsubscribed(change) => {
                self.once(change.recipient_index, mark::UNSUBSCRIBED, Counter::Unsubscribed);
                self.provider(Some(&change.recipient), None);
                Some(None)
            }
            Event::Complained(complained) => {
                self.add(Counter::Complained, 1);
                self.provider(Some(&complained.recipient), None);
                Some(Some(&complained.sender))
            }
            // A complaint that came another way is known by the entry that somebody made of it.
            Event::SuppressionAdded(change)
                if change.reason == "complaint" && change.classification_rule.is_none() =>
            {
                self.add(Counter::Complained, 1);
                self.provider(Some(&change.recipient), None);
                Some(None)
            }
            _ => self.attempt(event),
        }
    }

    fn attempt<'e>(&mut self, event: &'e Event) -> Option<Option<&'e str>> {
        let attempt = event.attempt()?;
        let counter = match event {
            Event::Delivered(_) => Counter::Delivered,
            Event::DeliveryDelayed(_) => Counter::Deferred,
            Event::Bounced(_) => bounce::class(attempt),
            Event::Expired(_) => Counter::Expired,
            Event::Failed(Failure::Delivery(_)) => Counter::Failed,
            _ => return None,
        };
        self.add(counter, 1);
        // A recipient that expires was given up without an attempt, or at one of its later ones.
        let is_ours = attempt.report.is_none();
        if is_ours && attempt.attempt == 1 && counter != Counter::Expired {
            self.add(Counter::Sent, 1);
        }
        // The host in a report is what a stranger wrote.
        self.provider(Some(&attempt.recipient), attempt.mx.as_deref().filter(|_| is_ours));
        Some(Some(&attempt.sender))
    }

    fn add(&mut self, counter: Counter, count: usize) {
        self.counted.counts.push((counter, i64::try_from(count).unwrap_or(i64::MAX)));
    }

    fn requests(&mut self, [all, by_people]: [Counter; 2], count: u64, human: bool) {
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        self.add(all, count);
        if human {
            self.add(by_people, count);
        }
    }

    fn once(&mut self, recipient: u32, mark: i64, counter: Counter) {
        self.counted.once.push(Once { recipient, mark, counter, of_link: false });
    }

    fn clicked(&mut self, recipient: u32, mark: i64, counter: Counter) {
        self.once(recipient, mark, counter);
        self.counted.once.push(Once { recipient, mark, counter, of_link: true });
    }

    fn provider(&mut self, recipient: Option<&str>, mx: Option<&str>) {
        let provider = recipient.map(|recipient| self.sites.provider(recipient, mx, self.day));
        let provider = provider.unwrap_or_else(|| crate::OTHER.to_owned());
        self.counted.values.push((Dimension::Provider, cut(&provider)));
    }
}

/// The first octets of a text.
fn cut(text: &str) -> String {
    text[..text.floor_char_boundary(MAX_VALUE)].to_owned()
}

/// A digest of a link (FNV-1a). It is stored: it never changes. 0 stands for the message itself.
fn digest(url: &str) -> i64 {
    let hash = url.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, octet| {
        (hash ^ u64::from(octet)).wrapping_mul(0x0100_0000_01b3)
    });
    hash.max(1).cast_signed()
}

/// Returns true if the event says that a person made the request.
fn is_human(event: &Event) -> bool {
    match event {
        Event::Opened(opened) => opened.visitor == Visitor::Human,
        Event::Clicked(clicked) => clicked.visitor == Visitor::Human,
        _ => false,
    }
}
