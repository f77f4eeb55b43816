"""sslyze looks at the TLS of both submission ports."""

from sslyze import (
    ProtocolWithOpportunisticTlsEnum,
    Scanner,
    ServerNetworkConfiguration,
    ServerNetworkLocation,
    ServerScanRequest,
    ScanCommand,
)

ROWS = ["sslyze looks at 587 STARTTLS", "sslyze looks at 465 TLS"]

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


def run(table, relay):
    for row, port, starttls in zip(ROWS, (relay.submission, relay.submissions), (True, False)):
        table.run(row, lambda port=port, starttls=starttls: check(port, starttls))


def check(port, starttls):
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
