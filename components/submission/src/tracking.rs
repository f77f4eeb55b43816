//! The tracking decision: which links of a message are rewritten, and whether it carries an open
//! pixel.

use relevo_mailkit::model::{Edit, Report, Rewrite, Segment, TrackOptions};
use relevo_mailkit::token::unsubscribe::max_url_length;
use relevo_mailkit::{recheck, splice, token};

use crate::{SubmissionOptions, unsubscribe};

/// Octets of an HTML part; a larger one is not rewritten, with a note.
const MAX_HTML: u64 = 4 << 20;

/// Links of a message.
const MAX_LINKS: u32 = 10_000;

/// Octets of a destination: with the token it must fit into one header-safe line.
const MAX_LINK_LENGTH: u32 = 2_000;

/// Tracking of a sending domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tracking {
    /// Scheme and authority (`https://t.example.com`), no path, no trailing slash.
    pub url: String,
    /// The open pixel is inserted.
    pub opens: bool,
    /// Links are rewritten.
    pub clicks: bool,
    /// Links in text/plain too.
    pub text_links: bool,
    /// Mail that carries a DKIM-Signature already is rewritten too.
    pub rewrite_signed: bool,
}

impl Tracking {
    /// The authority of the URL.
    #[must_use]
    pub fn host(&self) -> &str {
        self.url.split_once("://").map_or("", |(_, host)| host)
    }

    /// The options of `track` for a message with this report; none if nothing of the message is
    /// rewritten. Signatures of others would not survive a rewrite (decision 8 of the design).
    #[must_use]
    pub fn options(&self, report: &Report, asked: &SubmissionOptions) -> Option<TrackOptions> {
        let can_leave = unsubscribe::can_leave(&asked.labels);
        let rewrites = self.clicks || self.opens || can_leave;
        let may_rewrite = !report.signed || self.rewrite_signed;
        (rewrites && may_rewrite).then(|| TrackOptions {
            clicks: self.clicks,
            opens: self.opens,
            text_links: self.text_links,
            url_overhead: token::url_overhead(&self.url),
            max_html: MAX_HTML,
            max_links: MAX_LINKS,
            max_link_length: MAX_LINK_LENGTH,
            reencode: edited_parts(&report.edits),
            exclude_domains: asked.tracking.exclude_domains.clone(),
            unsubscribe_length: if can_leave { max_url_length(&self.url) } else { 0 },
        })
    }
}

/// The rewrite of `track` with the edits of `validate` merged into its own. `size` is that of the
/// message.
///
/// # Errors
/// The rule that the answer of `track` breaks, alone or together with the edits of `validate`.
pub fn merge(report: &Report, mut rewrite: Rewrite, size: u64) -> Result<Rewrite, &'static str> {
    recheck::rewrite(&rewrite, size, MAX_LINK_LENGTH as usize)?;
    rewrite.edits = splice::merge(&report.edits, &rewrite.edits);
    recheck::edits(&rewrite.edits, size, rewrite.links.len())?;
    Ok(rewrite)
}

/// Returns true if the copies differ from recipient to recipient.
pub(crate) fn has_urls(edits: &[Edit]) -> bool {
    edits.iter().flat_map(|e| &e.segments).any(Segment::is_url)
}

fn edited_parts(edits: &[Edit]) -> Vec<u32> {
    let mut parts: Vec<u32> = edits.iter().filter_map(|e| e.part).collect();
    parts.sort_unstable();
    parts.dedup();
    parts
}

#[cfg(test)]
mod tests {
    use relevo_mailkit::labels::{Labels, Stream};
    use relevo_mailkit::model::{Encoding, Span};

    use super::*;
    use crate::testing::report;

    fn tracking() -> Tracking {
        let url = "https://t.example.com".to_owned();
        Tracking { url, opens: true, clicks: true, text_links: false, rewrite_signed: false }
    }

    fn edit(offset: u64, segments: Vec<Segment>, part: u32) -> Edit {
        Edit { at: Span { offset, length: 0 }, encoding: Encoding::Identity, segments, part: Some(part) }
    }

    #[test]
    fn a_signed_message_is_rewritten_only_where_that_is_set() {
        let signed = Report { signed: true, ..report() };
        let asked = SubmissionOptions::default();
        assert_eq!(tracking().options(&signed, &asked), None);
        assert!(tracking().options(&report(), &asked).is_some());
        assert!(Tracking { rewrite_signed: true, ..tracking() }.options(&signed, &asked).is_some());
        assert_eq!(Tracking { opens: false, clicks: false, ..tracking() }.options(&report(), &asked), None);
    }

    #[test]
    fn track_is_told_which_parts_are_edited_already() {
        let edits = vec![edit(9, vec![], 2), edit(1, vec![], 2), edit(3, vec![], 1)];
        let asked = SubmissionOptions::default();
        let options = tracking().options(&Report { edits, ..report() }, &asked).expect("tracked");
        assert_eq!(options.reencode, [1, 2]);
        assert_eq!(options.url_overhead, token::url_overhead("https://t.example.com"));
    }

    #[test]
    fn mail_that_can_be_left_is_looked_at_without_tracking() {
        let mut asked = SubmissionOptions::default();
        asked.tracking.exclude_domains = vec!["bank.example".to_owned()];
        let untracked = Tracking { opens: false, clicks: false, ..tracking() };
        for (stream, topic) in [(Stream::Marketing, ""), (Stream::Transactional, "news")] {
            asked.labels = Labels { stream, topic: topic.to_owned(), ..Labels::default() };
            let options = untracked.options(&report(), &asked).expect("looked at");
            assert!(options.unsubscribe_length > 100 && !options.clicks && !options.opens);
            assert_eq!(options.exclude_domains, ["bank.example"]);
        }
        asked.labels = Labels::default();
        assert_eq!(tracking().options(&report(), &asked).expect("tracked").unsubscribe_length, 0);
    }

    #[test]
    fn a_rewrite_is_merged_and_checked() {
        let before = Report { edits: vec![edit(1, vec![], 1)], ..report() };
        let rewrite = |link| Rewrite {
            edits: vec![edit(5, vec![Segment::Click(link)], 0)],
            links: vec!["https://a.example/".to_owned()],
            notes: Vec::new(),
        };
        let merged = merge(&before, rewrite(0), 10).expect("sound");
        assert_eq!(merged.edits.iter().map(|e| e.at.offset).collect::<Vec<_>>(), [1, 5]);
        assert!(has_urls(&merged.edits) && !has_urls(&before.edits));
        assert!(merge(&before, rewrite(1), 10).is_err(), "no such link");
        assert!(merge(&before, rewrite(0), 4).is_err(), "past the end");
    }
}
