//! The component: the library behind the generated interface.
#![allow(
    unsafe_code,
    missing_docs,
    unreachable_pub,
    reason = "the generated bindings; what is written here has no unsafe code and no public items"
)]

wit_bindgen::generate!({ path: "../../wit/relevo-mail", world: "classify-stage" });

use exports::relevo::mail::classify as wit;

use crate::{DEFAULT_RULES, Rules, RulesError};

relevo_mailkit::wit_conversions!(classify: exports::relevo::mail::classify);

struct Component;

export!(Component);

impl wit::Guest for Component {
    type Classifier = Rules;

    fn load(rules: Option<String>) -> Result<wit::Classifier, wit::RulesError> {
        let rules = Rules::parse(rules.as_deref().unwrap_or(DEFAULT_RULES));
        rules.map(wit::Classifier::new).map_err(Into::into)
    }
}

impl wit::GuestClassifier for Rules {
    fn version(&self) -> String {
        Rules::version(self).to_owned()
    }

    fn classify(&self, reply: wit::ReceiverReply) -> wit::Classification {
        Rules::classify(self, &reply.into()).into()
    }
}

impl From<RulesError> for wit::RulesError {
    fn from(error: RulesError) -> Self {
        let RulesError { line, rule, message } = error;
        Self { line, rule, message }
    }
}
