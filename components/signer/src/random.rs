//! Randomness of the host, for the blinding of RSA.

use rsa::rand_core::{CryptoRng, Error, RngCore};

/// `wasi:random`, or the operating system.
pub(crate) struct HostRandom;

impl CryptoRng for HostRandom {}

impl RngCore for HostRandom {
    fn next_u32(&mut self) -> u32 {
        let mut octets = [0; 4];
        self.fill_bytes(&mut octets);
        u32::from_le_bytes(octets)
    }

    fn next_u64(&mut self) -> u64 {
        let mut octets = [0; 8];
        self.fill_bytes(&mut octets);
        u64::from_le_bytes(octets)
    }

    fn fill_bytes(&mut self, octets: &mut [u8]) {
        if getrandom::fill(octets).is_err() {
            // A signature that is not blinded would tell of the key by its timing.
            std::process::abort();
        }
    }

    fn try_fill_bytes(&mut self, octets: &mut [u8]) -> Result<(), Error> {
        self.fill_bytes(octets);
        Ok(())
    }
}
