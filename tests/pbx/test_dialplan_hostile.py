"""Hostile callers and answers at the dialplan on real Asterisks: nothing of them is injected."""

from __future__ import annotations

import time
from urllib.parse import quote

import pytest

from tests.pbx.scene import Caller, Desk, listening

pytestmark = pytest.mark.pbx

HOSTILE = [
    "a,Nonce: 0000000000000000",
    "x\r\nNonce: 0000000000000000\r\n\r\nAction: Originate",
    "),UserEvent(PbxStir",
    "${GLOBAL(STIR_OUT_on-1)}$[1+1]",
    '"quoted" (bracket',
    "[unclosed",
    "\\",
    "Ünïcode",
    "9" * 400,
    "%00%0a%25",
]


@pytest.mark.parametrize("text", HOSTILE)
async def test_hostile_caller_injects_nothing(caller: Caller, text: str) -> None:
    """Whatever a caller calls himself or dials, the announcement has its one set of fields."""
    desk = Desk()
    async with listening(caller.instance, desk):
        encoded = quote(text, safe="")
        seen = await caller.call("in", "16465550100", ORIG=encoded, NAME=encoded)
    assert seen["Reason"] == "verified"
    call = desk.calls[0]
    assert len(desk.calls) == 1
    assert (call.dest, call.trunk) == ("16465550100", "on-1")
    assert 1900 < call.budget_ms <= 2000
    assert call.nonce != "0" * 16
    assert not any(c in call.orig for c in "\r\n")


@pytest.mark.parametrize("name", ["[V] Bank", "[v]Bank", "[[V]] Bank", "[V", "Ban]k"])
async def test_mark_cannot_be_sent_along(caller: Caller, name: str) -> None:
    """A caller who is not verified has no square brackets in his name."""
    seen = await caller.call("in", "16465550100", NAME=quote(name))
    assert seen["Reason"] == "listener-down"
    assert "[" not in seen["Name"]
    assert "]" not in seen["Name"]
    assert seen["Name"].replace("-", "") == name.replace("[", "").replace("]", "")


@pytest.mark.parametrize(
    ("mark", "name", "shown"),
    [
        ("OK:", "OK: Bank", " Bank"),
        ("OK:", "OKOK:: Bank", " Bank"),
        ("(V)", "(V) Bank", " Bank"),
        ("(V)", "(V(V)) B(V)ank", " Bank"),
        ("OK:", "Bank", "Bank"),
        ("-V-", "[V-V-", "V-"),
        ("✔", "✔✔Bank", "Bank"),
        ("[OK]", "[OK] Bank", "-OK- Bank"),
        (
            "",
            "\N{FULLWIDTH LEFT SQUARE BRACKET}V\N{FULLWIDTH RIGHT SQUARE BRACKET} Bank",
            "-V- Bank",
        ),
    ],
)
async def test_own_mark_cannot_be_sent_along(
    caller: Caller, mark: str, name: str, shown: str
) -> None:
    """A mark of one's own is taken out of every name, however it is put together."""
    await caller.set_global("MARK", mark.encode().decode("latin-1"))
    try:
        assert (await caller.call("in", "16465550100", NAME=quote(name)))[
            "Name"
        ].strip() == shown.strip()
        async with listening(caller.instance, Desk()):
            seen = await caller.call("in", "16465550100", NAME=quote(name))
        assert seen["Name"].split() == [mark or "[V]", *shown.split()]
    finally:
        await caller.set_global("MARK", "")


async def test_values_are_whitelisted_at_the_door(caller: Caller) -> None:
    """A value with foreign characters arrives empty, whoever let it through."""

    class Careless(Desk):
        async def receive(self, call, pbx):  # type: ignore[no-untyped-def]
            given = [("STIR_VERSTAT", "No-TN-Validation"), ("STIR_REASON", "replayed")]
            given += [("STIR_SIGNER", "a|b"), ("STIR_ID", "x\r\ny"), ("STIR_ATTEST", "A")]
            await pbx.answer(call, given, time.monotonic() + 1)

    async with listening(caller.instance, Careless()):
        seen = await caller.call("in", "16465550100")
    assert (seen["Reason"], seen["Signer"], seen["Id"], seen["Attest"]) == ("replayed", "", "", "A")
