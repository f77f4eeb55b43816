//! Schemas of what is read by hand.

use serde::Serialize;
use utoipa::ToSchema;

/// An address: `ana@example.com`, `Ana <ana@example.com>`, or an object.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum AddressInput {
    /// `ana@example.com` or `Ana <ana@example.com>`.
    Text(String),
    /// An object.
    Object(AddressObject),
}

/// An address as an object.
#[derive(Debug, Serialize, ToSchema)]
pub struct AddressObject {
    /// The address.
    pub email: String,
    /// The display name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// Addresses: one, or an array.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum AddressesInput {
    /// One address.
    One(AddressInput),
    /// Several.
    Many(Vec<AddressInput>),
}
