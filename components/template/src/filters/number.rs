//! Amounts, numbers and plurals.

use minijinja::value::Kwargs;
use minijinja::{Error, Value};

use super::language::{Language, language};
use super::{defined, invalid};

/// Currencies whose smallest unit is not a hundredth (ISO 4217).
const DECIMALS: [(&str, usize); 23] = [
    ("BHD", 3),
    ("BIF", 0),
    ("CLP", 0),
    ("DJF", 0),
    ("GNF", 0),
    ("IQD", 3),
    ("ISK", 0),
    ("JOD", 3),
    ("JPY", 0),
    ("KMF", 0),
    ("KRW", 0),
    ("KWD", 3),
    ("LYD", 3),
    ("OMR", 3),
    ("PYG", 0),
    ("RWF", 0),
    ("TND", 3),
    ("UGX", 0),
    ("VND", 0),
    ("VUV", 0),
    ("XAF", 0),
    ("XOF", 0),
    ("XPF", 0),
];
/// Signs of currencies. Others are written with their code.
const SIGNS: [(&str, &str); 12] = [
    ("BRL", "R$"),
    ("CAD", "CA$"),
    ("CHF", "CHF"),
    ("CNY", "CN¥"),
    ("EUR", "€"),
    ("GBP", "£"),
    ("INR", "₹"),
    ("JPY", "¥"),
    ("KRW", "₩"),
    ("MXN", "MX$"),
    ("PLN", "zł"),
    ("USD", "$"),
];
/// Digits behind the decimal sign that `number` can write.
const MAX_DECIMALS: usize = 10;
/// Larger amounts have no exact digits.
const MAX_AMOUNT: f64 = 9_007_199_254_740_992.0;
/// NO-BREAK SPACE.
const NO_BREAK: char = '\u{a0}';

/// `1234.5|money("EUR", lang="es")`.
pub(super) fn money(value: &Value, currency: &str, options: Kwargs) -> Result<String, Error> {
    let language = language(options.get("lang")?)?;
    options.assert_all_used()?;
    let code = currency.to_ascii_uppercase();
    if code.len() != 3 || !code.bytes().all(|b| b.is_ascii_uppercase()) {
        return Err(invalid(format!("{currency:?} is not a currency of ISO 4217")));
    }
    let amount = amount(value)?;
    let decimals = DECIMALS.iter().find(|(known, _)| *known == code).map_or(2, |(_, decimals)| *decimals);
    let sign = SIGNS.iter().find(|(known, _)| *known == code).map_or(code.as_str(), |(_, sign)| *sign);
    let digits = digits(amount.abs(), decimals, language);
    let minus = if amount < 0.0 && digits.bytes().any(|b| (b'1'..=b'9').contains(&b)) { "-" } else { "" };
    let letters = sign.ends_with(|c: char| c.is_alphabetic());
    Ok(match language.currency_first {
        true if letters || language.tag != "en" => format!("{minus}{sign}{NO_BREAK}{digits}"),
        true => format!("{minus}{sign}{digits}"),
        false => format!("{minus}{digits}{NO_BREAK}{sign}"),
    })
}

/// `1234567|number(2, lang="en")`.
pub(super) fn number(value: &Value, decimals: Option<usize>, options: Kwargs) -> Result<String, Error> {
    let language = language(options.get("lang")?)?;
    options.assert_all_used()?;
    let decimals = decimals.unwrap_or(0);
    if decimals > MAX_DECIMALS {
        return Err(invalid(format!("more than {MAX_DECIMALS} decimals")));
    }
    let amount = amount(value)?;
    let digits = digits(amount.abs(), decimals, language);
    let minus = if amount < 0.0 && digits.bytes().any(|b| (b'1'..=b'9').contains(&b)) { "-" } else { "" };
    Ok(format!("{minus}{digits}"))
}

/// `3|plural("item", "items")`.
pub(super) fn plural(value: &Value, one: &str, other: &str, options: Kwargs) -> Result<String, Error> {
    let language = language(options.get("lang")?)?;
    options.assert_all_used()?;
    let amount = amount(value)?.abs();
    let is_one = if language.zero_is_one { amount < 2.0 } else { (amount - 1.0).abs() < f64::EPSILON };
    Ok(if is_one { one } else { other }.to_owned())
}

/// A number, or a text that is one.
fn amount(value: &Value) -> Result<f64, Error> {
    let number = match defined(value)?.as_str() {
        Some(text) => text.trim().parse().ok(),
        None => f64::try_from(value.clone()).ok(),
    };
    number
        .filter(|n: &f64| n.is_finite() && n.abs() <= MAX_AMOUNT)
        .ok_or_else(|| invalid(format!("{} is not a number, or too large a one", value.kind())))
}

/// Digits in groups of three.
fn digits(amount: f64, decimals: usize, language: &Language) -> String {
    let plain = format!("{amount:.decimals$}");
    let (whole, fraction) = plain.split_once('.').unwrap_or((&plain, ""));
    let mut out = String::with_capacity(plain.len() + 8);
    let grouped = whole.len() >= 3 + language.least_grouped;
    for (index, digit) in whole.chars().enumerate() {
        if grouped && index > 0 && (whole.len() - index) % 3 == 0 {
            out.push_str(language.group);
        }
        out.push(digit);
    }
    if !fraction.is_empty() {
        out.push_str(language.decimal);
        out.push_str(fraction);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn currencies_have_the_decimals_of_iso_4217() {
        for code in ["BIF", "DJF", "GNF", "KMF", "VUV", "XOF", "XPF", "JPY"] {
            let options = [("lang", Value::from("de"))].into_iter().collect();
            let written = money(&Value::from(1234.5), code, options).expect("a currency");
            assert!(!written.contains(','), "{written}");
        }
        let options = [("lang", Value::from("de"))].into_iter().collect();
        assert_eq!(money(&Value::from(1.5), "KWD", options).expect("a currency"), "1,500\u{a0}KWD");
    }
}
