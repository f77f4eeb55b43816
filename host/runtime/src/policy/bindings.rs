//! What wasmtime generates from `wit/relevo-policy-0.1.0` and `wit/relevo-host-0.1.0`.
#![allow(missing_docs, unreachable_pub, reason = "generated")]

/// The world is never instantiated as a whole: of its exports all but `decide` are optional.
pub(crate) mod policy {
    wasmtime::component::bindgen!({
        path: "../../wit/relevo-policy-0.1.0",
        world: "policy-inspect-observe-configure",
    });
}

pub(crate) mod host {
    wasmtime::component::bindgen!({
        inline: "package relevo:granted; world granted {
            import relevo:host/log@0.1.0;
            import relevo:host/clock@0.1.0;
            import relevo:host/kv@0.1.0;
        }",
        path: "../../wit/relevo-host-0.1.0",
        imports: { default: trappable },
    });
}
