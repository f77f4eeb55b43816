//! DKIM signing input and verification
