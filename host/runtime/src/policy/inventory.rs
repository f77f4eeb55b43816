//! What a component is made of and asks for, found without compiling it.

use std::fmt;

use wasmparser::{ComponentTypeRef, Encoding, Instance, Parser, Payload};

use super::api::Export;
use super::config::{Capability, CapabilityGrants, Class, PluginLimits};
use super::engines;

/// The version of `relevo:policy` and `relevo:host` that this host speaks.
pub(crate) const VERSION: &str = "0.1.0";

/// Packages of WASI 0.2 that standard libraries import whether they are used or not. Tolerated is
/// not granted: see `wit/relevo-host-0.1.0`.
const TOLERATED: [&str; 5] = ["wasi:cli/", "wasi:io/", "wasi:clocks/", "wasi:filesystem/", "wasi:random/"];

/// What is found in a component.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Inventory {
    /// Octets of the component.
    pub octets: usize,
    /// What it imports, in order: `namespace:package/interface@version`. Types alone are left out.
    pub imports: Vec<String>,
    /// What it exports, in order.
    pub exports: Vec<String>,
    /// Core modules in it.
    pub modules: u32,
    /// Instances that it makes of them.
    pub core_instances: u64,
    /// Linear memories that its modules declare.
    pub memories: u64,
    /// Functions in all of them.
    pub functions: u64,
    /// Octets of linear memory that its modules declare to begin with.
    pub memory: u64,
    /// Elements of tables that its modules declare to begin with.
    pub table_elements: u64,
}

/// For what does not fit into class `small`.
pub(crate) const TRY_LARGE: &str = "give it `class = \"large\"`, as plugins in JavaScript and Python need";

/// Why octets are no component.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("it is no component: {0}")]
pub struct NotAComponent(pub String);

/// What an upload may be. Larger ones are refused before a compiler sees them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UploadBounds {
    /// Octets.
    pub octets: usize,
    /// Functions.
    pub functions: u64,
    /// Core modules.
    pub modules: u32,
}

impl Default for UploadBounds {
    fn default() -> Self {
        Self { octets: 32 << 20, functions: 60_000, modules: 64 }
    }
}

impl Inventory {
    /// Whether it has this export, in this host's version.
    #[must_use]
    pub fn exports(&self, export: Export) -> bool {
        export.interface().is_some_and(|name| self.exports.contains(&name))
    }

    /// Whether it is a plugin that may be compiled and fits into its class.
    ///
    /// # Errors
    /// What it has too much of and what to do about it, or that it does not export `decide`.
    pub fn check(&self, bounds: &UploadBounds, class: Class, limits: &PluginLimits) -> Result<(), String> {
        let most = |value: u64, most: u64, of: &str, remedy: &str| {
            if value > most {
                Err(format!("it has {value} {of}, {most} are allowed: {remedy}"))
            } else {
                Ok(())
            }
        };
        most(self.octets as u64, bounds.octets as u64, "octets", "see `max_size` of [plugins]")?;
        most(self.functions, bounds.functions, "functions", "see `max_functions` of [plugins]")?;
        most(u64::from(self.modules), u64::from(bounds.modules), "modules", "link them into fewer")?;
        let most_memory = PluginLimits::of(class).memory as u64;
        let memory = match class {
            Class::Small if self.memory > most_memory => TRY_LARGE,
            _ => "see `memory` of the plugin",
        };
        most(self.memory, limits.memory as u64, "octets of memory to begin with", memory)?;
        let table = match class {
            Class::Small => TRY_LARGE,
            Class::Large => "no class holds more",
        };
        let elements = limits.table_elements as u64;
        most(self.table_elements, elements, "elements of tables to begin with", table)?;
        if class == Class::Small {
            // Loading it would say so as well, but only after it was compiled.
            let instances = u64::from(engines::CORE_INSTANCES);
            most(self.core_instances, instances, "core instances", TRY_LARGE)?;
            most(self.memories, u64::from(engines::MEMORIES), "memories", TRY_LARGE)?;
        }
        if self.exports(Export::Decide) {
            return Ok(());
        }
        let ours = self.exports.iter().find(|name| name.starts_with("relevo:policy/decide@"));
        Err(match ours {
            Some(other) => format!("it exports {other}; this relay speaks {VERSION}"),
            None => format!("it does not export relevo:policy/decide@{VERSION}"),
        })
    }
}

impl Export {
    pub(crate) fn interface(self) -> Option<String> {
        (self != Self::Start).then(|| format!("relevo:policy/{}@{VERSION}", self.name()))
    }
}

/// Looks at a component. Costs about what reading it costs, and makes nothing that lasts.
///
/// # Errors
/// It is not a component.
pub fn inspect(wasm: &[u8]) -> Result<Inventory, NotAComponent> {
    let wrong = |error: wasmparser::BinaryReaderError| NotAComponent(error.to_string());
    if !wasm.starts_with(b"\0asm") {
        return Err(NotAComponent("it does not begin as WebAssembly does".into()));
    }
    let mut found = Inventory { octets: wasm.len(), ..Inventory::default() };
    // How many components and modules we are inside of; 1 is the outermost.
    let mut depth = 0_u32;
    for payload in Parser::new(0).parse_all(wasm) {
        match payload.map_err(wrong)? {
            Payload::Version { encoding, .. } => {
                depth += 1;
                if depth == 1 && encoding != Encoding::Component {
                    return Err(NotAComponent(
                        "it is a core module (in Rust, `--target wasm32-wasip2` makes components)".into(),
                    ));
                }
                found.modules += u32::from(encoding == Encoding::Module);
            }
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::FunctionSection(functions) => found.functions += u64::from(functions.count()),
            Payload::MemorySection(memories) => {
                for memory in memories {
                    found.memories += 1;
                    let octets = memory.map_err(wrong)?.initial.saturating_mul(64 << 10);
                    found.memory = found.memory.saturating_add(octets);
                }
            }
            Payload::TableSection(tables) => {
                for table in tables {
                    let elements = table.map_err(wrong)?.ty.initial;
                    found.table_elements = found.table_elements.saturating_add(elements);
                }
            }
            Payload::InstanceSection(instances) => {
                for instance in instances {
                    let made = matches!(instance.map_err(wrong)?, Instance::Instantiate { .. });
                    found.core_instances += u64::from(made);
                }
            }
            Payload::ComponentImportSection(imports) if depth == 1 => {
                for import in imports {
                    let import = import.map_err(wrong)?;
                    if !matches!(import.ty, ComponentTypeRef::Type(_)) {
                        found.imports.push(import.name.name.to_owned());
                    }
                }
            }
            Payload::ComponentExportSection(exports) if depth == 1 => {
                for export in exports {
                    found.exports.push(export.map_err(wrong)?.name.name.to_owned());
                }
            }
            _ => {}
        }
    }
    Ok(found)
}

/// An import that a plugin may not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denied {
    /// `namespace:package/interface@version`
    pub import: String,
    /// Why not.
    pub reason: DeniedReason,
}

/// Why an import is denied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeniedReason {
    /// The operator can grant it but has not.
    NotGranted(Capability),
    /// An interface of ours in a version that this host does not have.
    Version,
    /// The native host grants it to nobody.
    Never,
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "imports {}, ", self.import)?;
        match self.reason {
            DeniedReason::NotGranted(capability) => {
                write!(
                    f,
                    "and `{}` is not granted: `grants` of its [[tenant.plugin]] says what is",
                    capability.name()
                )
            }
            DeniedReason::Version => write!(f, "and this relay has version {VERSION}"),
            DeniedReason::Never => write!(f, "which is granted to no plugin"),
        }
    }
}

/// Holds what a component imports against what it is granted.
///
/// # Errors
/// Every import that is denied, in order.
pub fn audit(inventory: &Inventory, grants: &CapabilityGrants) -> Result<(), Vec<Denied>> {
    audit_names(&inventory.imports, grants)
}

pub(crate) fn audit_names(imports: &[String], grants: &CapabilityGrants) -> Result<(), Vec<Denied>> {
    let denied: Vec<Denied> = imports
        .iter()
        .filter_map(|import| Some(Denied { import: import.clone(), reason: denied(import, grants)? }))
        .collect();
    if denied.is_empty() { Ok(()) } else { Err(denied) }
}

fn denied(import: &str, grants: &CapabilityGrants) -> Option<DeniedReason> {
    let (interface, version) = import.split_once('@').unwrap_or((import, ""));
    // Types cross with whoever uses them; importing them grants nothing.
    if import == format!("relevo:policy/types@{VERSION}") {
        return None;
    }
    let capability = interface.strip_prefix("relevo:host/").and_then(Capability::named);
    match capability {
        Some(_) if version != VERSION => Some(DeniedReason::Version),
        Some(capability) if grants.0.contains(&capability) => None,
        Some(capability) => Some(DeniedReason::NotGranted(capability)),
        None if tolerated(interface, version) => None,
        None => Some(DeniedReason::Never),
    }
}

/// Whether an interface of WASI 0.2 is linked with functions that do nothing beyond the sandbox.
fn tolerated(interface: &str, version: &str) -> bool {
    version.starts_with("0.2.") && TOLERATED.iter().any(|package| interface.starts_with(package))
}
