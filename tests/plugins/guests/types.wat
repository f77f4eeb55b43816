  ;; relevo:policy/types@0.1.0, as far as decide needs it.
  (import "relevo:policy/types@0.1.0" (instance $types
    (type $parameter' (record (field "keyword" string) (field "value" string)))
    (export "parameter" (type $parameter (eq $parameter')))
    (type $recipient' (record
      (field "address" string) (field "domain" string) (field "parameters" (list $parameter))))
    (export "recipient" (type $recipient (eq $recipient')))
    (type $envelope' (record
      (field "sender" string) (field "sender-domain" string) (field "parameters" (list $parameter))
      (field "recipients" (list $recipient))))
    (export "envelope" (type $envelope (eq $envelope')))
    (type $header-field' (record (field "name" string) (field "value" (list u8))))
    (export "header-field" (type $header-field (eq $header-field')))
    (type $part' (record
      (field "parent" (option u32)) (field "media-type" string) (field "charset" (option string))
      (field "transfer-encoding" string) (field "attachment" bool) (field "offset" u64) (field "length" u64)))
    (export "part" (type $part (eq $part')))
    (type $attribute' (record (field "name" string) (field "value" string)))
    (export "attribute" (type $attribute (eq $attribute')))
    (type $timestamp' u64)
    (export "timestamp" (type $timestamp (eq $timestamp')))
    (type $message' (record
      (field "id" string) (field "stage" string) (field "tenant" string) (field "identity" (option string))
      (field "envelope" $envelope) (field "headers" (list $header-field)) (field "size" u64)
      (field "parts" (list $part)) (field "facts" (list $attribute)) (field "attributes" (list $attribute))
      (field "now" $timestamp)))
    (export "message" (type $message (eq $message')))
    (type $reply' (record (field "code" u16) (field "enhanced" string) (field "text" string)))
    (export "reply" (type $reply (eq $reply')))
    (type $verdict' (variant (case "accept") (case "reject" $reply) (case "hold" string) (case "discard" string)))
    (export "verdict" (type $verdict (eq $verdict')))
    (type $override' (record (field "recipient" u32) (field "verdict" $verdict)))
    (export "override" (type $override (eq $override')))
    (type $decision' (record
      (field "verdict" $verdict) (field "overrides" (list $override)) (field "headers" (list $header-field))
      (field "attributes" (list $attribute))))
    (export "decision" (type $decision (eq $decision')))))
  (alias export $types "message" (type $message))
  (alias export $types "decision" (type $decision))
