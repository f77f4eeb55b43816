"""ESMTP extensions with programs that others wrote: SCRAM, DSN in both directions, BDAT."""

import email
import smtplib
import textwrap
import time

import clients
import messages
import peers
import verify
from relay import DOMAIN, PASSWORD, USER, Relay, Sink

SCRAM = "msmtp submits with SCRAM-SHA-256"
TOLD = "smtplib: who asks for it is told that a message was relayed"
CHUNKS = "smtplib: a message in chunks"
BINARY = "smtplib: binary content arrives octet for octet"
HANDED_ON = "Postfix is handed what is asked of reports"
ASKED = "Postfix asks for a report and gets it"
ALONE = "smtplib: mail that requires TLS holds up no other"
ROWS = [SCRAM, TOLD, CHUNKS, BINARY, HANDED_ON, ASKED, ALONE]

SENDER, RECIPIENT = f"shop@{DOMAIN}", "ada@reader.test"


def run(table, binary, folder):
    sink = Sink()
    relay = Relay(binary, folder / "relay-extensions", sink.port)
    try:
        table.run(SCRAM, lambda: scram(relay, sink, folder))
        table.run(TOLD, lambda: told(relay, sink))
        table.run(CHUNKS, lambda: chunks(relay, sink))
        table.run(BINARY, lambda: binary_content(relay, sink))
        table.run(ASKED, lambda: asked(relay, sink, folder))
        table.run(ALONE, lambda: alone(relay, sink))
    finally:
        relay.stop()
        sink.stop()
    table.run(HANDED_ON, lambda: handed_on(binary, folder))


def scram(relay, sink, folder):
    config = folder / "msmtprc-scram"
    config.write_text(textwrap.dedent(f"""
        account default
        host 127.0.0.1
        port {relay.submission}
        auth scram-sha-256
        user {USER}
        password "{PASSWORD}"
        from {SENDER}
        tls on
        tls_certcheck off
    """))
    config.chmod(0o600)
    clients.run(["msmtp", "--file", str(config), RECIPIENT], clients.text("by-scram").replace("\r\n", "\n").encode())
    sink.wait(b"Subject: by-scram")


def session(relay):
    session = smtplib.SMTP("127.0.0.1", relay.submission, timeout=60)
    session.starttls(context=clients.any_certificate())
    session.login(USER, PASSWORD)
    return session


def told(relay, sink):
    with session(relay) as smtp:
        smtp.sendmail(SENDER, [RECIPIENT], messages.multipart("to-be-reported"), mail_options=["RET=HDRS", "ENVID=order+2B7"],
                      rcpt_options=["NOTIFY=SUCCESS", "ORCPT=rfc822;Ada@reader.test"])
    reported(sink, b"Original-Envelope-Id: order+7", b"Original-Recipient: rfc822; Ada@reader.test")


def reported(sink, *more):
    """The sink takes no DSN, so the relay says that it handed the message on."""
    sender, recipients, report = sink.wait(b"Action: relayed")
    assert (sender, recipients) == ("<>", [SENDER]), (sender, recipients)
    for field in (b"report-type=delivery-status", b"Final-Recipient: rfc822; " + RECIPIENT.encode(), *more):
        assert field in report, f"{field!r} is not in {report.decode(errors='replace')}"
    sink.messages.clear()


def chunks(relay, sink):
    raw = messages.multipart("in-chunks")
    with session(relay) as smtp:
        smtp.ehlo()
        assert smtp.has_extn("chunking"), "CHUNKING is not offered"
        smtp.mail(SENDER)
        smtp.rcpt(RECIPIENT)
        half = len(raw) // 2
        for part, last in ((raw[:half], ""), (raw[half:], " LAST")):
            smtp.send(f"BDAT {len(part)}{last}\r\n".encode() + part)
            code, text = smtp.getreply()
            assert code == 250, (code, text)
    received = sink.wait(b"Subject: in-chunks")[2]
    body = raw[raw.index(b"\r\n\r\n"):]
    assert received.endswith(body), "the body is not the one that was sent"


def binary_content(relay, sink):
    """BINARYMIME (RFC 3030): the sink does not offer it, so the part comes in base64, signed."""
    content = bytes(range(256)) * 300 + b"\r\n.\r\n\n.\n\r.\r"
    head = f"""\
        From: shop@{DOMAIN}
        To: {RECIPIENT}
        Subject: binary
        MIME-Version: 1.0
        Content-Type: application/octet-stream
        Content-Transfer-Encoding: binary

        """
    raw = textwrap.dedent(head).replace("\n", "\r\n").encode() + content
    with session(relay) as smtp:
        assert smtp.has_extn("binarymime"), smtp.esmtp_features
        smtp.mail(SENDER, ["BODY=BINARYMIME"])
        smtp.rcpt(RECIPIENT)
        for at in range(0, len(raw), 10_000):
            part = raw[at:at + 10_000]
            last = " LAST" if at + len(part) == len(raw) else ""
            smtp.send(f"BDAT {len(part)}{last}\r\n".encode() + part)
            code, text = smtp.getreply()
            assert code == 250, (code, text)
    received = sink.wait(b"Subject: binary")[2]
    assert email.message_from_bytes(received).get_payload(decode=True) == content, "other octets came"
    verdicts = verify.dkimpy(received[received.index(b"DKIM-Signature:"):], relay.records)
    assert verdicts == {"rsa": True, "ed": True}, verdicts


def alone(relay, sink):
    """The sink offers no TLS: what requires it waits, and the rest does not."""
    with session(relay) as smtp:
        smtp.sendmail(SENDER, [RECIPIENT], messages.multipart("requires-tls"), mail_options=["REQUIRETLS"])
        time.sleep(2)
        smtp.sendmail(SENDER, ["ada@other.test"], messages.multipart("requires-nothing"))
    sink.wait(b"Subject: requires-nothing", 20)
    assert not any(b"Subject: requires-tls" in message[2] for message in sink.messages), "it went in clear"


def asked(relay, sink, folder):
    postfix = peers.Postfix(folder / "postfix-asks", relayhost=relay.relay)
    try:
        with smtplib.SMTP("127.0.0.1", postfix.port) as smtp:
            smtp.sendmail(SENDER, [RECIPIENT], messages.multipart("asked-by-postfix"), mail_options=["ENVID=by-postfix"], rcpt_options=["NOTIFY=SUCCESS"])
        reported(sink, b"Original-Envelope-Id: by-postfix")
    finally:
        postfix.stop()


def handed_on(binary, folder):
    postfix = peers.Postfix(folder / "postfix-reports", domains=("reader.test", DOMAIN))
    relay = Relay(binary, folder / "relay-reports", postfix.port)
    try:
        with session(relay) as smtp:
            smtp.sendmail(SENDER, [RECIPIENT], messages.multipart("reported-by-postfix"), mail_options=["ENVID=handed-on"], rcpt_options=["NOTIFY=SUCCESS"])
        # Postfix delivers, so it is Postfix that reports.
        report = postfix.wait(b"Action: delivered")
        for field in (b"Original-Envelope-Id: handed-on", b"Original-Recipient: rfc822;" + RECIPIENT.encode()):
            assert field in report.replace(b"; ", b";").replace(b"Id:handed", b"Id: handed"), f"{field!r} is not in {report.decode(errors='replace')}"
    finally:
        relay.stop()
        postfix.stop()
