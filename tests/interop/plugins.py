"""Policy plugins in the languages that tenants write them in: the examples, and the projects that `relevo plugin new` writes,
built as their README says."""

import json
import os
import pathlib
import re
import smtplib
import subprocess
import time

import clients
import messages
from relay import DOMAIN, PASSWORD, USER, Relay, Sink

EXAMPLES = {"JavaScript": "partners-only-js", "Python": "partners-only-py"}
STARTERS = {"rust": "Rust", "js": "JavaScript", "python": "Python"}
ROWS = [f"{language} example decides" for language in EXAMPLES] + [
    f"{language} starter builds and decides" for language in STARTERS.values()
]
# What is not for a test: the toolchain is there, and the plugin is added with its tenant's name.
LEFT_OUT = ("rustup ", "relevo plugin add ")


def place(language, settings):
    kind = "small" if language == "Rust" else "large"
    return f'[[tenant.plugin]]\nname = "place"\nclass = "{kind}"\ngrants = ["log"]\nsettings = {settings}\n'


class Plugged:
    """A relay with a plugin, and its sink."""

    def __init__(self, binary, folder, component, language, settings):
        self.sink = Sink()
        self.relay = Relay(binary, folder, self.sink.port, places=place(language, settings))
        self.said = self.relay.run(
            "plugin", "add", "--config", str(self.relay.config), "--tenant", "interop", "--name", "place", str(component)
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.relay.stop()
        self.sink.stop()

    def send(self, marker, *recipients):
        """The reply to the final dot."""
        with smtplib.SMTP("127.0.0.1", self.relay.submission, timeout=120) as session:
            session.starttls(context=clients.any_certificate())
            session.login(USER, PASSWORD)
            session.mail(f"shop@{DOMAIN}")
            for recipient in recipients:
                session.rcpt(recipient)
            code, text = session.data(messages.multipart(marker))
            return f"{code} {text.decode()}"

    def queued(self):
        return json.loads(self.relay.run("queue", "list", "--json", "--config", str(self.relay.config)))


def expect(what, found):
    if not found:
        raise AssertionError(what)


def example(binary, folder, component, language):
    settings = '{ domain = "reader.test", text = "Partners only, please" }'
    with Plugged(binary, folder, component, language, settings) as plugged:
        reply = plugged.send("to-a-stranger", "ada@stranger.test")
        expect(reply, reply.startswith("550 5.7.1 Partners only, please"))
        reply = plugged.send("to-a-partner", "ada@reader.test")
        expect(reply, reply.startswith("250 "))
        raw = plugged.sink.wait(b"Subject: to-a-partner")[2]
        expect("no X-Partner-Policy", b"\r\nX-Partner-Policy: " in raw or raw.startswith(b"X-Partner-Policy: "))


def starter(binary, folder, lang, language):
    project = folder / f"my-{lang}-policy"
    subprocess.run([binary, "plugin", "new", "--lang", lang, str(project)], check=True, capture_output=True)
    component = build(project, folder)
    with Plugged(binary, folder / "relay", component, language, '{ max-recipients = 1 }') as plugged:
        reply = plugged.send("to-one", "ada@reader.test")
        expect(reply, reply.startswith("250 "))
        plugged.sink.wait(b"Subject: to-one")
        reply = plugged.send("to-two", "ada@reader.test", "bob@reader.test")
        expect(reply, reply.startswith("250 "))
        end = time.monotonic() + 10
        while len(plugged.queued()) == 0 and time.monotonic() < end:
            time.sleep(0.1)
        expect("nothing is held", "2 recipients, more than 1" in json.dumps(why(plugged)))


def why(plugged):
    return [
        plugged.relay.run("queue", "why", "--config", str(plugged.relay.config), item["id"])
        for item in plugged.queued()
    ]


def build(project, folder):
    """Runs what the README says; returns the component that its last line adds."""
    readme = (project / "README.md").read_text()
    lines = re.search(r"```sh\n(.*?)```", readme, re.S).group(1).splitlines()
    script = "\n".join(line for line in lines if not line.startswith(LEFT_OUT))
    environment = {k: v for k, v in os.environ.items() if k not in ("CARGO_TARGET_DIR", "RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS")}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script], cwd=project, env=environment, capture_output=True, text=True, timeout=900,
        check=False,
    )
    if done.returncode != 0:
        raise AssertionError(f"the README of {project.name}: {(done.stdout + done.stderr)[-1500:]}")
    added = next(line for line in lines if line.startswith("relevo plugin add "))
    return project / added.split("#")[0].split()[-1]


def run(table, binary, folder):
    built = pathlib.Path(binary).resolve().parent.parent / "plugins"
    for language, name in EXAMPLES.items():
        table.run(
            f"{language} example decides",
            lambda language=language, name=name: example(binary, folder / name, built / f"{name}.wasm", language),
        )
    for lang, language in STARTERS.items():
        directory = folder / f"starter-{lang}"
        directory.mkdir()
        table.run(
            f"{language} starter builds and decides",
            lambda lang=lang, language=language, directory=directory: starter(binary, directory, lang, language),
        )
