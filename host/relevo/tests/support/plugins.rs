//! A relay with places for plugins, and what is asked of it.

use std::fs;
use std::path::{Path, PathBuf};

use super::relay::{Relay, relevo};
use super::sink::Sink;
use super::wait_for;

pub const SHOP: &str = "shop@example.test";
pub const ADA: &str = "ada@reader.test";

/// A place for `block-list`.
pub const BLOCK_LIST: &str = "[[tenant.plugin]]\nname = \"list\"\ngrants = [\"log\", \"kv\"]\n";

/// A place for `everything`. It has more time than usual: builds without optimisation and busy
/// machines are not what is tested.
pub fn everything(more: &str) -> String {
    format!(
        "[[tenant.plugin]]\nname = \"every\"\ngrants = [\"log\", \"clock\", \"kv\"]\nsettings = {{ tag = \"blue\" }}\n\
         cpu_timeout = \"5s\"\nwall_timeout = \"60s\"\n{more}\n"
    )
}

pub fn message(subject: &str) -> String {
    format!("From: Shop <{SHOP}>\r\nTo: Ada <{ADA}>\r\nSubject: {subject}\r\n\r\nHello.\r\n")
}

/// What `cargo xtask build` left.
pub fn component(name: &str) -> PathBuf {
    let target = Path::new(env!("CARGO_BIN_EXE_relevo")).parent().unwrap().parent().unwrap();
    let file = target.join("plugins").join(format!("{name}.wasm"));
    assert!(file.exists(), "no {}: run `cargo xtask build`", file.display());
    file
}

/// A relay whose tenant has these places for plugins; they may begin with a line `plugin_cpu = ` of
/// the tenant.
pub struct World {
    pub relay: Relay,
    pub sink: Sink,
}

impl World {
    pub fn with(server: &str, places: &str) -> Self {
        let sink = Sink::start();
        let mut relay = Relay::start(sink.addr, server, false);
        relay.stop();
        let text = fs::read_to_string(relay.config()).unwrap();
        // Builds without optimisation take several times as long: only tests of the quota have a
        // small one.
        let own = places.strip_prefix("plugin_cpu = ").and_then(|rest| rest.split_once('\n'));
        let (cpu, places) = own.unwrap_or(("\"60s\"", places));
        let text = text.replace("id = \"acme\"\n", &format!("id = \"acme\"\nplugin_cpu = {cpu}\n"));
        fs::write(relay.config(), format!("{text}\n{places}")).unwrap();
        relay.spawn();
        Self { relay, sink }
    }

    /// Puts another text in place of one that is in the configuration, which the relay is told of;
    /// it needs a moment.
    pub fn reconfigure(&self, from: &str, to: &str) {
        let text = fs::read_to_string(self.relay.config()).unwrap();
        assert!(text.contains(from), "{from}: {text}");
        fs::write(self.relay.config(), text.replace(from, to)).unwrap();
        self.relay.reload();
    }

    pub fn plugin(&self, args: &[&str]) -> (bool, String) {
        let config = self.relay.config();
        relevo(&[&["plugin", "--config", config.to_str().unwrap()], args].concat(), "")
    }

    /// Of the place `name`; must succeed.
    pub fn does(&self, command: &[&str], name: &str, more: &[&str]) -> String {
        let (ok, said) = self.plugin(&[command, &["--tenant", "acme", "--name", name], more].concat());
        assert!(ok, "{command:?}: {said}");
        said
    }

    pub fn add(&self, name: &str, file: &str) -> String {
        self.does(&["add"], name, &[component(file).to_str().unwrap()])
    }

    pub fn refuses(&self, name: &str, file: &Path, why: &str) {
        let place = ["add", "--tenant", "acme", "--name", name, file.to_str().unwrap()];
        let (ok, said) = self.plugin(&place);
        assert!(!ok && said.contains(why), "{said}");
    }

    pub fn kv(&self, name: &str, entries: &str) {
        let file = self.relay.folder.join("kv.txt");
        fs::write(&file, entries).unwrap();
        self.does(&["kv", "import"], name, &[file.to_str().unwrap()]);
    }

    pub fn listed(&self, name: &str) -> serde_json::Value {
        let (ok, said) = self.plugin(&["list", "--json"]);
        assert!(ok, "{said}");
        let all: serde_json::Value = serde_json::from_str(&said).unwrap();
        all.as_array().unwrap().iter().find(|p| p["plugin"] == name).cloned().unwrap()
    }

    pub fn sends(&self, to: &[&str], subject: &str) -> String {
        self.relay.login().transact(SHOP, to, &message(subject))
    }

    pub fn event(&self, kind: &str) -> serde_json::Value {
        wait_for(kind, || self.relay.events(kind).last().cloned())
    }
}
