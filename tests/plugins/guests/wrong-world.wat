;; A component, but not one of ours.
(component
  (core module $module (func (export "greet") (result i32) (i32.const 42)))
  (core instance $core (instantiate $module))
  (func $greet (result u32) (canon lift (core func $core "greet")))
  (instance $exports (export "greet" (func $greet)))
  (export "somebody:else/greeter@1.0.0" (instance $exports)))
