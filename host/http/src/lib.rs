//! API, event feed, metrics and tracking endpoints
