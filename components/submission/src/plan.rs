//! The plan of a submission: from a validated message, its envelope and the tenant's settings to
//! what is queued.

use relevo_mailkit::envelope::Envelope;
use relevo_mailkit::id::ItemId;
use relevo_mailkit::labels::Labels;
use relevo_mailkit::model::{Report, Rewrite};

use crate::deliveries::{self, Disposition, PlannedDelivery};
use crate::egress::{EgressChoice, EgressGrants};
use crate::{
    FeedbackFields, Links, ListUnsubscribe, Protocol, Recipe, Signing, Tracking, Via, feedback, received,
    tracking,
};

/// A message that was validated, authorised and checked.
#[derive(Debug, Clone, Copy)]
pub struct CheckedMessage<'a> {
    /// The id of the message.
    pub id: ItemId,
    /// When it was accepted, in milliseconds since 1970.
    pub accepted_at: i64,
    /// The protocol and the peer.
    pub via: &'a Via,
    /// Reverse-path and forward-paths.
    pub envelope: &'a Envelope,
    /// The report of `validate`.
    pub report: &'a Report,
    /// Whole header fields that checks put above the message.
    pub prepend: &'a [u8],
    /// Names and values that checks attached to the message.
    pub attributes: &'a [(String, String)],
    /// When the message is sent, in milliseconds since 1970; none: at once.
    pub send_at: Option<i64>,
    /// When what is left is given up, in milliseconds since 1970; none: by the settings.
    pub expires_at: Option<i64>,
}

/// What the settings say about a message.
#[derive(Debug, Clone)]
pub struct PlanSettings<'a> {
    /// The name of this host, for Received.
    pub hostname: &'a str,
    /// The signer; none: the message passes unsigned.
    pub signing: Option<Signing>,
    /// The tracking of the domain, the id of the key that mints, and the answer of `track`; none:
    /// not tracked.
    pub tracked: Option<Tracked<'a>>,
    /// What a signed message gets for feedback loops, and the tenant and labels that it names.
    pub feedback: (FeedbackFields, &'a str, &'a Labels),
    /// The grants of the sending domain; none: the message belongs to no tenant, and does not bounce.
    pub grants: Option<&'a EgressGrants>,
    /// Milliseconds until mail expires that is due, and that is held as a whole.
    pub lifetime: i64,
    /// See [`Self::lifetime`].
    pub hold_lifetime: i64,
}

/// A message that `track` has seen.
#[derive(Debug, Clone)]
pub struct Tracked<'a> {
    /// The settings of the domain.
    pub tracking: &'a Tracking,
    /// The id of the key that mints the URLs; none if there is no key.
    pub key: Option<&'a str>,
    /// The answer of `track`, after [`tracking::merge`]; of mail that is not rewritten, the edits
    /// of `validate`.
    pub rewrite: Rewrite,
    /// The sending domain.
    pub sender: &'a str,
    /// The List-Unsubscribe fields; none if the message gets none.
    pub list_unsubscribe: Option<ListUnsubscribe>,
}

impl Tracked<'_> {
    fn differs_by_recipient(&self) -> bool {
        self.list_unsubscribe.is_some() || tracking::has_urls(&self.rewrite.edits)
    }
}

/// What is queued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// How copies are made.
    pub recipe: Recipe,
    /// Empty: every recipient was discarded, or refused with nobody to tell.
    pub deliveries: Vec<PlannedDelivery>,
    /// The pool, route and priority of all deliveries.
    pub egress: EgressChoice,
    /// Nobody can be told of failures.
    pub no_bounce: bool,
    /// Milliseconds since 1970.
    pub expires_at: i64,
}

/// There are links to rewrite, but no key that mints their URLs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there is no tracking key")]
pub struct NoTrackingKey;

impl Plan {
    /// Plans a message. `disposition` is asked for each recipient by its index.
    ///
    /// # Errors
    /// There is no key for the URLs of a tracked message.
    pub fn new(
        message: &CheckedMessage<'_>,
        settings: PlanSettings<'_>,
        disposition: impl Fn(usize) -> Disposition,
    ) -> Result<Self, NoTrackingKey> {
        let recipients = &message.envelope.recipients;
        // Who sends by HTTP is told by events.
        let by_http = message.via.protocol == Protocol::Http;
        let no_bounce = by_http || message.envelope.sender.is_empty() || settings.grants.is_none();
        let choose = |grants| EgressChoice::new(grants, message.attributes);
        let egress = settings.grants.map(choose).unwrap_or_default();
        let (lifetime, hold_lifetime) = (settings.lifetime, settings.hold_lifetime);
        let recipe = recipe(message, settings)?;
        let deliveries = deliveries::divide(recipients, recipe.has_own_copies(), no_bounce, disposition);
        let is_held = |delivery: &PlannedDelivery| matches!(delivery.disposition, Disposition::Hold(_));
        let lifetime = if deliveries.iter().all(is_held) { hold_lifetime } else { lifetime };
        let released_at = message.send_at.unwrap_or(message.accepted_at);
        let expires_at = message.expires_at.unwrap_or(released_at.saturating_add(lifetime));
        Ok(Self { recipe, deliveries, egress, no_bounce, expires_at })
    }
}

fn recipe(message: &CheckedMessage<'_>, settings: PlanSettings<'_>) -> Result<Recipe, NoTrackingKey> {
    let CheckedMessage { id, accepted_at, via, envelope, report, prepend, .. } = *message;
    let (added, had_date) = match message.send_at {
        Some(_) => without_date(&report.added_headers),
        None => (report.added_headers.clone(), false),
    };
    let received = received::field(via, settings.hostname, id, &envelope.recipients, accepted_at);
    let (edits, links) = match settings.tracked {
        None => (report.edits.clone(), None),
        Some(tracked) if !tracked.differs_by_recipient() => (tracked.rewrite.edits, None),
        Some(Tracked { tracking, key, rewrite, sender, list_unsubscribe }) => {
            let (base_url, key) = (tracking.url.clone(), key.ok_or(NoTrackingKey)?.to_owned());
            let (table, sender) = (rewrite.links, sender.to_owned());
            (rewrite.edits, Some(Links { base_url, key, table, sender, list_unsubscribe }))
        }
    };
    let (wanted, tenant, labels) = settings.feedback;
    let feedback = match settings.signing {
        Some(_) => feedback::fields(&wanted, report, tenant, labels),
        None => Vec::new(),
    };
    Ok(Recipe {
        prepend: [&received, prepend, &added, &feedback].concat(),
        edits,
        links,
        cfbl: wanted.cfbl.filter(|_| settings.signing.is_some()),
        signing: settings.signing,
        eight_bit: report.eight_bit,
        utf8_header: report.utf8_header,
        dated_at_release: had_date,
    })
}

/// The fields that `validate` added without its Date, and whether there was one.
fn without_date(added: &[u8]) -> (Vec<u8>, bool) {
    let is_date = |line: &&[u8]| line.starts_with(b"Date:");
    let lines = added.split_inclusive(|octet| *octet == b'\n');
    let kept: Vec<&[u8]> = lines.clone().filter(|line| !is_date(line)).collect();
    (kept.concat(), lines.into_iter().any(|line| is_date(&line)))
}

#[cfg(test)]
mod tests {
    use relevo_mailkit::envelope::Recipient;
    use relevo_mailkit::model::{Edit, Encoding, Segment, Span};

    use super::*;
    use crate::testing::report;

    fn plan(
        change: impl FnOnce(&mut PlanSettings<'_>),
        disposition: impl Fn(usize) -> Disposition,
    ) -> Result<Plan, NoTrackingKey> {
        let recipients = vec![Recipient::new("x@a.example", "a.example"); 2];
        let envelope = Envelope { sender: "s@example.com".into(), recipients, ..Envelope::default() };
        let via = Via { protocol: Protocol::Smtp, peer: None, helo: None, tls: None, auth_user: None };
        let report = report();
        let attributes = [("priority".to_owned(), "-3".to_owned())];
        let grants = EgressGrants { max_priority: 3, ..EgressGrants::default() };
        let message = CheckedMessage {
            id: ItemId([0; 16]),
            accepted_at: 1_000,
            via: &via,
            envelope: &envelope,
            report: &report,
            prepend: b"X-Check: 1\r\n",
            attributes: &attributes,
            send_at: None,
            expires_at: None,
        };
        let labels = Labels { domain: "example.com".into(), ..Labels::default() };
        let mut settings = PlanSettings {
            hostname: "mta1.example",
            signing: None,
            tracked: None,
            feedback: (FeedbackFields::default(), "acme", &labels),
            grants: Some(&grants),
            lifetime: 10,
            hold_lifetime: 20,
        };
        change(&mut settings);
        Plan::new(&message, settings, disposition)
    }

    fn rewrite(segments: Vec<Segment>) -> Rewrite {
        let at = Span { offset: 0, length: 0 };
        let edits = vec![Edit { at, encoding: Encoding::Identity, segments, part: Some(0) }];
        Rewrite { edits, links: vec!["https://a.example/".into()], notes: Vec::new() }
    }

    fn tracked(key: Option<&str>, segments: Vec<Segment>) -> Result<Plan, NoTrackingKey> {
        with_fields(key, segments, None)
    }

    fn with_fields(
        key: Option<&str>,
        segments: Vec<Segment>,
        list_unsubscribe: Option<ListUnsubscribe>,
    ) -> Result<Plan, NoTrackingKey> {
        let url = "https://t.example".to_owned();
        let tracking = Tracking { url, opens: true, clicks: true, text_links: false, rewrite_signed: false };
        let tracking: &'static Tracking = Box::leak(Box::new(tracking));
        let key = key.map(|key| -> &'static str { key.to_owned().leak() });
        plan(
            |settings| {
                let rewrite = rewrite(segments);
                let tracked = Tracked { tracking, key, rewrite, sender: "example.com", list_unsubscribe };
                settings.tracked = Some(tracked);
            },
            |_| Disposition::Send,
        )
    }

    #[test]
    fn fields_stand_in_the_order_received_checks_validate() {
        let plan = plan(|_| (), |_| Disposition::Send).expect("planned");
        let text = String::from_utf8(plan.recipe.prepend).expect("ASCII");
        let found: Vec<_> = text.lines().filter_map(|l| l.split_once(':')).map(|(name, _)| name).collect();
        assert_eq!(found.first(), Some(&"Received"));
        assert!(text.ends_with("\r\nX-Check: 1\r\nDate: Sun, 22 Nov 2026 05:33:41 +0000\r\n"), "{text}");
        assert_eq!((plan.deliveries.len(), plan.no_bounce, plan.expires_at), (1, false, 1_010));
        assert_eq!(plan.egress.priority, -3);
    }

    #[test]
    fn urls_in_copies_part_the_recipients() {
        let plan = tracked(Some("k"), vec![Segment::Click(0)]).expect("planned");
        assert_eq!((plan.deliveries.len(), plan.recipe.links.expect("links").key.as_str()), (2, "k"));
        let plan = tracked(None, vec![Segment::Literal(b"x".to_vec())]).expect("no key is needed");
        assert_eq!((plan.deliveries.len(), plan.recipe.links), (1, None));
        assert_eq!(tracked(None, vec![Segment::Open]), Err(NoTrackingKey));
        let fields = Some(ListUnsubscribe { mailbox: None });
        let plan = with_fields(Some("k"), Vec::new(), fields.clone()).expect("planned");
        assert_eq!(plan.deliveries.len(), 2, "List-Unsubscribe is the recipient's own");
        assert_eq!(plan.recipe.links.expect("links").list_unsubscribe, fields);
    }

    #[test]
    fn mail_that_is_held_as_a_whole_has_its_own_lifetime() {
        let hold = |_| Disposition::Hold("why".into());
        assert_eq!(plan(|_| (), hold).expect("planned").expires_at, 1_020);
        let mixed = |index| if index == 0 { Disposition::Send } else { hold(index) };
        assert_eq!(plan(|_| (), mixed).expect("planned").expires_at, 1_010);
    }

    #[test]
    fn mail_of_no_tenant_does_not_bounce() {
        assert!(plan(|settings| settings.grants = None, |_| Disposition::Send).expect("planned").no_bounce);
    }
}
