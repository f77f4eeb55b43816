"""Exim, with `dnssec_request_domains` and `hosts_try_dane`: sends one message to a domain, and its log is the verdict."""

import unpacked
from dane_net import asked


class Exim(unpacked.EximFiles):
    """Each message is attempted once, in the foreground."""

    def __init__(self, folder, files):
        super().__init__(folder, files, "exim.sender.test", options="""
dns_dnssec_ok = 1
dns_retrans = 10s
dns_retry = 1
log_selector = +tls_cipher +tls_certificate_verified +outgoing_port
""", routers="""
mx:
  driver = dnslookup
  dnssec_request_domains = *
  transport = smtp
  self = send
""", transports="""
smtp:
  driver = smtp
  allow_localhost
  dnssec_request_domains = *
  hosts_try_dane = *
  connect_timeout = 10s
  command_timeout = 10s
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
