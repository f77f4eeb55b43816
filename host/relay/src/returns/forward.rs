//! Mail for people at a return domain: forwarded to the postmaster, from the null reverse-path.

use std::sync::Arc;

use relevo_mailkit::address::Address;
use relevo_mailkit::source::{Source, for_each_chunk};
use relevo_queue::{ItemMeta, Millis, NewDelivery, NewItem, QueueKey, Recipient, SpooledBody, StoreError};
use relevo_submission::{Recipe, received_field};

use super::{NotTaken, Returned, Returns};
use crate::sandbox::in_place_or_blocking;

/// How long it is tried.
const EXPIRE: Millis = 24 * 3600 * 1000;

impl Returns {
    /// Queues the message for the postmaster.
    pub(super) async fn forward(&self, returned: &Returned, body: SpooledBody) -> Result<(), NotTaken> {
        let octets = look(&body.source).await;
        if octets.has_nul {
            return Err(NotTaken::Nul);
        }
        let settings = &returned.settings;
        let io = |error: String| StoreError::Io(error);
        let postmaster = Address::parse(&settings.postmaster).map_err(|e| io(e.to_string()))?;
        let now = self.parts.clock.now();
        let id = self.parts.ids.item_id(now).map_err(|e| io(e.to_string()))?;
        let recipients = [returned.recipient.clone()];
        let recipe = Recipe {
            prepend: received_field(&returned.via, &settings.hostname, id, &recipients, now),
            eight_bit: octets.has_eight_bit,
            utf8_header: returned.smtputf8,
            ..Recipe::default()
        };
        let item = NewItem {
            id,
            meta: ItemMeta {
                accepted_at: now,
                expires_at: now.saturating_add(EXPIRE),
                size: body.source.size(),
                // Never answered by a bounce: that could only go back to where this came from.
                is_bounce: true,
                no_bounce: true,
                source: "returned".to_owned(),
                recipe: recipe.encode().map_err(|e| io(e.to_string()))?,
                ..ItemMeta::default()
            },
            deliveries: vec![NewDelivery {
                key: QueueKey::of_domain(postmaster.domain.clone()),
                recipients: vec![Recipient::pending(0, postmaster.to_string())],
                due_at: now,
                ..NewDelivery::default()
            }],
            body,
        };
        Ok(self.parts.queue.accept(vec![item], Vec::new()).await?)
    }
}

/// What a content has beside ASCII text.
#[derive(Debug, Clone, Copy, Default)]
struct Octets {
    has_eight_bit: bool,
    /// A next hop may strip it, and see the end of the data where there was none.
    has_nul: bool,
}

async fn look(source: &Arc<dyn Source>) -> Octets {
    let source = Arc::clone(source);
    in_place_or_blocking(source.is_in_memory(), move || {
        let mut found = Octets::default();
        let read = for_each_chunk(&*source, 0, source.size(), |chunk| {
            found.has_eight_bit |= !chunk.is_ascii();
            found.has_nul |= chunk.contains(&0);
            std::io::Result::Ok(())
        });
        // What cannot be read here cannot be sent either.
        found.has_eight_bit |= read.is_err();
        found
    })
    .await
}
