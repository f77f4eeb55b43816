//! Mail for people at a return domain: forwarded to the postmaster, from the null reverse-path.

use std::sync::Arc;

use relevo_mailkit::address::Address;
use relevo_mailkit::source::{Source, for_each_chunk};
use relevo_queue::{ItemMeta, Millis, NewDelivery, NewItem, QueueKey, Recipient, SpooledBody, StoreError};
use relevo_submission::{Recipe, received_field};

use super::{Returned, Returns};
use crate::sandbox::in_place_or_blocking;

/// How long it is tried.
const EXPIRE: Millis = 24 * 3600 * 1000;

impl Returns {
    /// Queues the message for the postmaster.
    pub(super) async fn forward(&self, returned: &Returned, body: SpooledBody) -> Result<(), StoreError> {
        let settings = &returned.settings;
        let io = |error: String| StoreError::Io(error);
        let postmaster = Address::parse(&settings.postmaster).map_err(|e| io(e.to_string()))?;
        let now = self.parts.clock.now();
        let id = self.parts.ids.item_id(now).map_err(|e| io(e.to_string()))?;
        let recipients = [returned.recipient.clone()];
        let recipe = Recipe {
            prepend: received_field(&returned.via, &settings.hostname, id, &recipients, now),
            eight_bit: has_eight_bit(&body.source).await,
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
        self.parts.queue.accept(vec![item], Vec::new()).await
    }
}

async fn has_eight_bit(source: &Arc<dyn Source>) -> bool {
    let source = Arc::clone(source);
    in_place_or_blocking(source.is_in_memory(), move || {
        let mut found = false;
        let read = for_each_chunk(&*source, 0, source.size(), |chunk| {
            found |= !chunk.is_ascii();
            std::io::Result::Ok(())
        });
        // What cannot be read here cannot be sent either.
        read.is_err() || found
    })
    .await
}
