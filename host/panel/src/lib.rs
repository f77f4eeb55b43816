//! The panel: Relevo in the browser, below `/panel`.
//!
//! It is a client of the API: what a page shows comes from a route of the API, and what a form does is
//! a request to one, with the permissions of the user ([`Api`]). Pages are made here and work without
//! scripts. A page has no inline script and no inline style, and loads nothing from other hosts
//! ([`POLICY`]).
//!
//! * Templates are in `templates/`, a folder for each part; `base.html` is around all of them, and
//!   `_form.html` has the parts of forms.
//! * Texts are in `texts/`, a file for each language; `assets/` has the style sheet and the script.
//! * Tenants' pages are at `/panel/t/{tenant}/...`, operators' pages at `/panel/relay/...`.

mod account;
mod api;
mod assets;
mod audit;
mod choices;
mod domains;
mod errors;
mod escape;
mod forms;
mod frame;
pub mod headers;
mod ids;
pub mod inbox;
mod keys;
mod live;
mod messages;
mod overview;
pub mod preview;
mod relay;
mod routes;
mod sign_in;
mod state;
mod statistics;
mod suppressions;
mod templates;
#[cfg(test)]
mod testing;
mod texts;
mod topics;
mod users;
mod visitor;
mod webhooks;

pub use api::{Api, ApiCaller, Problem};
pub use forms::{Fields, Posted};
pub use frame::{BODY_POLICY, BODY_POLICY_WITH_IMAGES, POLICY, page_fields};
pub use routes::routes;
pub use state::{Access, ClientAddress, PanelState, UserAccess};
pub use texts::Language;
pub use visitor::{UserRole, Visitor};
