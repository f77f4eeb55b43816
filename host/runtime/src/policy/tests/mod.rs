//! Plugins against the engine.
