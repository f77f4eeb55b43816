"""DSN (RFC 3461) with Exim in both directions, sendmail and Courier: who reports what, with the identifiers of the sender."""

import email
import re
import smtplib
import time

import extensions
import messages
import unpacked
from relay import DOMAIN, LIBFAKETIME, PASSWORD, USER, Relay, Sink

HANDED_ON = "Exim is handed what is asked of reports"
ASKED = "Exim asks for reports and gets them"
OTHERS = {"sendmail is handed what is asked of reports": "sendmail", "Courier is handed what is asked of reports": "courier"}
ROWS = [HANDED_ON, ASKED, *OTHERS]

SENDER = f"shop@{DOMAIN}"
# Recipients, what is asked of each, and what becomes of it where the next hop offers no DSN.
RECIPIENTS = {
    "ada": ("SUCCESS", "relayed"),
    "gone": ("FAILURE,DELAY", "failed"),
    "late": ("DELAY,FAILURE", "delayed"),
    "silent": ("FAILURE", None),
    "gone-never": ("NEVER", None),
    "late-never": ("NEVER", None),
}
# Of the message and of a recipient: both with what xtext must encode.
ENVELOPE_ID = "order+7=a"
FAKETIME = {"LD_PRELOAD": LIBFAKETIME, "FAKETIME": "+0 x10"}


def xtext(text):
    return "".join(character if character.isalnum() or character in "@.-;" else f"+{ord(character):02X}" for character in text)


def original(name):
    return f"{name.title()}+x@First.test"


class Hop(Sink):
    """A next hop without DSN, which refuses some recipients and puts others off."""

    async def handle_RCPT(self, server, session, envelope, address, rcpt_options):
        for name, reply in (("gone", "550 5.1.1 no such mailbox"), ("late", "451 4.2.1 later")):
            if address.startswith(name):
                return reply
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 ok"


def submit(smtp, marker, domain, names=tuple(RECIPIENTS)):
    """A message to the recipients, in one transaction."""
    raw = messages.multipart(marker)
    smtp.ehlo_or_helo_if_needed()
    assert smtp.has_extn("dsn"), "DSN is not offered"
    code, reply = smtp.mail(SENDER, ["RET=HDRS", f"ENVID={xtext(ENVELOPE_ID)}"])
    assert code == 250, reply
    for name in names:
        notify = RECIPIENTS[name][0]
        code, reply = smtp.rcpt(f"{name}@{domain}", [f"NOTIFY={notify}", f"ORCPT=rfc822;{xtext(original(name))}"])
        assert code == 250, reply
    code, reply = smtp.data(raw)
    assert code == 250, reply


def judge(raw, reporter, marker):
    """A report is RFC 3464's, with the identifiers, and without the body (RET=HDRS). Returns what it says of whom."""
    mail = email.message_from_bytes(raw)
    assert (mail.get_content_type(), mail.get_param("report-type")) == ("multipart/report", "delivery-status"), mail["Content-Type"]
    _, status, returned = mail.get_payload()
    assert status.get_content_type() == "message/delivery-status", status.get_content_type()
    assert returned.get_content_type() == "text/rfc822-headers", f"RET=HDRS, and {returned.get_content_type()} comes back"
    assert f"Subject: {marker}" in returned.get_payload(), "the header is not that of the message"
    whole, *each = status.get_payload()
    assert whole["Reporting-MTA"].replace(" ", "") == f"dns;{reporter}", whole["Reporting-MTA"]
    # Exim writes both as it got them, without undoing xtext.
    identifiers = {ENVELOPE_ID, xtext(ENVELOPE_ID)} if "exim" in reporter else {ENVELOPE_ID}
    assert whole["Original-Envelope-Id"] in identifiers, f"{whole['Original-Envelope-Id']} for {ENVELOPE_ID}"
    found = {}
    for about in (part for part in each if part.keys()):
        name = about["Final-Recipient"].split(";")[1].strip().split("@")[0]
        identifier = (about["Original-Recipient"] or "none").replace("; ", ";")
        wanted = {original(name), xtext(original(name))} if "exim" in reporter else {original(name)}
        assert identifier.removeprefix("rfc822;") in wanted, f"Original-Recipient: {identifier} of {name}"
        # sendmail puts a comment behind it.
        action = about["Action"].split()[0]
        digit = {"failed": "5", "delayed": "4"}.get(action, "2")
        assert about["Status"].startswith(f"{digit}."), f"{action} with {about['Status']}"
        found[name] = action
    return found


def wait_for(reports, wanted, reporter, marker):
    """Until all are told of, and a moment longer for those that should not be."""
    end = time.monotonic() + 90
    last = 0
    while last == 0 or time.monotonic() < last:
        found = [about for raw in reports() for about in judge(raw, reporter, marker).items()]
        if len(found) >= len(wanted) and not last:
            last = time.monotonic() + 4
        assert last or time.monotonic() < end, f"within 90 s only {found}"
        time.sleep(0.5)
    print("".join(f"  {name:10} {action:10} by {reporter}\n" for name, action in sorted(found)), end="")
    assert sorted(found) == sorted(wanted.items()), f"{found} for {wanted}"


def spooled(folder):
    """What Exim knows of each recipient of the message that waits: what is asked, and ORCPT."""
    [path] = [path for path in (folder / "input").rglob("*-H") if f"-dsn_envid {xtext(ENVELOPE_ID)}\n" in path.read_text(errors="replace")]
    text = path.read_text(errors="replace")
    # RET: 1 is FULL, 2 is HDRS.
    assert "\n-dsn_ret 2\n" in text, "RET=HDRS is lost"
    kinds = {2: "NEVER", 4: "SUCCESS", 8: "FAILURE", 16: "DELAY"}
    found = {}
    for name, identifier, flags in re.findall(r"^([\w-]+)@\S+ rfc822;(\S+) \d+,(\d+) ", text, re.M):
        found[name] = (identifier, {kind for bit, kind in kinds.items() if int(flags) & bit})
    return found


def run(table, binary, folder, files):
    table.run(HANDED_ON, lambda: handed_on(binary, folder / "dsn-to-exim", files["exim"]))
    table.run(ASKED, lambda: asked(binary, folder / "dsn-from-exim", files["exim"]))
    makers = {"sendmail": lambda at, port: unpacked.Sendmail(at, files["sendmail"], {"reader.test": port, DOMAIN: port}),
              "courier": lambda at, port: unpacked.Courier(at, files["courier"], port)}
    for row, name in OTHERS.items():
        table.run(row, lambda name=name: between(binary, folder / f"dsn-to-{name}", makers[name], f"{name}.example.test"))


def between(binary, folder, make, reporter):
    """The server takes the message for a next hop without DSN, so it reports, and the relay does not."""
    sink = Hop()
    peer = make(folder / "peer", sink.port)
    try:
        relay = Relay(binary, folder / "relay", peer.port)
        try:
            with extensions.session(relay) as smtp:
                submit(smtp, "between", "reader.test", ("ada", "gone", "silent", "gone-never"))
            reports = lambda: [raw for _, recipients, raw in sink.messages if recipients == [SENDER]]
            wait_for(reports, {"ada": "relayed", "gone": "failed"}, reporter, "between")
        finally:
            relay.stop()
    finally:
        peer.stop()
        sink.stop()


def handed_on(binary, folder, files):
    """Exim takes them all, and finds out later: it is Exim that reports, and the relay that does not."""
    exim = unpacked.Exim(folder / "exim", files, f"""
gone:
  driver = redirect
  local_parts = ^gone
  data = :fail: no such mailbox
  allow_fail
late:
  driver = redirect
  local_parts = ^late
  data = :defer: later
  allow_defer
kept:
  driver = accept
  domains = reader.test
  transport = kept
reports:
  driver = accept
  domains = {DOMAIN}
  transport = reports
""", "".join(f"""
{name}:
  driver = appendfile
  directory = {folder}/exim/mail/{name}
  maildir_format
  user = Debian-exim
""" for name in ("kept", "reports")), options="dsn_advertise_hosts = *\ndelay_warning = 5s:1d", queue="3s")
    relay = Relay(binary, folder / "relay", exim.port)
    try:
        with extensions.session(relay) as smtp:
            submit(smtp, "to-exim", "reader.test")
        mailbox = exim.folder / "mail/reports/new"
        reports = lambda: [path.read_bytes() for path in mailbox.glob("*")]
        # Exim names those, too, that nobody should hear of, beside others (4.96).
        wanted = {name: action for name, (_, action) in RECIPIENTS.items() if action}
        wait_for(reports, {**wanted, "ada": "delivered", "gone-never": "failed", "late-never": "delayed"}, "exim.example.test", "to-exim")
        asked_for = {name: (xtext(original(name)), set(notify.split(","))) for name, (notify, _) in RECIPIENTS.items()}
        assert spooled(exim.folder / "spool") == asked_for, f"Exim was handed {spooled(exim.folder / 'spool')}"
    finally:
        relay.stop()
        exim.stop()


def asked(binary, folder, files):
    """Exim submits with all that it was asked; the relay reports, since the next hop cannot."""
    sink = Hop()
    # A delay is reported after a minute at the earliest: the relay has another clock.
    relay = Relay(binary, folder / "relay", sink.port, delivery='delay_report = "1m"\nretry = ["30s"]', environment=FAKETIME)
    exim = unpacked.Exim(folder / "exim", files, """
all:
  driver = manualroute
  route_list = * 127.0.0.1
  transport = submission
  self = send
""", f"""
submission:
  driver = smtp
  port = {relay.submission}
  allow_localhost
  hosts_require_tls = *
  hosts_require_auth = *
  tls_try_verify_hosts = *
""", options="dsn_advertise_hosts = *", sections=f"""
begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  client_send = ^{USER}^{PASSWORD}
""", queue="3s")
    try:
        with smtplib.SMTP("127.0.0.1", exim.port) as smtp:
            submit(smtp, "from-exim", "reader.test")
        wanted = {name: action for name, (_, action) in RECIPIENTS.items() if action}
        reports = lambda: [raw for _, recipients, raw in sink.messages if recipients == [SENDER]]
        wait_for(reports, wanted, "relay.example.test", "from-exim")
    finally:
        exim.stop()
        relay.stop()
        sink.stop()
