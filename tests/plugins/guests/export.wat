  (core instance $core (instantiate $module))
  (alias core export $core "memory" (core memory $memory))
  (alias core export $core "realloc" (core func $realloc))
  (alias core export $core "decide" (core func $core-decide))
  (func $decide (param "message" $message) (result (result $decision (error string)))
    (canon lift (core func $core-decide) (memory $memory) (realloc $realloc)))
  (instance $exports
    (export "decide" (func $decide)))
  (export "relevo:policy/decide@0.1.0" (instance $exports))
