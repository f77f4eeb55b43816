//! The rules in force: which provider a host belongs to, what it allows, what its refusals lead to.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use relevo_mailkit::classification::{Action, Classification, Subject};
use serde::{Deserialize, Serialize};

use super::file::{ProviderTable, RulesFile};

/// The rules that every relay has.
const BUILT_IN: &str = include_str!("defaults.toml");

static DEFAULTS: LazyLock<ShapingRules> = LazyLock::new(|| {
    let file = toml::from_str(BUILT_IN).unwrap_or_default();
    let mut rules = ShapingRules::empty();
    let _ = rules.add(file);
    rules
});

/// What a provider allows from one source address. None: no limit of its own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Limits {
    /// Simultaneous connections to all its sites.
    pub connections: Option<u32>,
    /// Messages over one connection.
    pub messages_per_connection: Option<u32>,
    /// Messages in a minute.
    pub messages_per_minute: Option<u32>,
    /// Recipients in one transaction.
    pub recipients_per_transaction: Option<u32>,
    /// Delays before the second, third, ... attempt.
    pub retry: Option<Vec<Duration>>,
}

impl Limits {
    /// These where they are given, otherwise those of `other`.
    fn or(self, other: &Self) -> Self {
        Self {
            connections: self.connections.or(other.connections),
            messages_per_connection: self.messages_per_connection.or(other.messages_per_connection),
            messages_per_minute: self.messages_per_minute.or(other.messages_per_minute),
            recipients_per_transaction: self.recipients_per_transaction.or(other.recipients_per_transaction),
            retry: self.retry.or_else(|| other.retry.clone()),
        }
    }
}

/// What is done about a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReplyAction {
    /// Half the rate from the pool to the provider; a step back up after each span without another.
    SlowDown,
    /// Nothing from the source address to the provider for the span.
    SuspendSource,
    /// Nothing of the tenant to the provider for the span.
    SuspendTenant,
    /// The next attempt of the delivery comes after the span, or when the receiver said.
    BackOff,
}

/// What a kind of refusal leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplyRule {
    /// For `queue why`, events and the log.
    pub name: String,
    /// Of the classification; none: any.
    pub category: Option<String>,
    /// Of the classification; none: any.
    pub action: Option<Action>,
    /// Of the classification; none: any.
    pub about: Vec<Subject>,
    /// What is done.
    pub act: ReplyAction,
    /// How many within an hour it takes.
    pub after: u32,
    /// For how long.
    pub span: Duration,
}

impl ReplyRule {
    fn fits(&self, found: &Classification) -> bool {
        self.category.as_ref().is_none_or(|category| *category == found.category)
            && self.action.is_none_or(|action| action == found.action)
            && (self.about.is_empty() || self.about.contains(&found.about))
    }
}

/// How addresses are warmed up at a provider.
#[derive(Debug, Clone, PartialEq)]
pub struct WarmupRules {
    /// Recipients in a day, by days of use. Each step is at least the one before.
    pub ladder: Vec<u32>,
    /// The share of deferred recipients at which there is no step up.
    pub deferrals: f64,
    /// The share of complaints at which there is no step up.
    pub complaints: f64,
    /// The share of the cap that must have been used for a step up.
    pub used: f64,
    /// The share of the cap that an hour may have; one recipient at least.
    pub hour: f64,
}

impl Default for WarmupRules {
    fn default() -> Self {
        Self { ladder: vec![50], deferrals: 0.05, complaints: 0.001, used: 0.2, hour: 0.25 }
    }
}

/// A receiver of mail for many domains, or the owner of one site.
#[derive(Debug, Clone, PartialEq)]
pub struct Provider {
    /// As in the rules; for providers without rules, the domain that its MX hosts are in.
    pub name: String,
    /// Whether there are rules of its own.
    pub is_named: bool,
    /// What it allows.
    pub limits: Limits,
    /// What its refusals lead to; the first one that fits.
    pub replies: Arc<[ReplyRule]>,
    /// How addresses are warmed up.
    pub warmup: Arc<WarmupRules>,
    /// Where the figures are from, and when that was looked at.
    pub source: Option<String>,
    /// When that was.
    pub checked: Option<String>,
}

impl Provider {
    /// The position and the rule for a refusal of this class.
    #[must_use]
    pub fn reply_rule(&self, found: &Classification) -> Option<(usize, &ReplyRule)> {
        self.replies.iter().enumerate().find(|(_, rule)| rule.fits(found))
    }
}

/// A mistake in a file of rules, with the octets of the file that it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RulesMistake {
    /// Where.
    pub span: Range<usize>,
    /// What is wrong.
    pub message: String,
}

/// All rules in force.
#[derive(Debug, Clone)]
pub struct ShapingRules {
    /// Of the files, the operator's first.
    version: String,
    default: Limits,
    providers: HashMap<String, NamedProvider>,
    /// Ends of the names of MX hosts that operators gave, with the provider.
    suffixes: HashMap<String, String>,
    replies: Vec<ReplyRule>,
    warmup: WarmupRules,
    /// Made of the above.
    made: HashMap<String, Arc<Provider>>,
    unnamed: Arc<Provider>,
}

#[derive(Debug, Clone, Default)]
struct NamedProvider {
    limits: Limits,
    replies: Vec<ReplyRule>,
    ladder: Option<Vec<u32>>,
    source: Option<String>,
    checked: Option<String>,
}

impl Default for ShapingRules {
    /// The built-in ones.
    fn default() -> Self {
        DEFAULTS.clone()
    }
}

impl ShapingRules {
    fn empty() -> Self {
        let unnamed = Provider {
            name: String::new(),
            is_named: false,
            limits: Limits::default(),
            replies: Arc::from([]),
            warmup: Arc::default(),
            source: None,
            checked: None,
        };
        Self {
            version: String::new(),
            default: Limits::default(),
            providers: HashMap::new(),
            suffixes: HashMap::new(),
            replies: Vec::new(),
            warmup: WarmupRules::default(),
            made: HashMap::new(),
            unnamed: Arc::new(unnamed),
        }
    }

    /// The built-in rules with an operator's on top.
    ///
    /// # Errors
    /// All mistakes that are about more than one value.
    pub fn with(file: RulesFile) -> Result<Self, Vec<RulesMistake>> {
        let mut rules = Self::default();
        let mistakes = rules.add(file);
        if mistakes.is_empty() { Ok(rules) } else { Err(mistakes) }
    }

    /// The versions of the rules, such as `2026-11-29` or `mine, 2026-11-29`.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// All providers that are named, by name.
    #[must_use]
    pub fn named(&self) -> Vec<Arc<Provider>> {
        let mut named: Vec<_> = self.made.values().cloned().collect();
        named.sort_by(|a, b| a.name.cmp(&b.name));
        named
    }

    /// The provider with this name, or one without rules.
    #[must_use]
    pub fn by_name(&self, name: &str) -> Arc<Provider> {
        match self.made.get(name) {
            Some(provider) => provider.clone(),
            None => self.unnamed(name.to_owned()),
        }
    }

    /// The provider of MX hosts in their order, by the first one that there are rules for: the longest
    /// end of its name counts, an operator's before the built-in ones. Otherwise a provider without
    /// rules of its own, with the name that [`relevo_providers::of_mx`] has for the first host.
    #[must_use]
    pub fn provider<'h>(&self, hosts: impl IntoIterator<Item = &'h str>) -> Arc<Provider> {
        let mut first = None;
        for host in hosts {
            let host = host.trim_end_matches('.').to_ascii_lowercase();
            if let Some(provider) = self.lookup(&host) {
                return provider;
            }
            first.get_or_insert(host);
        }
        let first = first.unwrap_or_else(|| "unknown".to_owned());
        let name = relevo_providers::of_mx(&first).map(Cow::into_owned);
        self.unnamed(name.unwrap_or(first))
    }

    fn lookup(&self, host: &str) -> Option<Arc<Provider>> {
        let suffixes = std::iter::once(host).chain(host.match_indices('.').map(|(at, _)| &host[at..]));
        let given = suffixes.into_iter().find_map(|suffix| self.made.get(self.suffixes.get(suffix)?));
        given.or_else(|| self.made.get(&*relevo_providers::of_mx(host)?)).cloned()
    }

    fn unnamed(&self, name: String) -> Arc<Provider> {
        Arc::new(Provider { name, ..Provider::clone(&self.unnamed) })
    }

    /// Puts a file on top. Returns what is wrong with it.
    fn add(&mut self, file: RulesFile) -> Vec<RulesMistake> {
        let mut mistakes = Vec::new();
        if let Some(version) = file.version {
            let before = std::mem::take(&mut self.version);
            self.version = if before.is_empty() { version } else { format!("{version}, {before}") };
        }
        self.default = file.default.limits().or(&self.default);
        if let Some(ladder) = file.warmup.ladder {
            check_ladder(&ladder, &mut mistakes);
            self.warmup.ladder = ladder.into_inner().iter().map(|step| step.0).collect();
        }
        let share = |given: Option<super::values::Share>, before| given.map_or(before, |share| share.0);
        self.warmup.deferrals = share(file.warmup.deferrals, self.warmup.deferrals);
        self.warmup.complaints = share(file.warmup.complaints, self.warmup.complaints);
        self.warmup.used = share(file.warmup.used, self.warmup.used);
        self.warmup.hour = share(file.warmup.hour, self.warmup.hour);
        let mut replies = Vec::new();
        add_replies(&mut replies, file.reply, &mut mistakes);
        replies.append(&mut self.replies);
        self.replies = replies;
        let mut in_this_file = HashMap::new();
        for provider in file.provider {
            let span = provider.span();
            let table = provider.into_inner();
            if in_this_file.insert(table.name.0.clone(), ()).is_some() {
                let message = format!("provider `{}` is there already", table.name.0);
                mistakes.push(RulesMistake { span: span.clone(), message });
            }
            self.add_provider(table, span, &mut mistakes);
        }
        self.make();
        mistakes
    }

    fn add_provider(&mut self, table: ProviderTable, span: Range<usize>, mistakes: &mut Vec<RulesMistake>) {
        let name = table.name.0.clone();
        if table.mx.is_empty() && !relevo_providers::is_known(&name) {
            let message = "a provider whose MX hosts are not built in needs `mx`".to_owned();
            mistakes.push(RulesMistake { span, message });
        }
        if !table.mx.is_empty() {
            self.suffixes.retain(|_, of| *of != name);
        }
        for suffix in &table.mx {
            self.suffixes.insert(suffix.0.clone(), name.clone());
        }
        let limits = table.limits();
        let known = self.providers.entry(name).or_default();
        known.limits = limits.or(&known.limits);
        if let Some(ladder) = table.ladder {
            check_ladder(&ladder, mistakes);
            known.ladder = Some(ladder.into_inner().iter().map(|step| step.0).collect());
        }
        let mut replies = Vec::new();
        add_replies(&mut replies, table.reply, mistakes);
        replies.append(&mut known.replies);
        known.replies = replies;
        known.source = table.source.or_else(|| known.source.take());
        known.checked = table.checked.or_else(|| known.checked.take());
    }

    fn make(&mut self) {
        let provider = |name: &str, own: &NamedProvider| Provider {
            name: name.to_owned(),
            is_named: true,
            limits: own.limits.clone().or(&self.default),
            replies: own.replies.iter().chain(&self.replies).cloned().collect(),
            warmup: Arc::new(WarmupRules {
                ladder: own.ladder.clone().unwrap_or_else(|| self.warmup.ladder.clone()),
                ..self.warmup.clone()
            }),
            source: own.source.clone(),
            checked: own.checked.clone(),
        };
        let made = self.providers.iter().map(|(name, own)| (name.clone(), Arc::new(provider(name, own))));
        let unnamed = Provider { is_named: false, ..provider("", &NamedProvider::default()) };
        self.made = made.collect();
        self.unnamed = Arc::new(unnamed);
    }
}

fn check_ladder(ladder: &toml::Spanned<Vec<super::values::Count>>, mistakes: &mut Vec<RulesMistake>) {
    let steps = ladder.get_ref();
    if steps.is_empty() || !steps.is_sorted() {
        let message = "must have one step at least, and none below the one before".to_owned();
        mistakes.push(RulesMistake { span: ladder.span(), message });
    }
}

fn add_replies(
    to: &mut Vec<ReplyRule>,
    rules: Vec<toml::Spanned<ReplyRule>>,
    mistakes: &mut Vec<RulesMistake>,
) {
    for rule in rules {
        let span = rule.span();
        let rule = rule.into_inner();
        if to.iter().any(|other| other.name == rule.name) {
            let message = format!("reply rule `{}` is there already", rule.name);
            mistakes.push(RulesMistake { span, message });
        }
        to.push(rule);
    }
}

#[cfg(test)]
mod tests {
    use relevo_mailkit::classification::{BounceType, Explanation};

    use super::*;

    fn with(text: &str) -> Result<ShapingRules, Vec<RulesMistake>> {
        ShapingRules::with(toml::from_str(text).expect("a file"))
    }

    fn name(rules: &ShapingRules, hosts: &[&str]) -> String {
        rules.provider(hosts.iter().copied()).name.clone()
    }

    fn found(category: &str, action: Action, about: Subject) -> Classification {
        Classification {
            bounce_type: BounceType::Block,
            category: category.into(),
            about,
            action,
            rule: "r".into(),
            rules_version: "1".into(),
            explanation: Explanation::default(),
            doc: None,
        }
    }

    #[test]
    fn the_built_in_rules_are_whole() {
        let mut rules = ShapingRules::empty();
        let mistakes = rules.add(toml::from_str(BUILT_IN).expect("the built-in file"));
        assert_eq!(mistakes, []);
        assert!(rules.warmup.ladder.len() > 10 && rules.replies.len() >= 4);
        for provider in rules.named() {
            let has_figures = provider.limits != Limits::default();
            let chosen = ["gmx", "ionos"].contains(&provider.name.as_str());
            assert_eq!(provider.source.is_some(), has_figures && !chosen, "{}", provider.name);
            assert_eq!(provider.source.is_some(), provider.checked.is_some(), "{}", provider.name);
        }
    }

    #[test]
    fn hosts_of_large_receivers_are_known() {
        let rules = ShapingRules::default();
        for (host, provider) in [
            ("gmail-smtp-in.l.google.com", "google"),
            ("ASPMX.L.GOOGLE.COM.", "google"),
            ("mta5.am0.yahoodns.net", "yahoo"),
            ("mx1.mail.yahoo.co.jp", "yahoo_japan"),
            ("hotmail-com.olc.protection.outlook.com", "outlook"),
            ("contoso-com.mail.protection.outlook.com", "microsoft365"),
            ("contoso-com.a-v1.mx.microsoft", "microsoft365"),
            ("mx01.mail.icloud.com", "apple"),
            ("smtp-in.orange.fr", "orange"),
            ("mx00.gmx.net", "gmx"),
            ("mx-ha02.web.de", "gmx"),
            ("eu-smtp-inbound-1.mimecast.com", "mimecast"),
            ("mx1a1.comcast.net", "comcast"),
        ] {
            assert_eq!(name(&rules, &[host]), provider, "{host}");
        }
        for (host, domain) in [
            ("mx1.notgoogle.com", "notgoogle.com"),
            ("google.com.evil.test", "evil.test"),
            ("mx1.mail.example.co.uk", "example.co.uk"),
            ("mx.test", "mx.test"),
            ("192.0.2.1", "192.0.2.1"),
        ] {
            assert_eq!(name(&rules, &[host]), domain);
            assert!(!rules.provider([host]).is_named);
        }
        assert_eq!(name(&rules, &["in.filter.test", "aspmx.l.google.com"]), "google");
    }

    #[test]
    fn an_operators_file_goes_on_top() {
        let rules = with(
            "version = \"mine\"\n[default]\nconnections = 3\n\
             [[provider]]\nname = \"google\"\nconnections = 2\n\
             [[provider.reply]]\nname = \"mine\"\naction = \"slow_down\"\ndo = \"suspend_tenant\"\nfor = \"1h\"\n\
             [[provider]]\nname = \"special\"\nmx = [\".special.l.google.com\"]\n",
        );
        let rules = rules.expect("no mistakes");
        assert!(rules.version().starts_with("mine, 2026"));
        let google = rules.provider(["aspmx.l.google.com"]);
        let limits = (google.limits.connections, google.limits.messages_per_connection);
        assert_eq!(limits, (Some(2), Some(50)), "what it does not give stays");
        let rule = |action, about| {
            let found = found("x", action, about);
            google.reply_rule(&found).map(|(_, rule)| rule.name.clone())
        };
        assert_eq!(rule(Action::SlowDown, Subject::SenderIp).as_deref(), Some("mine"));
        assert_eq!(rule(Action::Suspend, Subject::SenderIp).as_deref(), Some("suspend-source"));
        assert_eq!(rule(Action::Retry, Subject::Recipient), None);
        assert_eq!(name(&rules, &["mx.special.l.google.com"]), "special", "the longest end counts");
        assert_eq!(rules.provider(["mx.test"]).limits.connections, Some(3));
    }

    #[test]
    fn mistakes_are_named() {
        for (text, wrong) in [
            ("[[provider]]\nname = \"new\"\n", "needs `mx`"),
            ("[[provider]]\nname = \"google\"\n[[provider]]\nname = \"google\"\n", "there already"),
            ("[warmup]\nladder = [50, 40]\n", "none below"),
            ("[warmup]\nladder = []\n", "one step at least"),
        ] {
            let mistakes = with(text).expect_err(wrong);
            assert!(mistakes.iter().any(|mistake| mistake.message.contains(wrong)), "{mistakes:?}");
        }
        for text in [
            "[[reply]]\nname = \"a\"\ndo = \"slow_down\"\nfor = \"1m\"\n",
            "[[reply]]\nname = \"a\"\naction = \"slow_down\"\ndo = \"slow_down\"\n",
            "[[reply]]\nname = \"a\"\naction = \"slow_down\"\ndo = \"explode\"\nfor = \"1m\"\n",
            "[default]\nconnections = 0\n",
            "[default]\nconections = 1\n",
        ] {
            assert!(toml::from_str::<RulesFile>(text).is_err(), "{text}");
        }
    }
}
