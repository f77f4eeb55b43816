//! What wasmtime generates from `wit/relevo-mail`, one world for each stage.
#![allow(missing_docs, unreachable_pub, reason = "generated")]

pub(crate) mod validate {
    wasmtime::component::bindgen!({ path: "../../wit/relevo-mail", world: "validate-stage" });
}

pub(crate) mod track {
    wasmtime::component::bindgen!({
        path: "../../wit/relevo-mail",
        world: "track-stage",
        with: { "relevo:mail/types@0.1.0": super::types },
    });
}

pub(crate) mod dkim {
    wasmtime::component::bindgen!({ path: "../../wit/relevo-mail", world: "dkim-stage" });
}

pub(crate) mod template {
    wasmtime::component::bindgen!({ path: "../../wit/relevo-mail", world: "template-stage" });
}

pub(crate) mod reports {
    wasmtime::component::bindgen!({ path: "../../wit/relevo-mail", world: "reports-stage" });
}

pub(crate) mod classify {
    wasmtime::component::bindgen!({ path: "../../wit/relevo-mail", world: "classify-stage" });
}

pub(crate) mod content {
    wasmtime::component::bindgen!({ path: "../../wit/relevo-mail", world: "content-stage" });
}

pub use validate::relevo::mail::types;

relevo_mailkit::wit_conversions!(types: validate::relevo::mail::types);
relevo_mailkit::wit_conversions!(validate: validate::exports::relevo::mail::validate);
relevo_mailkit::wit_conversions!(track: track::exports::relevo::mail::track);
relevo_mailkit::wit_conversions!(dkim: dkim::exports::relevo::mail::dkim);
relevo_mailkit::wit_conversions!(template: template::exports::relevo::mail::template);
relevo_mailkit::wit_conversions!(reports: reports::exports::relevo::mail::reports);
relevo_mailkit::wit_conversions!(classify: classify::exports::relevo::mail::classify);
relevo_mailkit::wit_conversions!(content: content::exports::relevo::mail::content);
