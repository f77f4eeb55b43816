//! Sans-IO SMTP: bytes in, replies and events out
