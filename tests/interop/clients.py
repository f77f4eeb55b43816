"""Submission with the clients that people use. Each sends one message and fails loudly."""

import os
import pathlib
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


def run(command, stdin=None, environment=None):
    done = subprocess.run(command, input=stdin, capture_output=True, timeout=60, check=False, env=environment)
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


def sendmail_environment(relay, folder):
    """The variables by which `relevo sendmail` finds the relay."""
    password = folder / "sendmail-password"
    password.write_text(f"{PASSWORD}\n")
    return {**os.environ, "RELEVO_SENDMAIL_URL": f"smtp://127.0.0.1:{relay.submission}",
            "RELEVO_SENDMAIL_USERNAME": USER, "RELEVO_SENDMAIL_PASSWORD_FILE": str(password)}


def sendmail_link(relay, folder):
    """What a distribution installs as /usr/sbin/sendmail."""
    link = folder / "sendmail"
    if not link.exists():
        link.symlink_to(pathlib.Path(relay.binary).resolve())
    return link


def php_mail(relay, marker, folder):
    code = (f'exit(mail("ada@reader.test", "{marker}", "Hello from {marker}.\\nSecond line.", '
            f'["From" => "Shop <{SENDER}>", "X-Relevo-Tag" => "php"], "-f{SENDER}") ? 0 : 1);')
    run(["php", "-d", f"sendmail_path={sendmail_link(relay, folder)} -t -i", "-r", code],
        environment=sendmail_environment(relay, folder))


def git_repository(marker, folder):
    """A repository whose last commit has `marker` as its subject; the patch of it."""
    repository = folder / f"git-{marker}"
    repository.mkdir()
    # An empty path of certificates: the relay's is self-signed.
    for command in (["init", "-q"], ["config", "user.name", "Shop"], ["config", "user.email", SENDER],
                    ["config", "sendemail.smtpSSLCertPath", ""]):
        run(["git", "-C", str(repository), *command])
    (repository / "file").write_text("Núñez\n.\n")
    run(["git", "-C", str(repository), "add", "file"])
    run(["git", "-C", str(repository), "commit", "-q", "-m", marker])
    run(["git", "-C", str(repository), "format-patch", "-q", "-1", "-o", str(repository)])
    return repository, next(repository.glob("*.patch"))


def git_send_email(relay, marker, folder, options):
    repository, patch = git_repository(marker, folder)
    run(["git", "-C", str(repository), "send-email", "--quiet", "--confirm=never", "--suppress-cc=all",
         f"--from=Shop <{SENDER}>", f"--to={RECIPIENT}", *options, str(patch)],
        environment=sendmail_environment(relay, folder))


def git_by_sendmail(relay, marker, folder):
    git_send_email(relay, marker, folder, [f"--sendmail-cmd={sendmail_link(relay, folder)} -i"])


def git_by_smtp(relay, marker, folder):
    git_send_email(relay, marker, folder, [
        "--smtp-server=127.0.0.1", f"--smtp-server-port={relay.submission}", "--smtp-encryption=tls",
        f"--smtp-user={USER}", f"--smtp-pass={PASSWORD}"])


PROGRAMS = {"PHP mail()": php_mail, "git send-email by relevo sendmail": git_by_sendmail,
            "git send-email by SMTP": git_by_smtp}
ALL = {"swaks": swaks, "curl": curl, "smtplib": python, "msmtp": msmtp, "nodemailer": nodemailer}
