//! Exports everything, uses every capability that a plugin can be granted, and says what it was
//! told.
//!
//! - `configure`: the settings `tag` (goes into the field X-Everything and into every log line),
//!   `fail` (refuses the settings) and `standing` (reads the key of this name, for `decide`).
//! - `decide`: logs the parameters of MAIL; what the message's attribute `verdict` says (`accept`,
//!   `reject`, `tempfail`, `hold`, `discard`), or the value of the key `verdict` in the data, or
//!   what `configure` read; for one recipient what the key `recipient:<address>` says. Gives back
//!   `pool`, `priority` and `route` as they stand in the data.
//! - `inspect`: rejects a body that has the word `FORBIDDEN`, wherever chunks are cut.
//! - `observe`: logs one line for each event.

use relevo_policy_sdk::{
    Answer, Configure, Decision, Event, Flow, Inspect, Inspector, Message, Observe, Policy, Reply, Settings,
    Verdict, clock, kv, log,
};

#[derive(Default)]
struct Everything {
    tag: String,
    standing: Option<String>,
}

relevo_policy_sdk::export!(Everything: Configure, Inspect, Observe);

impl Configure for Everything {
    fn configure(&mut self, settings: &Settings) -> Result<(), String> {
        settings.only(&["tag", "fail", "standing"])?;
        if let Some(why) = settings.get("fail") {
            return Err(why.to_owned());
        }
        self.tag = settings.get("tag").unwrap_or("none").to_owned();
        self.standing = settings.get("standing").map(value).transpose()?.flatten();
        Ok(())
    }
}

impl Policy for Everything {
    fn decide(&self, message: &Message) -> Answer {
        if clock::now() != message.now {
            return Err(format!("the clock says {} and the message {}", clock::now(), message.now));
        }
        log::info(format!("{}: {} for {}", self.tag, message.stage, message.envelope.recipients.len()));
        let given = &message.envelope.parameters;
        if !given.is_empty() {
            let given: Vec<_> = given.iter().map(|p| format!("{}={}", p.keyword, p.value)).collect();
            log::info(format!("MAIL {}", given.join(" ")));
        }
        let verdict_of = |name: &str| verdict(name).ok_or_else(|| format!("no verdict `{name}`"));
        let mut decision: Decision = match message
            .attribute("verdict")
            .map(str::to_owned)
            .or(value("verdict")?)
            .or(self.standing.clone())
        {
            Some(name) => verdict_of(&name)?.into(),
            None => Decision::accept(),
        };
        for (index, recipient) in message.envelope.recipients.iter().enumerate() {
            if let Some(name) = value(&format!("recipient:{}", recipient.address))? {
                decision = decision.for_recipient(index, verdict_of(&name)?);
            }
        }
        for name in ["pool", "priority", "route"] {
            if let Some(value) = value(name)? {
                decision = decision.attribute(name, value);
            }
        }
        Ok(decision.header("X-Everything", &self.tag))
    }
}

fn value(key: &str) -> Result<Option<String>, String> {
    let value = kv::get(key).map_err(|e| e.to_string())?;
    Ok(value.map(|octets| String::from_utf8_lossy(&octets).into_owned()))
}

fn verdict(name: &str) -> Option<Verdict> {
    Some(match name {
        "accept" => Verdict::Accept,
        "reject" => Verdict::Reject(Reply::permanent("5.7.1", "Refused by everything")),
        "tempfail" => Verdict::Reject(Reply::temporary("4.7.1", "Put off by everything")),
        "hold" => Verdict::Hold("held by everything".to_owned()),
        "discard" => Verdict::Discard("discarded by everything".to_owned()),
        _ => return None,
    })
}

const WORD: &[u8] = b"FORBIDDEN";

#[derive(Default)]
struct Search {
    /// The last octets of what was pushed, in case the word is cut.
    tail: Vec<u8>,
    octets: usize,
    found: bool,
}

impl Inspect for Everything {
    type Inspector = Search;

    fn inspect(&self, _: &Message) -> Search {
        Search::default()
    }
}

impl Inspector for Search {
    fn push(&mut self, chunk: &[u8]) -> Flow {
        self.octets += chunk.len();
        self.tail.extend_from_slice(chunk);
        self.found = self.found || self.tail.windows(WORD.len()).any(|w| w == WORD);
        self.tail.drain(..self.tail.len().saturating_sub(WORD.len() - 1));
        if self.found { Flow::Enough } else { Flow::More }
    }

    fn finish(self) -> Answer {
        log::info(format!("{} octets inspected", self.octets));
        Ok(match self.found {
            true => Decision::reject(Reply::permanent("5.6.0", "Forbidden word")),
            false => Decision::accept(),
        })
    }
}

impl Observe for Everything {
    fn observe(&self, events: &[Event]) {
        for event in events {
            log::info(format!("{} {} {}", event.stage, event.kind, event.recipient));
        }
    }
}
