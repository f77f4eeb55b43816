//! Templates and MIME building
