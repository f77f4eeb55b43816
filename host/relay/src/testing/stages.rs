//! Stages that read just enough of a message, and answer what a test tells them to.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use relevo_mailkit::model::{
    Author, AuthorRole, ContentOptions, Finding, MessageEnvelope, MessageOptions, MessageParts, Part,
    Refusal, Rendered, Report, Rewrite, SignatureRequest, SignatureVerdict, SigningInput, TemplateError,
    TemplateLimits, TemplateReference, TemplateSource, TrackOptions, Txt, ValidateOptions,
};
use relevo_mailkit::returned::ReturnedMail;
use relevo_mailkit::source::Source;
use relevo_runtime::{Blame, Fault, FaultKind, Stage, StageStats, Stages};
use sha2::{Digest as _, Sha256};

type Tamper<T> = Mutex<Option<Box<dyn Fn(T) -> T + Send>>>;

/// Honest unless told otherwise.
#[derive(Default)]
pub(crate) struct ScriptedStages {
    pub(crate) refusal: Mutex<Option<Refusal>>,
    pub(crate) fault: Mutex<Option<Stage>>,
    pub(crate) rewrite: Mutex<Option<Rewrite>>,
    pub(crate) report: Tamper<Report>,
    pub(crate) unsigned: Tamper<Vec<SigningInput>>,
    pub(crate) options: Mutex<Vec<ValidateOptions>>,
    pub(crate) tracked: Mutex<Vec<TrackOptions>>,
    pub(crate) signed: AtomicUsize,
    pub(crate) returned: Mutex<ReturnedMail>,
    pub(crate) verdicts: Mutex<Vec<SignatureVerdict>>,
}

impl ScriptedStages {
    pub(crate) fn tamper_report(&self, with: impl Fn(Report) -> Report + Send + 'static) {
        *self.report.lock().expect("lock") = Some(Box::new(with));
    }

    pub(crate) fn tamper_unsigned(
        &self,
        with: impl Fn(Vec<SigningInput>) -> Vec<SigningInput> + Send + 'static,
    ) {
        *self.unsigned.lock().expect("lock") = Some(Box::new(with));
    }

    pub(crate) fn break_stage(&self, stage: Stage) {
        *self.fault.lock().expect("lock") = Some(stage);
    }

    fn works(&self, stage: Stage) -> Result<(), Fault> {
        if *self.fault.lock().expect("lock") != Some(stage) {
            return Ok(());
        }
        Err(Fault { stage, blame: Blame::Guest, kind: FaultKind::Trap, detail: "secret detail".into() })
    }
}

/// A report that says nothing.
pub(crate) fn report() -> Report {
    Report {
        authors: Vec::new(),
        added_headers: Vec::new(),
        edits: Vec::new(),
        parts: Vec::new(),
        fixes: Vec::new(),
        eight_bit: false,
        utf8_header: false,
        signed: false,
        list_unsubscribe: false,
        feedback_id: false,
        cfbl: false,
        tls_optional: false,
        message_id: "<m@example.com>".into(),
        from_field: Vec::new(),
        subject: String::new(),
        received: 0,
        headers: Vec::new(),
        headers_left_out: 0,
        options: Ok(MessageOptions::default()),
        content_fields: Vec::new(),
    }
}

pub(crate) fn read(source: &dyn Source) -> Vec<u8> {
    let mut all = vec![0; usize::try_from(source.size()).expect("small")];
    let mut at = 0;
    while at < all.len() {
        let n = source.read_at(at as u64, &mut all[at..]).expect("readable");
        assert!(n > 0, "shorter than it says");
        at += n;
    }
    all
}

fn fields<'a>(message: &'a str, name: &str) -> Vec<&'a str> {
    let header = message.split("\r\n\r\n").next().expect("one");
    let prefix = format!("{name}: ");
    header.split("\r\n").filter_map(|l| l.strip_prefix(prefix.as_str())).collect()
}

fn authors(message: &str) -> Vec<Author> {
    let roles = [
        ("From", AuthorRole::From),
        ("Sender", AuthorRole::Sender),
        ("Resent-From", AuthorRole::ResentFrom),
        ("Resent-Sender", AuthorRole::ResentSender),
    ];
    let mailboxes = roles.iter().flat_map(|(name, role)| {
        fields(message, name).into_iter().flat_map(|v| v.split(", ")).map(move |m| (*role, m))
    });
    mailboxes
        .map(|(role, address)| {
            let domain = address.rsplit('@').next().expect("one").to_ascii_lowercase();
            Author { role, address: address.to_owned(), domain }
        })
        .collect()
}

impl Stages for ScriptedStages {
    fn validate(
        &self,
        options: ValidateOptions,
        message: &dyn Source,
    ) -> Result<Result<Report, Refusal>, Fault> {
        self.works(Stage::Validate)?;
        self.options.lock().expect("lock").push(options);
        if let Some(refusal) = self.refusal.lock().expect("lock").clone() {
            return Ok(Err(refusal));
        }
        let octets = read(message);
        let text = String::from_utf8_lossy(&octets).into_owned();
        let report = Report {
            authors: authors(&text),
            added_headers: b"Date: Sun, 22 Nov 2026 05:33:41 +0000\r\n".to_vec(),
            eight_bit: !octets.is_ascii(),
            signed: !fields(&text, "DKIM-Signature").is_empty(),
            list_unsubscribe: !fields(&text, "List-Unsubscribe").is_empty(),
            feedback_id: !fields(&text, "Feedback-ID").is_empty(),
            cfbl: !fields(&text, "CFBL-Address").is_empty(),
            tls_optional: fields(&text, "TLS-Required") == ["No"],
            from_field: fields(&text, "From")
                .first()
                .map(|f| format!("From: {f}"))
                .unwrap_or_default()
                .into(),
            subject: fields(&text, "Subject").first().map(ToString::to_string).unwrap_or_default(),
            ..report()
        };
        Ok(Ok(match &*self.report.lock().expect("lock") {
            Some(tamper) => tamper(report),
            None => report,
        }))
    }

    fn track(&self, options: TrackOptions, _parts: &[Part], _message: &dyn Source) -> Result<Rewrite, Fault> {
        self.works(Stage::Track)?;
        self.tracked.lock().expect("lock").push(options);
        let rewrite = self.rewrite.lock().expect("lock").clone();
        Ok(rewrite.unwrap_or(Rewrite { edits: Vec::new(), links: Vec::new(), notes: Vec::new() }))
    }

    fn signing_input(
        &self,
        requests: Vec<SignatureRequest>,
        copy: &dyn Source,
        now: i64,
    ) -> Result<Vec<SigningInput>, Fault> {
        use base64::Engine as _;
        self.works(Stage::Dkim)?;
        self.signed.fetch_add(1, Ordering::SeqCst);
        let octets = read(copy);
        let text = String::from_utf8_lossy(&octets).into_owned();
        let from = fields(&text, "From").first().copied().unwrap_or_default();
        // Over everything, so that any difference between copies shows in the signature.
        let hash = base64::engine::general_purpose::STANDARD.encode(Sha256::digest(&octets));
        let unsigned = requests.iter().map(|r| {
            assert_eq!(r.timestamp, now);
            let x = r.expiration.map(|x| format!(" x={x};")).unwrap_or_default();
            let value = format!(
                "v=1; a={}; c=relaxed/relaxed; d={}; s={}; t={};{x} h=from; bh={hash}; b=",
                r.algorithm.as_str(),
                r.domain,
                r.selector,
                r.timestamp
            );
            SigningInput {
                to_sign: format!("from:{from}\r\ndkim-signature:{value}").into(),
                field: format!("DKIM-Signature: {value}").into(),
            }
        });
        let unsigned = unsigned.collect();
        Ok(match &*self.unsigned.lock().expect("lock") {
            Some(tamper) => tamper(unsigned),
            None => unsigned,
        })
    }

    fn verify(&self, _: Vec<Txt>, _: &dyn Source, _: i64) -> Result<Vec<SignatureVerdict>, Fault> {
        Ok(self.verdicts.lock().expect("lock").clone())
    }

    fn render(
        &self,
        _: TemplateSource,
        _: &str,
        _: TemplateLimits,
    ) -> Result<Result<Rendered, TemplateError>, Fault> {
        Err(Fault {
            stage: Stage::Template,
            blame: Blame::Host,
            kind: FaultKind::Host,
            detail: String::new(),
        })
    }

    fn references(&self, _: TemplateSource) -> Result<Result<Vec<TemplateReference>, TemplateError>, Fault> {
        Err(Fault {
            stage: Stage::Template,
            blame: Blame::Host,
            kind: FaultKind::Host,
            detail: String::new(),
        })
    }

    fn entity(&self, _: Rendered, _: bool, _: &str) -> Result<Result<Vec<u8>, TemplateError>, Fault> {
        Err(Fault {
            stage: Stage::Template,
            blame: Blame::Host,
            kind: FaultKind::Host,
            detail: String::new(),
        })
    }

    fn build(
        &self,
        envelope: MessageEnvelope,
        content: Rendered,
    ) -> Result<Result<Vec<u8>, TemplateError>, Fault> {
        self.works(Stage::Template)?;
        Ok(Ok(format!("From: {}\r\n\r\n{}\r\n", envelope.from.address, content.text).into_bytes()))
    }

    fn read_report(&self, _: &dyn Source) -> Result<ReturnedMail, Fault> {
        self.works(Stage::Reports)?;
        Ok(self.returned.lock().expect("lock").clone())
    }

    fn inspect(&self, _: ContentOptions, _: &dyn Source) -> Result<Result<Vec<Finding>, String>, Fault> {
        self.works(Stage::Content)?;
        Ok(Ok(Vec::new()))
    }

    fn read_parts(&self, _: &dyn Source) -> Result<Result<MessageParts, String>, Fault> {
        self.works(Stage::Content)?;
        Ok(Ok(MessageParts::default()))
    }

    fn read_attachment(&self, _: &dyn Source, _: u32) -> Result<Result<Option<Vec<u8>>, String>, Fault> {
        self.works(Stage::Content)?;
        Ok(Ok(None))
    }

    fn stats(&self) -> Vec<(Stage, StageStats)> {
        let cpu = Duration::from_millis(1500);
        vec![(Stage::Dkim, StageStats { calls: 3, faults: 1, cpu })]
    }
}
