//! Link and open tracking edits for a message
