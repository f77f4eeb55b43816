(component
  {types}
  ;; A thousand million entries from the start.
  (core module $module
    (memory (export "memory") 1)
    (table 1000000000 funcref)
    (func (export "decide") (param i32) (result i32) (unreachable))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (unreachable)))
  {export}
)
