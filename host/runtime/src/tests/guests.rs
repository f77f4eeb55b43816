//! Small guests made of text.

use std::path::Path;

use wit_component::{ComponentEncoder, StringEncoding, dummy_module, embed_component_metadata};
use wit_parser::{ManglingAndAbi, Resolve, WorldId};

use crate::Stage;
use crate::components::Embedded;

fn wit() -> (Resolve, wit_parser::PackageId) {
    let mut resolve = Resolve::default();
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit/relevo-mail");
    let (package, _) = resolve.push_dir(directory).unwrap();
    (resolve, package)
}

fn encode(mut module: Vec<u8>, resolve: &Resolve, world: WorldId) -> Embedded {
    embed_component_metadata(&mut module, resolve, world, StringEncoding::UTF8, false).unwrap();
    let component = ComponentEncoder::default().module(&module).unwrap().validate(true).encode().unwrap();
    let sha256 = <sha2::Sha256 as sha2::Digest>::digest(&component).into();
    // Tests are short; the runtime's components live for the whole process too.
    Embedded { wasm: component.leak(), sha256 }
}

/// A component of the right type of which every function traps.
pub(super) fn dummy(stage: Stage) -> Embedded {
    let (resolve, package) = wit();
    let world = resolve.select_world(&[package], Some(&format!("{}-stage", stage.name()))).unwrap();
    encode(dummy_module(&resolve, world, ManglingAndAbi::Standard32), &resolve, world)
}

/// A `validate` component: `push` and `finish` are these instructions. `$finish` returns the
/// address of a result.
pub(super) fn validator(push: &str, finish: &str, data: &str) -> Embedded {
    let (resolve, package) = wit();
    let world = resolve.select_world(&[package], Some("validate-stage")).unwrap();
    encode(module("", push, finish, data), &resolve, world)
}

/// A `validate` component that imports and calls `function: func(status: result)` of an interface
/// of package `package`.
pub(super) fn importer(package: &str, interface: &str, function: &str) -> Embedded {
    let (mut resolve, _) = wit();
    let (name, version) = package.split_once('@').unwrap();
    resolve
        .push_str(
            "dep.wit",
            &format!("package {package}; interface {interface} {{ {function}: func(status: result); }}"),
        )
        .unwrap();
    let world = format!(
        "package test:guest; world guest {{ import {name}/{interface}@{version}; export relevo:mail/validate@0.1.0; }}"
    );
    let package_id = resolve.push_str("guest.wit", &world).unwrap();
    let world = resolve.select_world(&[package_id], Some("guest")).unwrap();
    let import =
        format!(r#"(import "{name}/{interface}@{version}" "{function}" (func $outside (param i32)))"#);
    encode(module(&import, "i32.const 0 call $outside", "i32.const 0", ""), &resolve, world)
}

fn module(import: &str, push: &str, finish: &str, data: &str) -> Vec<u8> {
    let text = format!(
        r#"(module
        (import "[export]relevo:mail/validate@0.1.0" "[resource-new]validator" (func $new (param i32) (result i32)))
        {import}
        (memory (export "memory") 1)
        (global $free (mut i32) (i32.const 8192))
        (func $recurse (param i64) (result i64) local.get 0 i64.const 1 i64.add call $recurse i64.const 1 i64.add)
        (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
          global.get $free
          global.get $free local.get 3 i32.add i32.const 7 i32.add i32.const -8 i32.and global.set $free)
        (func (export "relevo:mail/validate@0.1.0#[constructor]validator")
          (param i64 i32 i32 i32 i32 i32 i32 i64 i32 i32 i32 i32 i32) (result i32) i32.const 1 call $new)
        (func (export "relevo:mail/validate@0.1.0#[method]validator.push") (param i32 i32 i32) {push})
        (func (export "relevo:mail/validate@0.1.0#[method]validator.finish") (param i32) (result i32) {finish})
        {data})"#
    );
    wat::parse_str(text).unwrap()
}

/// A `validate` component that prints four octets to standard error and traps.
pub(super) fn printer() -> Embedded {
    let (mut resolve, _) = wit();
    let wasi = [
        "package wasi:io@0.2.6; interface error { resource error; } interface streams { use error.{error}; \
         variant stream-error { last-operation-failed(error), closed } \
         resource output-stream { write: func(contents: list<u8>) -> result<_, stream-error>; } }",
        "package wasi:cli@0.2.6; interface stderr { use wasi:io/streams@0.2.6.{output-stream}; \
         get-stderr: func() -> output-stream; }",
        "package test:guest; world guest { import wasi:io/streams@0.2.6; import wasi:cli/stderr@0.2.6; \
         export relevo:mail/validate@0.1.0; }",
    ];
    let packages = wasi.map(|text| resolve.push_str("guest.wit", text).unwrap());
    let world = resolve.select_world(&packages[2..], Some("guest")).unwrap();
    let imports = r#"(import "wasi:cli/stderr@0.2.6" "get-stderr" (func $stderr (result i32)))
        (import "wasi:io/streams@0.2.6" "[method]output-stream.write" (func $write (param i32 i32 i32 i32)))"#;
    let push = "call $stderr i32.const 80 i32.const 4 i32.const 128 call $write unreachable";
    let data = r#"(data (i32.const 80) "why\0a")"#;
    encode(module(imports, push, "i32.const 0", data), &resolve, world)
}
