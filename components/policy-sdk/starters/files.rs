//! What `relevo plugin new` writes: for each language the files of a project, by path, with their
//! text.
//!
//! Not a part of the crate; a module of whoever writes the projects
//! (`#[path = ".../starters/files.rs"]`). In paths and texts `my-policy` stands for the name of the
//! plugin and `my_policy` for the same with `_` for `-`; names of plugins are lower case letters,
//! digits and `-`, beginning with a letter.

/// A file of a project: its path, and its text.
pub(crate) type File = (&'static str, &'static str);

macro_rules! wit {
    ($directory:literal) => {
        [
            (
                concat!($directory, "relevo-policy-0.1.0/types.wit"),
                include_str!("../../../wit/relevo-policy-0.1.0/types.wit"),
            ),
            (
                concat!($directory, "relevo-policy-0.1.0/decide.wit"),
                include_str!("../../../wit/relevo-policy-0.1.0/decide.wit"),
            ),
            (
                concat!($directory, "relevo-policy-0.1.0/inspect.wit"),
                include_str!("../../../wit/relevo-policy-0.1.0/inspect.wit"),
            ),
            (
                concat!($directory, "relevo-policy-0.1.0/observe.wit"),
                include_str!("../../../wit/relevo-policy-0.1.0/observe.wit"),
            ),
            (
                concat!($directory, "relevo-policy-0.1.0/configure.wit"),
                include_str!("../../../wit/relevo-policy-0.1.0/configure.wit"),
            ),
            (
                concat!($directory, "relevo-policy-0.1.0/worlds.wit"),
                include_str!("../../../wit/relevo-policy-0.1.0/worlds.wit"),
            ),
            (
                concat!($directory, "relevo-host-0.1.0/clock.wit"),
                include_str!("../../../wit/relevo-host-0.1.0/clock.wit"),
            ),
            (
                concat!($directory, "relevo-host-0.1.0/kv.wit"),
                include_str!("../../../wit/relevo-host-0.1.0/kv.wit"),
            ),
            (
                concat!($directory, "relevo-host-0.1.0/log.wit"),
                include_str!("../../../wit/relevo-host-0.1.0/log.wit"),
            ),
            (
                concat!($directory, "relevo-host-0.1.0/signer.wit"),
                include_str!("../../../wit/relevo-host-0.1.0/signer.wit"),
            ),
        ]
    };
}

macro_rules! sdk {
    ($($path:literal),+ $(,)?) => {
        [$((concat!("vendor/relevo-policy-sdk/", $path), include_str!(concat!("../", $path)))),+]
    };
}

/// A Rust project, with the SDK in `vendor/`.
pub(crate) const RUST: &[&[File]] = &[
    &[
        ("Cargo.toml", include_str!("rust/Cargo.toml")),
        ("README.md", include_str!("rust/README.md")),
        (".gitignore", include_str!("rust/gitignore")),
        ("src/lib.rs", include_str!("rust/src/lib.rs")),
        ("vendor/relevo-policy-sdk/Cargo.toml", include_str!("rust/sdk.toml")),
    ],
    &sdk![
        "README.md",
        "src/bindings.rs",
        "src/decision.rs",
        "src/export.rs",
        "src/host.rs",
        "src/lib.rs",
        "src/message.rs",
        "src/policy.rs",
        "src/settings.rs",
        "src/testkit/check.rs",
        "src/testkit/fakes.rs",
        "src/testkit/message.rs",
        "src/testkit/mod.rs",
    ],
    &wit!("wit/"),
];

/// A JavaScript project for jco.
pub(crate) const JS: &[&[File]] = &[
    &[
        ("package.json", include_str!("js/package.json")),
        ("README.md", include_str!("js/README.md")),
        (".gitignore", include_str!("js/gitignore")),
        ("policy.js", include_str!("js/policy.js")),
        ("policy.test.js", include_str!("js/policy.test.js")),
        ("wit/world.wit", include_str!("js/world.wit")),
    ],
    &wit!("wit/deps/"),
];

/// A Python project for componentize-py.
pub(crate) const PYTHON: &[&[File]] = &[
    &[
        ("requirements.txt", include_str!("python/requirements.txt")),
        ("README.md", include_str!("python/README.md")),
        (".gitignore", include_str!("python/gitignore")),
        ("policy.py", include_str!("python/policy.py")),
        ("test_policy.py", include_str!("python/test_policy.py")),
        ("wit/world.wit", include_str!("python/world.wit")),
    ],
    &wit!("wit/deps/"),
];
