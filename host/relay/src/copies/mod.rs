//! Copies: made late, reproducible, signed. A pure function of bytes, recipe, recipient and key
//! ids.

mod changes;
mod make;
mod prefixed;
mod sign;
mod signed;

pub use changes::{AddedField, Changes, RewrittenLink, SignatureFacts};
pub use make::Copies;
pub(crate) use make::bad_answer;
pub use relevo_delivery::{Copy, CopyError, HopAbilities, MakeCopy};
pub use relevo_delivery::{Links, Recipe, RecipeError, Signing};

#[cfg(test)]
mod tests;
