;; From a time when the package has another version.
(component
  (core module $module
    (memory (export "memory") 1)
    (func (export "decide") (param i32 i32) (result i32) (i32.const 1))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024)))
  (core instance $core (instantiate $module))
  (alias core export $core "memory" (core memory $memory))
  (alias core export $core "realloc" (core func $realloc))
  (alias core export $core "decide" (core func $core-decide))
  (func $decide (param "message" string) (result bool)
    (canon lift (core func $core-decide) (memory $memory) (realloc $realloc)))
  (instance $exports (export "decide" (func $decide)))
  (export "relevo:policy/decide@9.0.0" (instance $exports)))
