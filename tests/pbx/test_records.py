"""The PBX's own records, as the samples that are shipped set them up: no log of ours is needed."""

from __future__ import annotations

import csv
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from lab import asterisk
from tests.pbx.scene import (
    EXTENSIONS,
    UNSIGNED,
    Caller,
    Desk,
    calling,
    eventually,
    listening,
)
from tests.pbx.software import software_of

pytestmark = pytest.mark.pbx

SAMPLES = Path(__file__).resolve().parents[2] / "dialplan/asterisk"
# of cdr_custom.conf.sample: twelve columns as Master.csv has them, then ours
OURS = (
    *("userfield", "stir_verstat", "stir_reason", "stir_attest", "stir_signer", "stir_ms"),
    *("stir_id", "stir_status", "stir_out_reason", "stir_out_ms", "stir_out_id"),
    "stir_diverted_by",
)
SOURCE = 1
CEL = "[mappings]\nMaster.csv => ${eventtype},${userdeftype},${eventextra}\n"


@pytest.fixture(scope="module", params=["forky", "bullseye"], ids=["asterisk22", "asterisk16"])
def sampled(request: pytest.FixtureRequest) -> Iterator[asterisk.Instance]:
    """An Asterisk whose records are configured by the samples alone."""
    software = software_of(str(request.param))
    with tempfile.TemporaryDirectory(prefix="pbx-stir-") as folder:
        files = {
            "cdr_custom.conf": (SAMPLES / "cdr_custom.conf.sample").read_text(),
            "cel.conf": (SAMPLES / "cel.conf.sample").read_text(),
            "cel_custom.conf": CEL,
        }
        with asterisk.Instance(
            software, Path(folder), "sampled", extensions=EXTENSIONS, files=files
        ) as pbx:
            yield pbx


@pytest.fixture
async def sampled_caller(sampled: asterisk.Instance) -> AsyncIterator[Caller]:
    """A caller there."""
    async with calling(sampled) as desk:
        yield desk


def rows(pbx: asterisk.Instance, name: str) -> list[list[str]]:
    """The lines of a CSV file of Asterisk's, in whichever folder this version has it."""
    found: list[list[str]] = []
    for path in (pbx.directory / "log").glob(f"{name}?custom/Master.csv"):
        with path.open(newline="", errors="replace") as stream:
            found += csv.reader(stream)
    return found


async def record_of(pbx: asterisk.Instance, orig: str) -> dict[str, str]:
    """Our columns of the last call of ``orig``, once it is written."""

    def found() -> list[list[str]]:
        return [row for row in rows(pbx, "cdr") if row[SOURCE] == orig]

    await eventually(lambda: bool(found()))
    return dict(zip(OURS, found()[-1][-len(OURS) :], strict=True))


async def test_the_sample_has_the_verdict_in_its_columns(sampled_caller: Caller) -> None:
    """Of an inbound call, with the id by which its line in the call log is explained."""
    pbx = sampled_caller.instance
    async with listening(pbx, Desk()):
        seen = await sampled_caller.call("in", "16465550100", ORIG="12125550141")
    row = await record_of(pbx, "12125550141")
    assert row["stir_verstat"] == "TN-Validation-Passed"
    assert row["stir_reason"] == "verified"
    assert row["stir_id"] == seen["Id"]
    assert row["userfield"].startswith("verstat=TN-Validation-Passed reason=verified")
    assert row["stir_status"] == ""


async def test_of_a_call_without_a_passport_there_is_what_there_is(sampled_caller: Caller) -> None:
    """Verdict, reason and id in the record and in its leg, and the rest empty."""
    desk = Desk()
    desk.verdict = UNSIGNED
    async with listening(sampled_caller.instance, desk):
        for context in ("in", "ring"):
            seen = await sampled_caller.call(context, "16465550100", ORIG="12125550145")
            assert (seen["Verstat"], seen["Reason"]) == ("No-TN-Validation", "no-passport")
            assert (seen["Orig"], seen["Dest"]) == ("12125550100", "16465550100")
            assert (seen["Id"], seen["Attest"], seen["Signer"]) == ("log-3", "", "")
            assert int(seen["Ms"]) >= 0
            if context == "ring":
                # the leg has a record of its own, which may come last
                continue
            row = await record_of(sampled_caller.instance, "12125550145")
            assert (row["stir_verstat"], row["stir_reason"]) == ("No-TN-Validation", "no-passport")
            assert (row["stir_id"], row["stir_attest"], row["stir_signer"]) == ("log-3", "", "")
            assert row["stir_ms"].isdecimal()


async def test_nothing_of_a_verified_call_is_left_where_the_next_is_not(
    sampled_caller: Caller,
) -> None:
    """Of two hooks on one channel the record and the variables say what the second one said."""
    desk = Desk()
    async with listening(sampled_caller.instance, desk):
        tag = await sampled_caller.place("again", "16465550100", ORIG="12125550146", PAUSE="0.3")
        await desk.wait_calls(1)
        desk.verdict = UNSIGNED
        seen = await sampled_caller.seen(tag)
    assert len(desk.calls) == 2
    assert (seen["Reason"], seen["Attest"], seen["Signer"]) == ("no-passport", "", "")
    row = await record_of(sampled_caller.instance, "12125550146")
    assert (row["stir_verstat"], row["stir_reason"]) == ("No-TN-Validation", "no-passport")
    assert (row["stir_id"], row["stir_attest"], row["stir_signer"]) == ("log-3", "", "")


async def test_the_sample_has_the_status_in_its_columns(sampled_caller: Caller) -> None:
    """Of an outbound call."""
    pbx = sampled_caller.instance
    async with listening(pbx, Desk()):
        seen = await sampled_caller.call("out", "16465550101", ORIG="12125550142")
    row = await record_of(pbx, "12125550142")
    assert (row["stir_status"], row["stir_out_reason"]) == ("stored", "stored")
    assert row["stir_out_id"] == seen["Id"]
    assert row["stir_verstat"] == ""


async def test_the_record_says_why_where_nobody_listened(sampled_caller: Caller) -> None:
    """Such a call has no line in the call log: the record is all there is."""
    await sampled_caller.call("in", "16465550100", ORIG="12125550143")
    row = await record_of(sampled_caller.instance, "12125550143")
    assert (row["stir_verstat"], row["stir_reason"]) == ("No-TN-Validation", "listener-down")
    assert row["stir_id"] == ""


async def test_the_sample_has_channel_events(sampled_caller: Caller) -> None:
    """STIR_VERIFY and STIR_SIGN, with verdict and reason."""
    pbx = sampled_caller.instance
    async with listening(pbx, Desk()):
        await sampled_caller.call("in", "16465550100", ORIG="12125550144")
        await sampled_caller.call("out", "16465550101", ORIG="12125550144")

    def said() -> str:
        return "\n".join(",".join(row) for row in rows(pbx, "cel") if "STIR_" in ",".join(row))

    await eventually(lambda: "STIR_SIGN" in said() and "STIR_VERIFY" in said())
    assert "TN-Validation-Passed verified" in said()
    assert "stored stored" in said()
