//! Submission checks and the part index of a message
