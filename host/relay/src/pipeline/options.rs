//! Options by header fields: what `validate` read meets what came with the submission.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use relevo_mailkit::labels::{Labels, Tag};
use relevo_mailkit::model::{MessageOptions, Refusal};
use relevo_mailkit::source::{Source, for_each_chunk};
use relevo_queue::Millis;
use relevo_submission::{SubmissionOptions, TrackingOverride};
use sha2::{Digest, Sha256};

use super::judge;
use super::submission::Rejection;
use crate::sandbox::in_place_or_blocking;

/// The options of a tenant's message. A header field goes before the same option of the submission:
/// the API refuses such fields, so only one of both is ever given.
///
/// # Errors
/// A field is wrong.
pub(super) fn merged(
    given: &SubmissionOptions,
    fields: &Result<MessageOptions, Refusal>,
) -> Result<SubmissionOptions, Rejection> {
    let fields = fields.as_ref().map_err(judge::refused)?;
    let mut options = given.clone();
    let labels = &mut options.labels;
    add_labels(labels, fields);
    let time = |at: Option<u64>| at.and_then(|at| Millis::try_from(at).ok());
    options.send_at = time(fields.send_at).or(options.send_at);
    options.expires_at = time(fields.expires_at).or(options.expires_at);
    options.enforce_tls |= fields.enforce_tls;
    let tracking = std::mem::take(&mut options.tracking);
    options.tracking = TrackingOverride {
        opens: fields.opens.or(tracking.opens),
        clicks: fields.clicks.or(tracking.clicks),
        text_links: fields.text_links.or(tracking.text_links),
        exclude_domains: match fields.exclude_domains.is_empty() {
            true => tracking.exclude_domains,
            false => fields.exclude_domains.clone(),
        },
    };
    Ok(options)
}

fn add_labels(labels: &mut Labels, fields: &MessageOptions) {
    if let Some(stream) = fields.stream {
        labels.stream = stream;
    }
    if let Some(topic) = &fields.topic {
        labels.topic.clone_from(topic);
    }
    let tags = fields.tags.iter().map(|(name, value)| Tag { name: name.clone(), value: value.clone() });
    labels.tags.extend(tags);
    let metadata: BTreeMap<String, String> = fields.metadata.iter().cloned().collect();
    labels.metadata.extend(metadata);
}

/// SHA-256 of a message with its envelope: whether a message under a known idempotency key is the
/// one that was accepted. It is never that of a request of the API, which begins with its path.
pub(crate) async fn digest(
    sender: &str,
    recipients: Vec<String>,
    message: &Arc<dyn Source>,
) -> io::Result<[u8; 32]> {
    let mut digest = Sha256::new();
    for text in ["SMTP", sender].into_iter().chain(recipients.iter().map(String::as_str)) {
        digest.update(text.as_bytes());
        digest.update([0]);
    }
    let message = Arc::clone(message);
    in_place_or_blocking(message.is_in_memory(), move || {
        for_each_chunk(&*message, 0, message.size(), |chunk| -> io::Result<()> {
            digest.update(chunk);
            Ok(())
        })?;
        Ok(digest.finalize().into())
    })
    .await
}

#[cfg(test)]
mod tests {
    use relevo_mailkit::model::Report;
    use relevo_queue::Queue;
    use relevo_submission::Origin;

    use super::*;
    use crate::testing::{World, forward, submission};

    #[test]
    fn fields_become_options() {
        let fields = MessageOptions {
            tags: vec![("campaign".into(), "spring".into())],
            metadata: vec![("order".into(), "7".into())],
            stream: Some(relevo_mailkit::labels::Stream::Marketing),
            topic: Some("news".into()),
            opens: Some(false),
            exclude_domains: vec!["example.org".into()],
            send_at: Some(1_000),
            enforce_tls: true,
            ..MessageOptions::default()
        };
        let options = merged(&SubmissionOptions::default(), &Ok(fields)).expect("options");
        assert_eq!(options.labels.tags, [Tag { name: "campaign".into(), value: "spring".into() }]);
        assert_eq!(options.labels.metadata["order"], "7");
        assert_eq!((options.labels.stream.name(), options.labels.topic.as_str()), ("marketing", "news"));
        assert_eq!((options.tracking.opens, options.tracking.clicks), (Some(false), None));
        assert_eq!(options.tracking.exclude_domains, ["example.org"]);
        assert_eq!((options.send_at, options.expires_at, options.enforce_tls), (Some(1_000), None, true));
    }

    #[test]
    fn no_field_changes_nothing() {
        let given = SubmissionOptions {
            send_at: Some(5),
            tracking: TrackingOverride {
                clicks: Some(true),
                exclude_domains: vec!["a.example".into()],
                ..Default::default()
            },
            ..SubmissionOptions::default()
        };
        assert_eq!(merged(&given, &Ok(MessageOptions::default())), Ok(given));
    }

    #[test]
    fn a_mistake_is_a_refusal_in_its_own_words() {
        let mistake = Refusal {
            code: 550,
            enhanced: "5.6.0".into(),
            rule: "option-field".into(),
            detail: "X-Relevo-Tag: x".into(),
        };
        let rejection = merged(&SubmissionOptions::default(), &Err(mistake)).expect_err("refused");
        assert_eq!((rejection.reply.code, rejection.rule.as_str()), (550, "option-field"));
        assert_eq!(rejection.reply.text, "option-field: X-Relevo-Tag: x");
    }

    fn with(world: &World, options: Result<MessageOptions, Refusal>) {
        world.stages.tamper_report(move |report| Report { options: options.clone(), ..report });
    }

    #[tokio::test]
    async fn the_same_key_is_the_same_message_or_a_refusal() {
        const ONE: &str = "From: a@example.com\r\n\r\nHello\r\n";
        const OTHER: &str = "From: a@example.com\r\n\r\nGood bye\r\n";
        let world = World::new();
        let key = Some("order-7".to_owned());
        with(&world, Ok(MessageOptions { idempotency_key: key, ..MessageOptions::default() }));
        let first = world.pipeline.submit(submission(&world, ONE)).await.expect("accepted");
        let again = world.pipeline.submit(submission(&world, ONE)).await.expect("accepted before");
        assert_eq!(first, again);
        let other = world.pipeline.submit(submission(&world, OTHER)).await.expect_err("another message");
        assert_eq!((other.reply.code, other.rule.as_str()), (550, "idempotency-key"));
        let mut elsewhere = submission(&world, ONE);
        elsewhere.envelope.recipients.push(forward("c@b.example"));
        assert!(world.pipeline.submit(elsewhere).await.is_err(), "another envelope");
        assert_eq!(world.queue.list(None, 10).await.expect("a list").items.len(), 1);
    }

    #[tokio::test]
    async fn two_messages_with_one_key_at_the_same_time_are_one() {
        const ONE: &str = "From: a@example.com\r\n\r\nHello\r\n";
        let world = World::new();
        let key = Some("k".to_owned());
        with(&world, Ok(MessageOptions { idempotency_key: key, ..MessageOptions::default() }));
        let (one, two) = tokio::join!(
            world.pipeline.submit(submission(&world, ONE)),
            world.pipeline.submit(submission(&world, ONE)),
        );
        assert_eq!(one.expect("accepted"), two.expect("accepted"));
        assert_eq!(world.queue.list(None, 10).await.expect("a list").items.len(), 1);
    }

    #[tokio::test]
    async fn fields_count_for_mail_of_a_tenant_alone() {
        let mistake = Refusal {
            code: 550,
            enhanced: "5.6.0".into(),
            rule: "option-field".into(),
            detail: "X-Relevo-Tag: x".into(),
        };
        let world = World::new();
        with(&world, Err(mistake));
        let tenants = submission(&world, "From: a@example.com\r\n\r\nHello\r\n");
        let refused = world.pipeline.submit(tenants).await.expect_err("refused");
        assert_eq!(refused.rule, "option-field");
        let mut peers = submission(&world, "From: MAILER-DAEMON@elsewhere.example\r\n\r\nHello\r\n");
        peers.origin = Origin::Relay("127.0.0.1".parse().expect("an address"));
        peers.envelope.sender = String::new();
        peers.envelope.sender_domain = String::new();
        let accepted = world.pipeline.submit(peers).await.expect("a peer's bounce");
        assert_eq!(accepted.tenant, None);
    }
}
