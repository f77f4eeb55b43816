"""Exim, with `dnssec_request_domains` and `hosts_try_dane`: sends one message to a domain, and its log is the verdict."""

import os
import pathlib
import pwd
import subprocess

from dane_net import asked


class Exim:
    """Unpacked, not installed: its package excludes Postfix's. Each message is attempted once, in the foreground."""

    def __init__(self, folder, unpacked):
        self.folder, self.program = pathlib.Path(folder), pathlib.Path(unpacked) / "usr/sbin/exim4"
        subprocess.run(["useradd", "--system", "--user-group", "--shell", "/usr/sbin/nologin", "Debian-exim"],
                       capture_output=True, check=False)
        owner = pwd.getpwnam("Debian-exim")
        for name in ("", "spool", "log"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
            os.chown(self.folder / name, owner.pw_uid, owner.pw_gid)
        self.config = self.folder / "exim.conf"
        self.config.write_text(f"""
exim_path = {self.program}
spool_directory = {self.folder}/spool
log_file_path = {self.folder}/log/%slog
primary_hostname = exim.sender.test
disable_ipv6
dns_dnssec_ok = 1
dns_retrans = 10s
dns_retry = 1
host_lookup =
log_selector = +tls_cipher +tls_certificate_verified +outgoing_port

begin routers
mx:
  driver = dnslookup
  dnssec_request_domains = *
  transport = smtp
  self = send

begin transports
smtp:
  driver = smtp
  allow_localhost
  dnssec_request_domains = *
  hosts_try_dane = *
  connect_timeout = 10s
  command_timeout = 10s

begin retry
* * F,1h,1m
""")

    def verdict(self, internet, name):
        """Its verdict, and the lines of its log."""
        log = self.folder / "log/mainlog"
        before = log.stat().st_size if log.exists() else 0
        recipient = f"ada@{asked(name)}"
        message = f"From: shop@sender.test\nTo: {recipient}\nSubject: exim-{name}\n\nHello.\n"
        done = internet.inside(self.program, "-C", self.config, "-odi", "-f", "shop@sender.test", recipient, input=message, timeout=120)
        words = (log.read_text()[before:] if log.exists() else "") + done.stdout + done.stderr
        return exim_verdict(words), words


def exim_verdict(words):
    """`delivered`: with TLS, but not by DANE."""
    for line in words.splitlines():
        if " => " in line:
            return "verified" if " CV=dane" in line else "delivered" if " X=TLS" in line else "clear"
    return "deferred" if " == " in words else "unknown"
