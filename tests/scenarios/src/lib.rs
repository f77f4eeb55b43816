//! Scenarios: the whole relay and its parts together.
