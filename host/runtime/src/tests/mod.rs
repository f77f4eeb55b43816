//! The sandbox against guests that mean harm, and the real ones against their lists.

mod cache;
mod classifier;
mod guests;
mod hostile;
mod imports;
