//! What TLS the mail to a recipient domain needs, by the policies that the domain publishes.
//!
//! * [`mta_sts`]: policies of RFC 8461, fetched, remembered and renewed.
//! * [`decision`]: from policies, DANE and the operator's table to a requirement for one host.
//! * [`domain`]: all of it for the hosts of one domain.
//! * [`report`]: what was found, told to the domain (RFC 8460).

pub mod decision;
pub mod domain;
pub mod mta_sts;
pub mod report;
