//! Plugins to test a host with: plain ones, broken ones, hostile ones, and many of them.
//!
//! `cargo xtask build` leaves those that are written in Rust (`guests/`) in
//! `<target>/plugins/<name>.wasm`. [`CASES`] says what is to come of each case of `hostile.wasm`.
//! The others are made here: [`WRITTEN`] from text, [`distinct`] and [`many_functions`] by count.
#![cfg(not(target_arch = "wasm32"))]

mod cases;
mod made;

pub use cases::{CASES, Expect};
pub use made::{distinct, many_functions};

/// The names of the plugins that are built from Rust.
pub const BUILT: [&str; 5] = ["accept-all", "everything", "hostile", "not-granted", "sockets"];

/// Plugins that no compiler writes, as component text.
///
/// - `table-bomb`: a good plugin, whose `decide` lets a table grow until it cannot any more and
///   then goes on asking; it accepts mail from domains as short as `example.com`, which the
///   self-test has.
/// - `huge-table`, `huge-memory`: declare more than any plugin may have from the start.
/// - `wrong-types`: exports `relevo:policy/decide`, where `decide` takes a string.
/// - `wrong-world`: a component, but no plugin: exports something else.
/// - `wrong-version`: exports `relevo:policy/decide@9.0.0`.
/// - `core-module`: WebAssembly, but no component.
pub const WRITTEN: [(&str, &str); 7] = [
    ("table-bomb", include_str!("../guests/table-bomb.wat")),
    ("huge-table", include_str!("../guests/huge-table.wat")),
    ("huge-memory", include_str!("../guests/huge-memory.wat")),
    ("wrong-types", include_str!("../guests/wrong-types.wat")),
    ("wrong-world", include_str!("../guests/wrong-world.wat")),
    ("wrong-version", include_str!("../guests/wrong-version.wat")),
    ("core-module", "(module (func (export \"decide\")))"),
];

/// What stands for `{types}` and `{export}` in the texts.
const TYPES: &str = include_str!("../guests/types.wat");
const EXPORT: &str = include_str!("../guests/export.wat");

/// The binary of one of [`WRITTEN`].
///
/// # Errors
/// There is none of this name, or its text is wrong.
pub fn written(name: &str) -> Result<Vec<u8>, String> {
    let (_, text) = WRITTEN.iter().find(|w| w.0 == name).ok_or_else(|| format!("no plugin `{name}`"))?;
    let text = text.replace("{types}", TYPES).replace("{export}", EXPORT);
    wat::parse_str(text).map_err(|e| format!("{name}: {e}"))
}

#[cfg(test)]
mod tests;
