"""Lines of a call log, as they stand in a file."""

from __future__ import annotations

import json
from typing import Any

from pbx_stir.call_log.reading import CallLine, parsed

AT = "2026-11-22T08:14:03.120+00:00"


def octets(**changes: Any) -> bytes:
    """One line, without its end: an inbound call that passed, unless ``changes`` say otherwise."""
    whole = {
        "event": "call",
        "time": AT,
        "id": "3f2a9c0e11d2b4a7",
        "pbx": "pbx-1",
        "uniqueid": "1795309815.1",
        "linkedid": "1795309815.1",
        "direction": "in",
        "mode": "on",
        "trunk": "carrier-1",
        "orig": "12125551234",
        "dest": "16465550000",
        "reason": "verified",
        "ms": 7.5,
        "decided_ms": 6.5,
        "budget_ms": 2000,
        "released": True,
        "verstat": "TN-Validation-Passed",
        "attest": "A",
        "signer": "Company A",
    }
    return json.dumps(whole | changes, separators=(",", ":")).encode()


def line(**changes: Any) -> CallLine:
    """The same, read."""
    found = parsed(octets(**changes))
    assert found is not None
    return found
