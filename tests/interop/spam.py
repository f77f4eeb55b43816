"""Real spam filters score what `relevo check-content` looks at."""

import json
import pathlib
import pwd
import shutil
import subprocess

from relay import free_port, wait_for_port

ROWS = ["SpamAssassin scores GTUBE and a plain message", "Rspamd scores GTUBE and a plain message"]
# https://spamassassin.apache.org/gtube/
GTUBE = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"
MESSAGE = """\
From: shop@example.test
To: ana@reader.test
Subject: Your order has been shipped
Date: Sun, 29 Nov 2026 10:00:00 +0000
Message-ID: <1@example.test>
MIME-Version: 1.0
Content-Type: text/plain; charset=utf-8

{}
"""


class SpamAssassin:
    """A spamd of one child with the rules of the package, without lookups in the network."""

    def __init__(self, folder):
        folder.mkdir()
        port = free_port()
        self.setting = f'spamassassin = "127.0.0.1:{port}"'
        self.process = subprocess.Popen(
            [program("spamd"), "--local", "--nouser-config", "--max-children=1", "--listen", f"127.0.0.1:{port}",
             "--username", "nobody", "--helper-home-dir", str(folder), "--syslog", str(folder / "log")])
        wait_for_port(port, self.process)

    def stop(self):
        stop(self.process)


class Rspamd:
    """One worker without the package's rules. A short list of public suffixes: all of them take a minute to compile."""

    def __init__(self, folder):
        folder.mkdir()
        user = pwd.getpwnam("_rspamd")
        shutil.chown(folder, user.pw_uid, user.pw_gid)
        port = free_port()
        self.setting = f'rspamd = "http://127.0.0.1:{port}"'
        (folder / "suffixes").write_text("com\ntest\n")
        (folder / "rspamd.conf").write_text(f"""\
options {{
  pidfile = "{folder}/pid"; control_socket = "{folder}/control"; tempdir = "{folder}"; hs_cache_dir = "{folder}";
  url_tld = "{folder}/suffixes"; filters = [];
  dns {{ nameserver = ["127.0.0.1:1"]; timeout = 1ms; retransmits = 1; }}
}}
logging {{ type = "console"; level = "warning"; }}
metric {{ name = "default"; actions {{ reject = 15; add_header = 6; }} }}
worker "normal" {{ bind_socket = "127.0.0.1:{port}"; count = 1; }}
""")
        command = [program("rspamd"), "--no-fork", "--user", "_rspamd", "--group", "_rspamd", "--config", folder / "rspamd.conf"]
        with open(folder / "log", "wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        wait_for_port(port, self.process)

    def stop(self):
        stop(self.process)


def program(name):
    return next(path for path in (shutil.which(name), f"/usr/sbin/{name}") if path)


def stop(process):
    process.terminate()
    process.wait(30)


def look(binary, config, text):
    command = [binary, "check-content", "-", "--json", "--config", str(config)]
    done = subprocess.run(command, input=MESSAGE.format(text), capture_output=True, text=True, timeout=120, check=False)
    if not done.stdout:
        raise AssertionError(done.stderr)
    found = json.loads(done.stdout)
    if len(found["spam_scores"]) != 1:
        raise AssertionError(f"no score: {found}")
    return done.returncode, found["spam_scores"][0]


def run(table, binary, folder):
    def scores(make):
        at = pathlib.Path(folder) / make.__name__.lower()
        spam_filter = make(at)
        try:
            config = at.with_suffix(".toml")
            config.write_text(
                f'hostname = "relay.example.test"\npostmaster = "postmaster@example.test"\ndata_dir = "{at}-data"\n'
                f'[smtp]\n[content]\n{spam_filter.setting}\n')
            code, spam = look(binary, config, GTUBE)
            if code != 1 or not spam["is_spam"] or spam["score"] < spam["threshold"] or "GTUBE" not in spam["rules"]:
                raise AssertionError(f"GTUBE: {code} {spam}")
            code, plain = look(binary, config, "Your order has been shipped. It arrives tomorrow.")
            if code != 0 or plain["is_spam"] or plain["score"] >= plain["threshold"]:
                raise AssertionError(f"a plain message: {code} {plain}")
        finally:
            spam_filter.stop()

    for row, make in zip(ROWS, (SpamAssassin, Rspamd)):
        table.run(row, lambda make=make: scores(make))
