"""Submission with the clients that people use. Each sends one message and fails loudly."""

import smtplib
import ssl
import subprocess
import textwrap

from relay import DOMAIN, PASSWORD, USER

SENDER, RECIPIENT = f"shop@{DOMAIN}", "ada@reader.test"


def text(marker):
    return (
        f"From: Shop <{SENDER}>\r\nTo: <{RECIPIENT}>\r\nSubject: {marker}\r\n"
        "Date: Sun, 22 Nov 2026 10:00:00 +0000\r\n"
        f"Message-ID: <{marker}@{DOMAIN}>\r\n\r\nHello from {marker}.\r\n"
    )


def run(command, stdin=None):
    done = subprocess.run(command, input=stdin, capture_output=True, timeout=60, check=False)
    if done.returncode != 0:
        raise AssertionError(f"{command[0]} ended with {done.returncode}: {(done.stdout + done.stderr).decode(errors='replace')[-800:]}")


def any_certificate():
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def swaks(relay, implicit, marker, _folder):
    tls = ["--tls-on-connect"] if implicit else ["--tls"]
    port = relay.submissions if implicit else relay.submission
    run(["swaks", "--server", "127.0.0.1", "--port", str(port), *tls, "--auth", "LOGIN",
         "--auth-user", USER, "--auth-password", PASSWORD, "--from", SENDER, "--to", RECIPIENT,
         "--header", f"Subject: {marker}", "--body", f"Hello from {marker}."])


def curl(relay, implicit, marker, _folder):
    url = f"smtps://127.0.0.1:{relay.submissions}" if implicit else f"smtp://127.0.0.1:{relay.submission}"
    run(["curl", "--silent", "--show-error", "--insecure", "--ssl-reqd", "--url", url, "--user", f"{USER}:{PASSWORD}",
         "--mail-from", SENDER, "--mail-rcpt", RECIPIENT, "--upload-file", "-"], text(marker).encode())


def python(relay, implicit, marker, _folder):
    if implicit:
        session = smtplib.SMTP_SSL("127.0.0.1", relay.submissions, context=any_certificate())
    else:
        session = smtplib.SMTP("127.0.0.1", relay.submission)
        session.starttls(context=any_certificate())
    with session:
        session.login(USER, PASSWORD)
        refused = session.sendmail(SENDER, [RECIPIENT], text(marker).encode())
        if refused:
            raise AssertionError(f"refused: {refused}")


def msmtp(relay, implicit, marker, folder):
    config = folder / f"msmtprc-{implicit}"
    config.write_text(textwrap.dedent(f"""
        account default
        host 127.0.0.1
        port {relay.submissions if implicit else relay.submission}
        auth on
        user {USER}
        password "{PASSWORD}"
        from {SENDER}
        tls on
        tls_starttls {"off" if implicit else "on"}
        tls_certcheck off
    """))
    config.chmod(0o600)
    run(["msmtp", "--file", str(config), RECIPIENT], text(marker).replace("\r\n", "\n").encode())


def nodemailer(relay, implicit, marker, _folder):
    script = f"""
        const transport = require("nodemailer").createTransport({{
          host: "127.0.0.1", port: {relay.submissions if implicit else relay.submission},
          secure: {"true" if implicit else "false"}, requireTLS: true,
          auth: {{ user: "{USER}", pass: "{PASSWORD}" }}, tls: {{ rejectUnauthorized: false }},
        }});
        transport.sendMail({{ from: "Shop <{SENDER}>", to: "{RECIPIENT}", subject: "{marker}",
          text: "Hello from {marker}.", html: "<p>Hello from {marker}.</p>" }})
          .then((info) => {{ if (!info.response.startsWith("250")) throw new Error(info.response); }})
          .catch((error) => {{ console.error(error); process.exit(1); }});
    """
    run(["node", "-e", script])


ALL = {"swaks": swaks, "curl": curl, "smtplib": python, "msmtp": msmtp, "nodemailer": nodemailer}
