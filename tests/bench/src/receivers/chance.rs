//! Chances that look random and are the same for the same seed and message, whenever it is asked.

/// What is left to chance.
#[derive(Debug, Clone, Copy)]
pub(super) enum Chance {
    /// The recipient does not exist.
    Unknown = 1,
    /// The recipient complains.
    Complains = 2,
}

impl Chance {
    /// Whether it comes to that for a message: in `share` of 100,000 cases.
    pub(super) fn hits(self, seed: u64, message: u64, share: u64) -> bool {
        let of_message = spread(seed ^ spread(message));
        spread(of_message ^ (self as u64)) % 100_000 < share
    }
}

/// One step of splitmix64.
fn spread(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
