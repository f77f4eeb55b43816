//! What statistics count.

use std::ops::{Index, IndexMut};

macro_rules! counters {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// A counter of a row. Its name is the name of its column.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Counter {
            $($(#[$doc])* $variant,)*
        }

        impl Counter {
            /// All counters, in the order of their columns.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The name of the column.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

counters! {
    /// Recipients of messages that were accepted.
    Accepted = "accepted",
    /// Recipients that a first attempt was made for.
    Sent = "sent",
    /// Recipients that the next hop took responsibility for.
    Delivered = "delivered",
    /// Attempts that failed for now.
    Deferred = "deferred",
    /// Bounces: the address or its domain does not exist.
    BouncedHard = "bounced_hard",
    /// Bounces: the mailbox or the receiver's system cannot take mail now.
    BouncedSoft = "bounced_soft",
    /// Bounces: the receiver's policy refused the sender or the message.
    BouncedBlock = "bounced_block",
    /// Bounces: the size or the content is not taken.
    BouncedContent = "bounced_content",
    /// Bounces with another reason, or with none.
    BouncedOther = "bounced_other",
    /// Recipients that got nothing because the address is suppressed.
    Suppressed = "suppressed",
    /// Recipients refused for good at submission.
    Rejected = "rejected",
    /// Recipients given up for a reason of the relay's own.
    Failed = "failed",
    /// Recipients given up because the message's time was over.
    Expired = "expired",
    /// Recipients of messages that were canceled.
    Canceled = "canceled",
    /// Recipients that a plugin had accepted and not sent to.
    Discarded = "discarded",
    /// Fetches of the open pixel.
    Opened = "opened",
    /// Fetches of the open pixel by people.
    OpenedHuman = "opened_human",
    /// Recipients who opened.
    OpenedUnique = "opened_unique",
    /// Recipients who opened themselves.
    OpenedUniqueHuman = "opened_unique_human",
    /// Clicks.
    Clicked = "clicked",
    /// Clicks by people.
    ClickedHuman = "clicked_human",
    /// Recipients who clicked; of a link, those who clicked it.
    ClickedUnique = "clicked_unique",
    /// Recipients who clicked themselves.
    ClickedUniqueHuman = "clicked_unique_human",
    /// Recipients who complained.
    Complained = "complained",
    /// Recipients who unsubscribed.
    Unsubscribed = "unsubscribed",
}

/// The number of counters.
pub const COUNTERS: usize = Counter::ALL.len();

/// A count of each counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatisticsCounts([i64; COUNTERS]);

impl Default for StatisticsCounts {
    fn default() -> Self {
        Self([0; COUNTERS])
    }
}

impl Index<Counter> for StatisticsCounts {
    type Output = i64;

    fn index(&self, counter: Counter) -> &i64 {
        &self.0[counter as usize]
    }
}

impl IndexMut<Counter> for StatisticsCounts {
    fn index_mut(&mut self, counter: Counter) -> &mut i64 {
        &mut self.0[counter as usize]
    }
}

impl StatisticsCounts {
    /// Adds to a counter. A sum that is too large stays at the largest number.
    pub fn add(&mut self, counter: Counter, count: i64) {
        self[counter] = self[counter].saturating_add(count);
    }

    /// Adds every counter of `other`.
    pub fn merge(&mut self, other: &Self) {
        for counter in Counter::ALL {
            self.add(*counter, other[*counter]);
        }
    }

    /// Returns true if every counter is 0.
    #[must_use]
    pub fn is_zero(&self) -> bool {
        self.0.iter().all(|count| *count == 0)
    }
}
