//! Conversions between [`crate::model`] and the types that bindings of `relevo:mail` generate. They
//! are written once, here, for the host, the components and the gateway.
//!
//! Bindings are generated in the crate that uses them, so the `From` implementations must stand
//! there too. Octets and texts are moved, never copied.

/// Implements `From` both ways between the model and the types of a generated interface: `types`,
/// `validate`, `track`, `dkim`, `classify`, `reports` or `template`. The path is that of the generated module. `validate`
/// and `track` need `types` as well.
///
/// ```text
/// relevo_mailkit::wit_conversions!(types: relevo::mail::types);
/// relevo_mailkit::wit_conversions!(validate: exports::relevo::mail::validate);
/// ```
#[macro_export]
macro_rules! wit_conversions {
    (types: $($wit:ident)::+) => {
        const _: () = {
            use $($wit)::+ as wit;
            use $crate::model;
            $crate::wit_record!(Span = Span { offset, length });
            $crate::wit_enum!(Encoding = Encoding { Identity, QuotedPrintable, Base64 });
            $crate::wit_enum!(Segment = Segment { Literal(octets), Source(span), Click(link), Open, Unsubscribe });
            $crate::wit_record!(Edit = Edit { at: into, encoding: into, segments: list, part });
            $crate::wit_enum!(DeclaredEncoding = DeclaredEncoding {
                SevenBit, EightBit, Binary, QuotedPrintable, Base64, Other
            });
            $crate::wit_record!(Part = Part {
                parent, header: into, body: into, media_type, charset, declared: into, encoding_field: option,
                attachment, sealed, has_eight_bit, has_long_line
            });
            $crate::wit_record!(Note = Note { name, detail });
        };
    };
    (validate: $($wit:ident)::+) => {
        const _: () = {
            use $($wit)::+ as wit;
            use $crate::model;
            $crate::wit_record!(ValidateOptions = Options {
                max_size, max_received, max_depth, max_parts, smtputf8, hostname, now, message_id_left, downgrade,
                include_headers, strict_headers
            });
            $crate::wit_record!(HeaderField = HeaderField { name, value });
            $crate::wit_enum!(AuthorRole = AuthorRole { From, Sender, ResentFrom, ResentSender });
            $crate::wit_record!(Author = Author { role: into, address, domain });
            $crate::wit_record!(Report = Report {
                authors: list, added_headers, edits: list, parts: list, fixes: list, eight_bit, utf8_header, signed,
                list_unsubscribe, feedback_id, cfbl, tls_optional,
                message_id, from_field, subject, received, headers: list, headers_left_out, options: result,
                content_fields: list
            });
            $crate::wit_enum!(Stream = Stream { Transactional, Marketing });
            $crate::wit_record!(MessageOptions = MessageOptions {
                tags, metadata, template, variables, stream: option, topic, opens, clicks, text_links,
                exclude_domains, send_at, expires_at, idempotency_key, enforce_tls
            });
            $crate::wit_record!(Refusal = Refusal { code, enhanced, rule, detail });
        };
    };
    (track: $($wit:ident)::+) => {
        const _: () = {
            use $($wit)::+ as wit;
            use $crate::model;
            $crate::wit_record!(TrackOptions = Options {
                clicks, opens, text_links, url_overhead, max_html, max_links, max_link_length, reencode,
                exclude_domains, unsubscribe_length
            });
            $crate::wit_record!(Rewrite = Rewrite { edits: list, links, notes: list });
        };
    };
    (content: $($wit:ident)::+) => {
        const _: () = {
            use $($wit)::+ as wit;
            use $crate::model;
            $crate::wit_enum!(Severity = Severity { Info, Warning, Error });
            $crate::wit_record!(ContentOptions = Options { marketing });
            $crate::wit_record!(Finding = Finding { check, severity: into, message, location });
            $crate::wit_record!(DecodedField = DecodedField { name, value });
            $crate::wit_record!(BodyText = BodyText { text, truncated });
            $crate::wit_record!(AttachmentInfo = Attachment { filename, content_type, size, inline, content_id });
            $crate::wit_record!(MessageParts = Parts {
                fields: list, html: option, text: option, attachments: list, truncated
            });
        };
    };
    (dkim: $($wit:ident)::+) => {
        const _: () = {
            use $($wit)::+ as wit;
            use $crate::model;
            $crate::wit_enum!(Algorithm = Algorithm { RsaSha256, Ed25519Sha256 });
            $crate::wit_enum!(Canonicalization = Canonicalization { Relaxed, Simple });
            $crate::wit_record!(SignatureRequest = Request {
                domain, selector, algorithm: into, header_canonicalization: into, body_canonicalization: into,
                timestamp, expiration
            });
            $crate::wit_record!(SigningInput = SigningInput { to_sign, field });
            $crate::wit_record!(Txt = Txt { name, value });
            $crate::wit_record!(SignatureVerdict = Verdict { domain, selector, algorithm, pass, detail });
        };
    };
    (classify: $($wit:ident)::+) => {
        const _: () = {
            use $($wit)::+ as wit;
            use $crate::classification as model;
            $crate::wit_enum!(BounceType = BounceType { Hard, Soft, Block, Undetermined });
            $crate::wit_enum!(Subject = Subject { Recipient, SenderIp, SenderDomain, Message, RemoteSystem, Us });
            $crate::wit_enum!(Action = Action { Suppress, Retry, SlowDown, Suspend, Fix });
            $crate::wit_record!(ReceiverReply = ReceiverReply { host, code, status, command, text, own });
            $crate::wit_record!(Explanation = Explanation { en, es });
            $crate::wit_record!(Classification = Classification {
                bounce_type: into, category, about: into, action: into, rule, rules_version, explanation: into, doc
            });
        };
    };
    (reports: $($wit:ident)::+) => {
        const _: () = {
            use $($wit)::+ as wit;
            use $crate::returned as model;
            $crate::wit_enum!(ReturnedKind = Kind { DeliveryReport, PlainReport, Feedback, AutoReply, Ordinary });
            $crate::wit_enum!(ReportedAction = Action { Failed, Delayed, Delivered, Relayed, Expanded, Unknown });
            $crate::wit_record!(ReportedRecipient = Recipient {
                original, address, action: into, status, diagnostic, is_smtp, remote
            });
            $crate::wit_record!(FeedbackReport = FeedbackReport {
                feedback_type, user_agent, mail_from, recipients, source_ip, auth_failure, incidents
            });
            $crate::wit_record!(OriginalMessage = Original {
                message_id, return_path, received_ids, cfbl_feedback_id
            });
            $crate::wit_record!(ReturnedMail = Mail {
                kind: into, reporter, recipients: list, feedback: option, original: into, subject, from_domain, key_names,
                received
            });
        };
    };
    (template: $($wit:ident)::+) => {
        const _: () = {
            use $($wit)::+ as wit;
            use $crate::model;
            $crate::wit_record!(TemplatePartial = Partial { name, subject, html, mjml, text });
            $crate::wit_record!(TemplateReference = Reference { name, template, required });
            $crate::wit_record!(TemplateSource = Source { subject, html, mjml, text, partials: list });
            $crate::wit_record!(TemplateLimits = Limits { max_output, max_steps, max_depth });
            $crate::wit_record!(Rendered = Rendered { subject, html, text });
            $crate::wit_record!(TemplateError = TemplateError { kind, template, path, line, column, message });
            $crate::wit_record!(Mailbox = Mailbox { name, address });
            $crate::wit_record!(Attachment = Attachment { file_name, media_type, content_id, content });
            $crate::wit_record!(ExtraField = ExtraField { name, value });
            $crate::wit_record!(MessageEnvelope = Envelope {
                from: into, sender: option, to: list, cc: list, reply_to: list, fields: list, attachments: list, date,
                message_id, boundary_seed
            });
        };
    };
}

/// A record: `model = WIT { fields }`. A field is moved unless it says how it is converted: `into`,
/// `option`, `result` or `list`.
#[doc(hidden)]
#[macro_export]
macro_rules! wit_record {
    ($model:ident = $wit:ident { $($field:ident $(: $how:ident)?),+ }) => {
        impl ::core::convert::From<wit::$wit> for model::$model {
            fn from(from: wit::$wit) -> Self {
                Self { $($field: $crate::wit_field!(from.$field $($how)?)),+ }
            }
        }

        impl ::core::convert::From<model::$model> for wit::$wit {
            fn from(from: model::$model) -> Self {
                Self { $($field: $crate::wit_field!(from.$field $($how)?)),+ }
            }
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! wit_field {
    ($from:ident . $field:ident) => {
        $from.$field
    };
    ($from:ident . $field:ident into) => {
        $from.$field.into()
    };
    ($from:ident . $field:ident option) => {
        $from.$field.map(::core::convert::Into::into)
    };
    ($from:ident . $field:ident result) => {
        $from.$field.map(::core::convert::Into::into).map_err(::core::convert::Into::into)
    };
    ($from:ident . $field:ident list) => {
        $from.$field.into_iter().map(::core::convert::Into::into).collect()
    };
}

/// An enum or a variant: `model = WIT { cases }`. A case with a value names it.
#[doc(hidden)]
#[macro_export]
macro_rules! wit_enum {
    ($model:ident = $wit:ident { $($case:ident $(($value:ident))?),+ }) => {
        impl ::core::convert::From<wit::$wit> for model::$model {
            #[allow(clippy::useless_conversion, reason = "values that are alike on both sides")]
            fn from(from: wit::$wit) -> Self {
                match from { $(wit::$wit::$case $(($value))? => Self::$case $(($value.into()))?),+ }
            }
        }

        impl ::core::convert::From<model::$model> for wit::$wit {
            #[allow(clippy::useless_conversion, reason = "values that are alike on both sides")]
            fn from(from: model::$model) -> Self {
                match from { $(model::$model::$case $(($value))? => Self::$case $(($value.into()))?),+ }
            }
        }
    };
}
