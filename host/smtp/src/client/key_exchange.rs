//! Which key exchange TLS uses.
//!
//! The first choice is X25519MLKEM768, a hybrid: what is recorded today cannot be read with a
//! quantum computer later. Its share makes the first message more than 1,460 octets, two packets
//! of Ethernet.

use std::sync::Arc;

use rustls::NamedGroup;
use rustls::crypto::CryptoProvider;

use super::connection::Connection;
use super::tls::Tls;

impl Tls {
    /// The same without the hybrid: its first message fits into one packet.
    pub(super) fn classical(&self) -> Self {
        let mut provider = CryptoProvider::clone(&self.provider);
        provider.kx_groups.retain(|group| group.name() != NamedGroup::X25519MLKEM768);
        let mut tls = self.clone();
        tls.provider = Arc::new(provider);
        tls
    }
}

impl Connection {
    /// The key exchange of the TLS connection, such as `X25519MLKEM768`. None in clear.
    #[must_use]
    pub fn key_exchange(&self) -> Option<String> {
        self.wire.stream.tls()?.negotiated_key_exchange_group().map(|group| format!("{:?}", group.name()))
    }
}
