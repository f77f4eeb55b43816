"""A relevo process with a configuration of its own, and the sink that it delivers to."""

import os
import pathlib
import random
import signal
import socket
import subprocess
import time

from aiosmtpd.controller import Controller

DOMAIN = "example.test"
USER, PASSWORD = "interop", "correct horse battery"
# Of Debian's faketime: to be loaded before all else, with the time in FAKETIME.
LIBFAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"


def free_port():
    """Below the ports of outgoing connections: a relay may need a minute before it listens."""
    while True:
        port = random.randrange(12_000, 32_000)
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def wait_for_port(port, process, seconds=120):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if process is not None and process.poll() is not None:
            raise RuntimeError(f"process ended with {process.returncode} before it listened on {port}")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError(f"nobody listens on {port} after {seconds} s")


class Sink:
    """Takes every message, raw. The next hop of the relay under test."""

    def __init__(self):
        self.messages = []
        self.port = free_port()
        self.controller = Controller(
            self, hostname="127.0.0.1", port=self.port, enable_SMTPUTF8=True, data_size_limit=64 << 20
        )
        self.controller.start()

    async def handle_DATA(self, server, session, envelope):
        self.messages.append((envelope.mail_from, list(envelope.rcpt_tos), envelope.original_content))
        return "250 2.0.0 taken"

    def wait(self, marker, seconds=60):
        """The first message with these octets in it."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for message in list(self.messages):
                if marker in message[2]:
                    return message
            time.sleep(0.05)
        raise AssertionError(f"no message with {marker!r} arrived within {seconds} s")

    def stop(self):
        self.controller.stop()


class Relay:
    """`relevo serve`, delivering to 127.0.0.1:`smarthost`."""

    def __init__(self, binary, folder, smarthost, hostname="relay.example.test", places="", api=False, tracking="",
                 relay_port=None, smtp="", delivery="", environment=None, password=PASSWORD):
        """`places`, `smtp`, `delivery`, `tracking`: more of the configuration. `environment`: more variables."""
        self.environment = {**os.environ, **(environment or {})}
        self.binary, self.folder = binary, pathlib.Path(folder)
        self.folder.mkdir(parents=True)
        self.submission, self.submissions, self.relay = free_port(), free_port(), relay_port or free_port()
        self.records = {}
        dkim = []
        for selector, algorithm in (("rsa", "rsa-sha256"), ("ed", "ed25519-sha256")):
            key = self.folder / f"{selector}.pem"
            out = self.run("key", "generate", "--domain", DOMAIN, "--selector", selector,
                           "--algorithm", algorithm, "--out", str(key))
            line = next(l for l in out.splitlines() if " IN TXT " in l)
            self.records[f"{selector}._domainkey.{DOMAIN}"] = "".join(line.split('"')[1::2])
            dkim.append(f'{{ selector = "{selector}", algorithm = "{algorithm}", key = "{key}" }}')
        entry = self.run("credential", "new", "--username", USER, "--stdin", stdin=password)
        credentials = next(l for l in entry.splitlines() if l.startswith("credentials"))
        listen_http, api_keys = "", ""
        if api:
            self.http = free_port()
            said = self.run("api-key", "new")
            self.api_key = said.split("API key (shown this once): ")[1].split()[0]
            api_keys = next(l for l in said.splitlines() if l.startswith("api_keys"))
            webhooks = '[webhooks]\nallow_http = true\nallow_networks = ["127.0.0.0/8"]'
            listen_http = f'[http]\nlisten = ["127.0.0.1:{self.http}"]\n{webhooks}'
        self.config = self.folder / "relevo.toml"
        self.config.write_text(f"""
hostname = "{hostname}"
postmaster = "postmaster@{DOMAIN}"
data_dir = "data"
min_free = "16MiB"
[smtp]
submission = ["127.0.0.1:{self.submission}"]
submissions = ["127.0.0.1:{self.submissions}"]
relay = ["127.0.0.1:{self.relay}"]
trusted_networks = ["127.0.0.0/8"]
{smtp}
{listen_http}
[delivery]
smarthost = {{ host = "127.0.0.1", port = {smarthost}, tls = "opportunistic" }}
{delivery}
[[tenant]]
id = "interop"
{credentials}
{api_keys}
{places}
[[tenant.domain]]
name = "{DOMAIN}"
dkim = [{", ".join(dkim)}]
{tracking}
""")
        self.ports = (self.submission, self.submissions, self.relay) + ((self.http,) if api else ())
        self.start()

    def start(self):
        """Also after `stop`: the same configuration, ports and data."""
        self.log = open(self.folder / "log", "ab")
        self.process = subprocess.Popen([self.binary, "serve", "--config", str(self.config)], stderr=self.log, env=self.environment)
        for port in self.ports:
            wait_for_port(port, self.process)

    def run(self, *args, stdin=None):
        done = subprocess.run([self.binary, *args], input=stdin, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"relevo {' '.join(args)}: {done.stderr or done.stdout}")
        return done.stdout

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise RuntimeError("relevo did not stop within 20 s of SIGTERM") from None
        finally:
            self.log.close()
