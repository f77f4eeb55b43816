"""sslyze and testssl.sh look at the TLS of both submission ports."""

import json
import subprocess

from sslyze import (
    ProtocolWithOpportunisticTlsEnum,
    Scanner,
    ServerNetworkConfiguration,
    ServerNetworkLocation,
    ServerScanRequest,
    ScanCommand,
)

PORTS = ("587 STARTTLS", "465 TLS")
ROWS = [f"{scanner} looks at {port}" for scanner in ("sslyze", "testssl.sh") for port in PORTS]

OLD = ("ssl_2_0_cipher_suites", "ssl_3_0_cipher_suites", "tls_1_0_cipher_suites", "tls_1_1_cipher_suites")
NEW = ("tls_1_2_cipher_suites", "tls_1_3_cipher_suites")
# What must not be so.
WRONG = {
    "tls_compression": "supports_compression",
    "openssl_ccs_injection": "is_vulnerable_to_ccs_injection",
    "heartbleed": "is_vulnerable_to_heartbleed",
    "session_renegotiation": "is_vulnerable_to_client_renegotiation_dos",
}
# And what must.
RIGHT = {
    "tls_fallback_scsv": "supports_fallback_scsv",
    "session_renegotiation": "supports_secure_renegotiation",
    "tls_extended_master_secret": "supports_ems_extension",
}


# Protocols, suites by strength, forward secrecy, what the server prefers and presents, known attacks.
PARTS = ("-p", "-s", "-f", "-P", "-S", "-U")
# What testssl.sh must have looked at.
LOOKED_AT = {"SSLv3", "TLS1_2", "TLS1_3", "cipherlist_NULL", "cipherlist_STRONG", "PFS", "cert", "heartbleed", "CCS", "ROBOT",
             "secure_renego", "CRIME_TLS", "POODLE_SSL", "fallback_SCSV", "SWEET32", "DROWN", "LOGJAM", "BEAST", "LUCKY13", "RC4", "scanTime"}
# What it finds fault with, or cannot look at, and why that is no fault of the relay.
EXPLAINED = {
    "cert_chain_of_trust": "the test has no certificate: the relay makes a self-signed one",
    "cert_revocation": "a self-signed certificate has no authority that could revoke it",
    "cipher_order": "all suites are AEAD with forward secrecy (sslyze's row), and the client knows which is fast for it",
    "engine_problem": "about Debian's OpenSSL, which has no GOST",
    "sessionresumption_ticket": "its check of tickets cannot connect where there is STARTTLS",
}
HARMLESS = ("OK", "INFO", "DEBUG", "LOW")


def run(table, relay):
    ports = (relay.submission, True), (relay.submissions, False)
    for scan, rows in ((check, ROWS[:2]), (testssl, ROWS[2:])):
        for row, (port, starttls) in zip(rows, ports):
            table.run(row, lambda scan=scan, port=port, starttls=starttls: scan(port, starttls, relay.folder))


def testssl(port, starttls, folder):
    found = folder / f"testssl-{port}.json"
    protocol = ["--starttls", "smtp"] if starttls else []
    command = ["testssl", "--quiet", "--color", "0", "--warnings", "off", "--nodns", "none", "--ip", "127.0.0.1", *PARTS, *protocol]
    done = subprocess.run([*command, "--jsonfile", str(found), f"localhost:{port}"], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=400, check=False)
    assert found.exists(), f"testssl.sh wrote nothing: {(done.stdout + done.stderr)[-500:]}"
    findings = json.loads(found.read_text())
    missing = LOOKED_AT - {finding["id"] for finding in findings}
    assert not missing, f"testssl.sh did not look at {', '.join(sorted(missing))}"
    serious = [finding for finding in findings if finding["severity"] not in HARMLESS]
    for finding in serious:
        print(f"    {finding['severity']} {finding['id']}: {finding['finding']} ({EXPLAINED.get(finding['id'], 'not explained')})")
    problems = [f"{finding['id']}: {finding['finding']}" for finding in serious if finding["id"] not in EXPLAINED]
    assert not problems, ", ".join(problems)


def check(port, starttls, _folder):
    protocol = ProtocolWithOpportunisticTlsEnum.SMTP if starttls else None
    request = ServerScanRequest(
        server_location=ServerNetworkLocation(hostname="localhost", ip_address="127.0.0.1", port=port),
        network_configuration=ServerNetworkConfiguration(
            tls_server_name_indication="localhost", tls_opportunistic_encryption=protocol, network_timeout=20),
        scan_commands={ScanCommand(name) for name in {*OLD, *NEW, *WRONG, *RIGHT, "robot", "elliptic_curves"}},
    )
    scanner = Scanner(per_server_concurrent_connections_limit=4)
    scanner.queue_scans([request])
    [result] = scanner.get_results()
    assert result.scan_result, f"sslyze could not connect: {result.connectivity_error_trace}"
    found = lambda name: getattr(result.scan_result, name).result
    problems = []
    for name in OLD:
        problems += [f"{name}: {suite.cipher_suite.name}" for suite in found(name).accepted_cipher_suites]
    for name in NEW:
        accepted = found(name).accepted_cipher_suites
        assert accepted, f"no suite of {name}"
        problems += [f"{name}: {suite.cipher_suite.name} has no ephemeral key" for suite in accepted if suite.ephemeral_key is None]
    problems += [f"{name}: {fact}" for name, fact in WRONG.items() if getattr(found(name), fact)]
    problems += [f"{name}: not {fact}" for name, fact in RIGHT.items() if not getattr(found(name), fact)]
    if not found("robot").robot_result.name.startswith("NOT_VULNERABLE"):
        problems.append("robot")
    assert not problems, ", ".join(problems)
