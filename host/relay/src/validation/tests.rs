use std::net::IpAddr;

use relevo_resolve::testing::{TestDns, Trouble};
use relevo_resolve::{HickoryResolver, ResolverConfig, Tuning};

use super::*;
use crate::clock::SystemClock;

struct NoHistory;

#[async_trait]
impl AddressHistory for NoHistory {
    async fn history(&self, _: &str, _: &Address) -> Result<History, SuppressionError> {
        Ok(History::default())
    }
}

fn validation(dns: &TestDns) -> AddressValidation {
    let config = ResolverConfig { nameservers: vec![dns.addr()], ..ResolverConfig::default() };
    let tuning =
        Tuning { timeout: Duration::from_millis(200), retries: 0, remember: false, ..Tuning::default() };
    let resolver = HickoryResolver::tuned(config, tuning).expect("a resolver");
    AddressValidation::new(Arc::new(resolver), Arc::new(NoHistory), Arc::new(SystemClock::new()), 10)
}

async fn results(validation: &AddressValidation, emails: &[&str]) -> Vec<(Deliverability, &'static str)> {
    let emails: Vec<String> = emails.iter().map(|email| (*email).to_owned()).collect();
    let answers = validation.validate("acme", &emails).await.expect("answers");
    answers.iter().map(|answer| (answer.judgement.result, answer.domain.name())).collect()
}

#[tokio::test]
async fn dns_decides_about_domains_and_its_failures_do_not() {
    let dns = TestDns::start().await.expect("a server");
    let ip: IpAddr = "192.0.2.1".parse().expect("an address");
    dns.mx("good.test", &[(20, "b.good.test"), (10, "a.good.test")]);
    dns.address("a.good.test", &[ip]).address("b.good.test", &[ip]).address("implicit.test", &[ip]);
    dns.mx("null.test", &[(0, ".")]).txt("bare.test", &["no mail"]);
    dns.mx("servfail.test", &[(1, "a.good.test")]).trouble("servfail.test", None, Trouble::ServFail);
    dns.trouble("silent.test", None, Trouble::Silence);
    let emails = [
        "ana@good.test",
        "ana@implicit.test",
        "ana@null.test",
        "ana@bare.test",
        "ana@missing.test",
        "ana@servfail.test",
        "ana@silent.test",
        "ana",
        "ana@[192.0.2.1]",
    ];
    let found = results(&validation(&dns), &emails).await;
    let expected = [
        (Deliverability::Deliverable, "mx"),
        (Deliverability::Risky, "implicit_mx"),
        (Deliverability::Undeliverable, "null_mx"),
        (Deliverability::Undeliverable, "no_mail_host"),
        (Deliverability::Undeliverable, "no_such_domain"),
        (Deliverability::Unknown, "dns_failed"),
        (Deliverability::Unknown, "dns_failed"),
        (Deliverability::Undeliverable, "not_looked_up"),
        (Deliverability::Risky, "not_looked_up"),
    ];
    assert_eq!(found, expected);
}

#[tokio::test]
async fn a_domain_is_looked_up_once_for_a_request() {
    let dns = TestDns::start().await.expect("a server");
    dns.mx("good.test", &[(10, "mx.good.test")]).address("mx.good.test", &["192.0.2.1".parse().expect("ip")]);
    let emails: Vec<String> = (0..200).map(|number| format!("u{number}@GOOD.test")).collect();
    let answers = validation(&dns).validate("acme", &emails).await.expect("answers");
    assert_eq!(answers.len(), 200);
    assert!(answers.iter().all(|answer| answer.domain == DomainFinding::Mx(vec!["mx.good.test".to_owned()])));
    let asked = dns.queries().iter().filter(|query| *query == "MX good.test").count();
    assert_eq!(asked, 1);
}

#[tokio::test]
async fn a_tenant_asks_about_so_many_in_a_minute() {
    let dns = TestDns::start().await.expect("a server");
    let validation = validation(&dns);
    assert_eq!(validation.admit("acme", 8), Ok(()));
    assert!(validation.admit("acme", 3).is_err_and(|wait| wait > Duration::ZERO));
    assert_eq!(validation.admit("acme", 2), Ok(()), "a refusal spends nothing");
    assert_eq!(validation.admit("other", 10), Ok(()));
}
