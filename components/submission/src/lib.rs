//! From a validated message and its envelope to what is queued, the same natively and in wasm.
//!
//! * [`authority`]: who may send as whom.
//! * [`received`]: the Received field.
//! * [`recipe`]: what is stored with a message so that its copies can be made later.
//!
//! Pure: no clock, no randomness, no IO. The owner of the message's bytes calls `validate` and the queue.

pub mod authority;
mod origin;
pub mod received;
pub mod recipe;

pub use authority::{NotAuthorised, Ownership};
pub use origin::{Origin, Protocol, Via};
pub use received::date;
pub use recipe::{Links, Recipe, RecipeError, Signing};
