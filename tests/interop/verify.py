"""Independent verifiers: dkimpy and OpenDKIM. Each says for every signature whether it verifies."""

import re
import subprocess

import dkim


def dkimpy(message, records):
    """{selector: verdict}"""
    def lookup(name, timeout=5):
        return records.get(name.decode().rstrip("."), "").encode() or None

    checker = dkim.DKIM(message, minkey=1024)
    signatures = [v for n, v in checker.headers if n.lower() == b"dkim-signature"]
    found = {}
    for i, value in enumerate(signatures):
        selector = re.search(rb"\bs=\s*([^;\s]+)", value).group(1).decode()
        try:
            found[selector] = checker.verify(idx=i, dnsfunc=lookup)
        except dkim.ValidationError:
            found[selector] = False
    return found


def opendkim(message, records, folder):
    """{selector: verdict}: each signature on its own, since the filter reports one result for a message."""
    keys = folder / "opendkim-keys"
    keys.write_text("".join(f"{name} {value}\n" for name, value in records.items()))
    config = folder / "opendkim.conf"
    config.write_text(f"Mode v\nSyslog no\nTestDNSData file:{keys}\nAlwaysAddARHeader yes\nMinimumKeyBits 1024\n")
    header, _, body = message.partition(b"\r\n\r\n")
    fields = re.findall(rb"[^\r\n][^\r\n]*(?:\r\n[ \t][^\r\n]*)*", header)
    signatures = [f for f in fields if f.lower().startswith(b"dkim-signature:")]
    found = {}
    for signature in signatures:
        kept = [f for f in fields if f not in signatures or f is signature]
        file = folder / "opendkim-message"
        file.write_bytes(b"\r\n".join(kept) + b"\r\n\r\n" + body)
        done = subprocess.run(["opendkim", "-x", str(config), "-t", str(file), "-vv"],
                              capture_output=True, timeout=120, check=False)
        output = (done.stdout + done.stderr).decode(errors="replace")
        selector = re.search(rb"\bs=\s*([^;\s]+)", signature).group(1).decode()
        found[selector] = "dkim=pass" in output or "verification (s=" in output and "succeeded" in output
    return found
