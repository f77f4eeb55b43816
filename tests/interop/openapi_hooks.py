"""Loaded by Schemathesis: writes the status of every answer to the file in RELEVO_STATUSES."""

import itertools
import os

import schemathesis

LOG = open(os.environ["RELEVO_STATUSES"], "a", buffering=1, encoding="utf-8")
NUMBER = itertools.count()


@schemathesis.hook
def before_call(context, case, kwargs):
    """Three of four requests with an idempotency key get one that is new: otherwise all but the first are 409."""
    key = (case.headers or {}).get("Idempotency-Key")
    number = next(NUMBER)
    if key and len(key) < 240 and number % 4:
        case.headers["Idempotency-Key"] = f"{key}-{number}"


@schemathesis.hook
def after_call(context, case, response):
    LOG.write(f"{case.operation.label} {response.status_code}\n")


@schemathesis.serializer("application/x-ndjson", "message/rfc822")
def lines(_, value):
    """A text goes as it is."""
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "replace")
