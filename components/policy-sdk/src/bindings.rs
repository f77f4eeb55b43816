//! What `wit-bindgen` makes of `wit/relevo-policy-0.1.0` and `wit/relevo-host-0.1.0`.
//!
//! One world for the imports and one for each export: a component is linked from those that it
//! uses, and the others leave no trace in it. The names in here are used by
//! [`export!`](crate::export) and are not for anybody else.
#![allow(
    unsafe_code,
    missing_docs,
    unreachable_pub,
    clippy::cast_possible_truncation,
    reason = "generated code; what is written here has no unsafe code"
)]

mod imports {
    wit_bindgen::generate!({
        path: ["../../wit/relevo-host-0.1.0", "../../wit/relevo-policy-0.1.0"],
        inline: "
            package relevo:sdk;
            world imports {
                import relevo:policy/types@0.1.0;
                import relevo:host/clock@0.1.0;
                import relevo:host/kv@0.1.0;
                import relevo:host/log@0.1.0;
            }
        ",
        world: "relevo:sdk/imports",
        additional_derives: [PartialEq, Eq],
        generate_all,
        generate_unused_types: true,
    });
}

pub use imports::relevo::host as capabilities;
pub use imports::relevo::policy::types;

pub mod decide {
    wit_bindgen::generate!({
        path: ["../../wit/relevo-policy-0.1.0"],
        inline: "package relevo:sdk; world sdk-decide { export relevo:policy/decide@0.1.0; }",
        world: "relevo:sdk/sdk-decide",
        with: { "relevo:policy/types@0.1.0": super::types },
        generate_all,
        pub_export_macro: true,
    });
    pub use exports::relevo::policy::decide::Guest;
}

pub mod inspect {
    wit_bindgen::generate!({
        path: ["../../wit/relevo-policy-0.1.0"],
        inline: "package relevo:sdk; world sdk-inspect { export relevo:policy/inspect@0.1.0; }",
        world: "relevo:sdk/sdk-inspect",
        with: { "relevo:policy/types@0.1.0": super::types },
        generate_all,
        pub_export_macro: true,
    });
    pub use exports::relevo::policy::inspect::{Guest, GuestInspector};
}

pub mod observe {
    wit_bindgen::generate!({
        path: ["../../wit/relevo-policy-0.1.0"],
        inline: "package relevo:sdk; world sdk-observe { export relevo:policy/observe@0.1.0; }",
        world: "relevo:sdk/sdk-observe",
        with: { "relevo:policy/types@0.1.0": super::types },
        additional_derives: [PartialEq, Eq],
        generate_all,
        pub_export_macro: true,
    });
    pub use exports::relevo::policy::observe::{Event, Guest, RemoteReply};
}

pub mod configure {
    wit_bindgen::generate!({
        path: ["../../wit/relevo-policy-0.1.0"],
        inline: "package relevo:sdk; world sdk-configure { export relevo:policy/configure@0.1.0; }",
        world: "relevo:sdk/sdk-configure",
        with: { "relevo:policy/types@0.1.0": super::types },
        generate_all,
        pub_export_macro: true,
    });
    pub use exports::relevo::policy::configure::Guest;
}
