//! Settings as a plugin gets them.

use std::str::FromStr;

use crate::Attribute;

/// What the configuration says for this plugin: names and texts, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings(Vec<Attribute>);

impl Settings {
    /// The last value of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.all(name).last()
    }

    /// All values of this name: a list in the configuration.
    pub fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |a| a.name == name).map(|a| a.value.as_str())
    }

    /// The value of this name as a number, `true` or `false`, or whatever can be parsed; none when
    /// there is none.
    ///
    /// # Errors
    /// A text that names the setting, for [`Configure::configure`](crate::Configure::configure) to
    /// return.
    pub fn parse<T: FromStr>(&self, name: &str) -> Result<Option<T>, String> {
        let Some(value) = self.get(name) else { return Ok(None) };
        value.parse().map(Some).map_err(|_| format!("`{name}` cannot be `{value}`"))
    }

    /// Refuses settings that the plugin does not know: a misspelt one should not be silent.
    ///
    /// # Errors
    /// A text that names the first one.
    pub fn only(&self, known: &[&str]) -> Result<(), String> {
        match self.0.iter().find(|a| !known.contains(&a.name.as_str())) {
            Some(unknown) => {
                Err(format!("`{}` is not a setting; there are: {}", unknown.name, known.join(", ")))
            }
            None => Ok(()),
        }
    }
}

impl From<Vec<Attribute>> for Settings {
    fn from(list: Vec<Attribute>) -> Self {
        Self(list)
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Settings {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        let pairs = pairs.into_iter();
        Self(pairs.map(|(name, value)| Attribute { name: name.into(), value: value.into() }).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_by_name() {
        let settings: Settings =
            [("limit", "10"), ("domain", "a"), ("domain", "b"), ("strict", "yes")].into_iter().collect();
        assert_eq!(settings.parse("limit"), Ok(Some(10)));
        assert_eq!(settings.parse::<u32>("absent"), Ok(None));
        assert_eq!(settings.parse::<bool>("strict"), Err("`strict` cannot be `yes`".to_owned()));
        assert_eq!(settings.all("domain").collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(settings.get("domain"), Some("b"));
    }

    #[test]
    fn unknown_settings_are_named() {
        let settings: Settings = [("limit", "10"), ("limt", "11")].into_iter().collect();
        assert_eq!(settings.only(&["limit", "limt"]), Ok(()));
        let error = settings.only(&["limit"]).expect_err("limt is unknown");
        assert!(error.contains("`limt`"), "{error}");
    }
}
