"""One call that asks again, on real PBXs with real listeners and a real CPS."""

from __future__ import annotations

import json
import time

import pytest

from lab import stage
from lab.dialplans import COMPANY
from lab.stage import Stage

pytestmark = pytest.mark.pbx

# each phone's leg asks again, as a second trunk context or a forwarding extension would
AGAIN = COMPANY.replace(
    "[phone]\nexten => _X!,1,Ringing()\n",
    "[phone]\nexten => _X!,1,Gosub(pbx-stir-inbound,s,1(carrier,${EXTEN}))\n"
    " same => n,Set(CDR(accountcode)=${STIR_VERSTAT})\n same => n,Ringing()\n",
).replace(
    "Dial(Local/${EXTEN}@phone/n,10)", "Dial(Local/${EXTEN}@phone/n&Local/${EXTEN}@phone/n,10)"
)


def test_forks_and_local_channels_are_one_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """The legs of a ring group ask for the same call and get its verdict; a stranger does not."""
    assert AGAIN.count("pbx-stir-inbound") == 2
    assert "&Local" in AGAIN
    monkeypatch.setattr(stage, "COMPANY", AGAIN)
    with Stage(stage.software()) as running:
        orig, dest = running.a.number(1), running.b.number(0)
        log = running.b.folder / "calls.jsonl"

        def reasons(count: int) -> list[str]:
            give_up_at = time.monotonic() + 10
            while time.monotonic() < give_up_at:
                text = log.read_text() if log.exists() else ""
                lines = [json.loads(line) for line in text.splitlines()]
                calls = [line for line in lines if line["event"] == "call"]
                if len(calls) >= count:
                    return [call["reason"] for call in calls]
                time.sleep(0.05)
            raise AssertionError(running.pbx_b.log[-2000:])

        office = f"channel originate Local/{dest}*{orig}@office/n application Wait 3"
        running.pbx_a.cli(office)
        assert reasons(3) == ["verified"] * 3
        stranger = f"channel originate Local/{dest}*{orig}@anywhere/n application Wait 3"
        running.pbx_m.cli(stranger)
        assert reasons(4)[3] == "replayed"
