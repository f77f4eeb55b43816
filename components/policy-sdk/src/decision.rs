//! Answers.

use crate::{Attribute, Decision, HeaderField, Override, Reply, Verdict};

impl Decision {
    /// Send it, as far as this plugin is concerned.
    #[must_use]
    pub fn accept() -> Self {
        Verdict::Accept.into()
    }

    /// Refuse it with this reply.
    #[must_use]
    pub fn reject(reply: Reply) -> Self {
        Verdict::Reject(reply).into()
    }

    /// Take it and keep it until somebody releases it. The reason is for the tenant and the
    /// operator.
    #[must_use]
    pub fn hold(reason: impl Into<String>) -> Self {
        Verdict::Hold(reason.into()).into()
    }

    /// Take it and send nothing. The reason is for the tenant and the operator.
    #[must_use]
    pub fn discard(reason: impl Into<String>) -> Self {
        Verdict::Discard(reason.into()).into()
    }

    /// Another verdict for the recipient with this index in
    /// [`Envelope::recipients`](crate::Envelope::recipients). Of two for the same recipient the
    /// later one stays.
    #[must_use]
    pub fn for_recipient(mut self, recipient: usize, verdict: Verdict) -> Self {
        // Beyond u32 no message has a recipient; the host refuses what is out of range.
        let recipient = u32::try_from(recipient).unwrap_or(u32::MAX);
        self.overrides.retain(|o| o.recipient != recipient);
        self.overrides.push(Override { recipient, verdict });
        self
    }

    /// A field to be put above the message. Names are those that the operator allows: `X-...`
    /// unless set otherwise. The value is printable ASCII without line breaks, at most 900
    /// characters.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl AsRef<[u8]>) -> Self {
        self.headers.push(HeaderField { name: name.into(), value: value.as_ref().to_vec() });
        self
    }

    /// A name and a value to be kept with the message: `pool`, `priority` and `route` (as granted),
    /// `campaign`, or any of your own.
    #[must_use]
    pub fn attribute(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.attributes.push(Attribute { name: name.into(), value: value.into() });
        self
    }

    /// What becomes of the recipient with this index.
    #[must_use]
    pub fn verdict_for(&self, recipient: usize) -> &Verdict {
        self.overrides
            .iter()
            .find(|o| usize::try_from(o.recipient).is_ok_and(|r| r == recipient))
            .map_or(&self.verdict, |o| &o.verdict)
    }
}

impl From<Verdict> for Decision {
    fn from(verdict: Verdict) -> Self {
        Self { verdict, overrides: Vec::new(), headers: Vec::new(), attributes: Vec::new() }
    }
}

impl Reply {
    /// 550: do not try again. `enhanced` such as `5.7.1` (RFC 3463); `text` one line of printable
    /// ASCII, at most 400 characters.
    #[must_use]
    pub fn permanent(enhanced: impl Into<String>, text: impl Into<String>) -> Self {
        Self { code: 550, enhanced: enhanced.into(), text: text.into() }
    }

    /// 451: try again later. `enhanced` such as `4.7.1`. For a recipient among others that are
    /// accepted this is final all the same: the sender gets a bounce.
    #[must_use]
    pub fn temporary(enhanced: impl Into<String>, text: impl Into<String>) -> Self {
        Self { code: 451, enhanced: enhanced.into(), text: text.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_later_verdict_for_a_recipient_stays() {
        let decision = Decision::accept()
            .for_recipient(1, Verdict::Hold("first".into()))
            .for_recipient(0, Verdict::Accept)
            .for_recipient(1, Verdict::Discard("second".into()));
        assert_eq!(decision.overrides.len(), 2);
        assert_eq!(decision.verdict_for(1), &Verdict::Discard("second".into()));
        assert_eq!(decision.verdict_for(7), &Verdict::Accept);
    }

    #[test]
    fn what_is_added_keeps_its_order() {
        let decision = Decision::hold("x")
            .header("X-A", "1")
            .header("X-B", b"2")
            .attribute("a", "1")
            .attribute("a", "2");
        let names: Vec<_> = decision.headers.iter().map(|h| h.name.as_str()).collect();
        assert_eq!(names, ["X-A", "X-B"]);
        let values: Vec<_> = decision.attributes.iter().map(|a| a.value.as_str()).collect();
        assert_eq!(values, ["1", "2"]);
    }
}
