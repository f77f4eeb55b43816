//! The imports of first-party components: which are tolerated, and what they do.
//!
//! `std` imports parts of WASI 0.2 even where the program uses none. Each import of each component
//! is pinned in `golden/<stage>.txt`; anything else is refused by name when the component is
//! loaded. A tolerated function either answers from the call (clock, randomness, environment) or
//! traps.

use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, Linker, LinkerInstance, Resource, ResourceType, WasmList};
use wasmtime::{Engine, StoreContextMut};

use crate::Stage;
use crate::config::LoadError;
use crate::state::GuestState;

/// The pinned imports of a stage, one a line.
fn golden(stage: Stage) -> &'static str {
    match stage {
        Stage::Validate => include_str!("../golden/validate.txt"),
        Stage::Track => include_str!("../golden/track.txt"),
        Stage::Dkim => include_str!("../golden/dkim.txt"),
        Stage::Template => include_str!("../golden/template.txt"),
        Stage::Reports => include_str!("../golden/reports.txt"),
        Stage::Classify => include_str!("../golden/classify.txt"),
        Stage::Content => include_str!("../golden/content.txt"),
    }
}

/// Why a tolerated import trapped.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ImportTrap {
    #[error("called {0}, which is tolerated as an import but does nothing here")]
    Inert(String),
    #[error("called exit")]
    Exit,
}

/// The functions that a component imports, as `package/interface@version#function`, sorted. Patch
/// versions are left out: they change with the compiler and mean nothing.
pub(crate) fn imported_functions(engine: &Engine, component: &Component) -> Vec<String> {
    let mut names = Vec::new();
    for (name, import) in component.component_type().imports(engine) {
        match import.ty {
            ComponentItem::ComponentInstance(instance) => {
                for (function, item) in instance.exports(engine) {
                    if let ComponentItem::ComponentFunc(_) = item.ty {
                        names.push(format!("{}#{function}", track_of(name)));
                    }
                }
            }
            ComponentItem::Type(_) => {}
            _ => names.push(name.to_owned()),
        }
    }
    names.sort();
    names
}

/// `wasi:io/streams@0.2.6` as `wasi:io/streams@0.2`.
fn track_of(name: &str) -> &str {
    match name.split_once('@') {
        Some((_, version)) if version.matches('.').count() == 2 => {
            name.rsplit_once('.').map_or(name, |(track, _)| track)
        }
        _ => name,
    }
}

/// Refuses the first import that is not on the stage's list.
pub(crate) fn audit(engine: &Engine, stage: Stage, component: &Component) -> Result<(), LoadError> {
    let granted: Vec<&str> = golden(stage).lines().collect();
    match imported_functions(engine, component).into_iter().find(|import| !granted.contains(&import.as_str()))
    {
        Some(import) => Err(LoadError::Import { stage, import }),
        None => Ok(()),
    }
}

/// Defines everything that the (audited) component imports, but what `elsewhere` says of by name is
/// defined elsewhere.
pub(crate) fn link(
    linker: &mut Linker<GuestState>,
    engine: &Engine,
    component: &Component,
    elsewhere: impl Fn(&str) -> bool,
) -> wasmtime::Result<()> {
    for (name, import) in component.component_type().imports(engine) {
        let ComponentItem::ComponentInstance(instance) = import.ty else { continue };
        if elsewhere(name) {
            continue;
        }
        let mut target = linker.instance(name)?;
        for (item, definition) in instance.exports(engine) {
            match definition.ty {
                // One type for all of them: no handle ever means anything but standard output and
                // error.
                ComponentItem::Resource(_) => {
                    target.resource(item, ResourceType::host::<()>(), |_, _| Ok(()))?;
                }
                ComponentItem::ComponentFunc(_) => define(&mut target, track_of(name), item)?,
                _ => {}
            }
        }
    }
    Ok(())
}

type Context<'a> = StoreContextMut<'a, GuestState>;
/// `stream-error` is never returned, so any type with its shape would do.
type Written = (Result<(), StreamError>,);

#[derive(wasmtime::component::ComponentType, wasmtime::component::Lower)]
#[component(variant)]
enum StreamError {
    #[component(name = "last-operation-failed")]
    #[allow(dead_code, reason = "the shape of the WIT type; writing never fails")]
    LastOperationFailed(Resource<()>),
    #[component(name = "closed")]
    #[allow(dead_code, reason = "the shape of the WIT type; writing never fails")]
    Closed,
}

#[derive(wasmtime::component::ComponentType, wasmtime::component::Lower)]
#[component(record)]
struct DateTime {
    seconds: u64,
    nanoseconds: u32,
}

fn define(
    target: &mut LinkerInstance<'_, GuestState>,
    interface: &str,
    function: &str,
) -> wasmtime::Result<()> {
    match (interface, function) {
        ("wasi:cli/environment@0.2", "get-environment") => {
            target.func_wrap(function, |_: Context<'_>, ()| Ok((Vec::<(String, String)>::new(),)))
        }
        ("wasi:cli/environment@0.2", "get-arguments") => {
            target.func_wrap(function, |_: Context<'_>, ()| Ok((Vec::<String>::new(),)))
        }
        ("wasi:cli/environment@0.2", "initial-cwd") => {
            target.func_wrap(function, |_: Context<'_>, ()| Ok((None::<String>,)))
        }
        ("wasi:cli/exit@0.2", "exit") => {
            target.func_new(function, |_, _, _, _| Err(wasmtime::Error::new(ImportTrap::Exit)))
        }
        ("wasi:cli/stdin@0.2", "get-stdin")
        | ("wasi:cli/stdout@0.2", "get-stdout")
        | ("wasi:cli/stderr@0.2", "get-stderr") => {
            target.func_wrap(function, |_: Context<'_>, ()| Ok((Resource::<()>::new_own(0),)))
        }
        (
            "wasi:cli/terminal-stdin@0.2" | "wasi:cli/terminal-stdout@0.2" | "wasi:cli/terminal-stderr@0.2",
            _,
        ) => target.func_wrap(function, |_: Context<'_>, ()| Ok((None::<Resource<()>>,))),
        ("wasi:filesystem/preopens@0.2", "get-directories") => {
            target.func_wrap(function, |_: Context<'_>, ()| Ok((Vec::<(Resource<()>, String)>::new(),)))
        }
        ("wasi:clocks/wall-clock@0.2", "now") => target.func_wrap(function, |context: Context<'_>, ()| {
            let now = context.data().now;
            // Below 10^9.
            let nanoseconds = u32::try_from(now % 1_000 * 1_000_000).unwrap_or(0);
            Ok((DateTime { seconds: now / 1_000, nanoseconds },))
        }),
        ("wasi:clocks/monotonic-clock@0.2", "now") => {
            target.func_wrap(function, |mut context: Context<'_>, ()| {
                context.data_mut().ticks += 1;
                Ok((context.data().ticks,))
            })
        }
        ("wasi:io/poll@0.2", "[method]pollable.block") => {
            target.func_wrap(function, |_: Context<'_>, (_,): (Resource<()>,)| Ok(()))
        }
        ("wasi:io/poll@0.2", "[method]pollable.ready") => {
            target.func_wrap(function, |_: Context<'_>, (_,): (Resource<()>,)| Ok((true,)))
        }
        ("wasi:io/streams@0.2", _) => define_stream(target, interface, function),
        ("wasi:random/random@0.2" | "wasi:random/insecure@0.2" | "wasi:random/insecure-seed@0.2", _) => {
            define_random(target, interface, function)
        }
        _ => inert(target, interface, function),
    }
}

/// Standard output and error: bounded, kept for the log.
fn define_stream(
    target: &mut LinkerInstance<'_, GuestState>,
    interface: &str,
    function: &str,
) -> wasmtime::Result<()> {
    match function {
        "[method]output-stream.check-write" => target
            .func_wrap(function, |_: Context<'_>, (_,): (Resource<()>,)| {
                Ok((Ok::<u64, StreamError>(64 * 1024),))
            }),
        "[method]output-stream.write" | "[method]output-stream.blocking-write-and-flush" => target.func_wrap(
            function,
            |mut context: Context<'_>,
             (_, bytes): (Resource<()>, WasmList<u8>)|
             -> wasmtime::Result<Written> {
                // Copied only as far as there is room.
                let kept = bytes.as_le_slice(&context);
                let kept = kept[..kept.len().min(context.data().room())].to_vec();
                context.data_mut().print(&kept);
                Ok((Ok(()),))
            },
        ),
        "[method]output-stream.flush" | "[method]output-stream.blocking-flush" => target
            .func_wrap(function, |_: Context<'_>, (_,): (Resource<()>,)| -> wasmtime::Result<Written> {
                Ok((Ok(()),))
            }),
        // Whoever waits for it goes on at once: there is nothing else that anybody could get a
        // pollable for.
        "[method]output-stream.subscribe" => target
            .func_wrap(function, |_: Context<'_>, (_,): (Resource<()>,)| Ok((Resource::<()>::new_own(0),))),
        _ => inert(target, interface, function),
    }
}

/// Randomness that is the same for the same call: what a component returns must come out the same
/// on a retry.
fn define_random(
    target: &mut LinkerInstance<'_, GuestState>,
    interface: &str,
    function: &str,
) -> wasmtime::Result<()> {
    /// A guest that asks for more than a hash seed is told so by a trap, not by a large allocation
    /// here.
    const MOST: u64 = 4096;
    match function {
        "get-random-bytes" | "get-insecure-random-bytes" => {
            let name = format!("{interface}#{function}");
            target.func_wrap(function, move |mut context: Context<'_>, (wanted,): (u64,)| {
                if wanted > MOST {
                    return Err(wasmtime::Error::new(ImportTrap::Inert(format!(
                        "{name} for {wanted} octets"
                    ))));
                }
                let mut bytes = Vec::new();
                while (bytes.len() as u64) < wanted {
                    bytes.extend_from_slice(&context.data_mut().next_random().to_le_bytes());
                }
                bytes.truncate(usize::try_from(wanted).unwrap_or(0));
                Ok((bytes,))
            })
        }
        "get-random-u64" | "get-insecure-random-u64" => {
            target.func_wrap(function, |mut context: Context<'_>, ()| Ok((context.data_mut().next_random(),)))
        }
        "insecure-seed" => target.func_wrap(function, |mut context: Context<'_>, ()| {
            let state = context.data_mut();
            Ok(((state.next_random(), state.next_random()),))
        }),
        _ => inert(target, interface, function),
    }
}

fn inert(
    target: &mut LinkerInstance<'_, GuestState>,
    interface: &str,
    function: &str,
) -> wasmtime::Result<()> {
    let name = format!("{interface}#{function}");
    target.func_new(function, move |_, _, _, _| Err(wasmtime::Error::new(ImportTrap::Inert(name.clone()))))
}
