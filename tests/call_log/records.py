"""Records to write, and what was written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pbx_stir.services.call import Direction, Outcome, Reason, Verstat
from pbx_stir.services.reception import Record
from pbx_stir.services.used import Claim
from tests.services.world import ALICE, BOB, NOW, call

CLAIM = Claim("pbx", "1.1", "1.1", "carrier", ALICE, BOB, "id1")


def record(outcome: Outcome, call_id: str = "id2", **changes: object) -> Record:
    """A record of an inbound call, unless the outcome is an outbound one's."""
    direction = Direction.OUTBOUND if outcome.status else Direction.INBOUND
    return Record(call_id, NOW, call(direction, **changes), outcome, 3.14159, released=True)


def passed(**changes: object) -> Outcome:
    """A call that passed."""
    fields: dict[str, Any] = {
        "reason": Reason.VERIFIED,
        "verstat": Verstat.PASSED,
        "orig": ALICE,
        "dest": BOB,
        "signer": "Company A",
        "used_key": "k",
        "claim": CLAIM,
    }
    return Outcome(**(fields | changes))


def lines(path: Path) -> list[dict[str, Any]]:
    """What stands in the file."""
    return [json.loads(line) for line in path.read_text().splitlines()]
