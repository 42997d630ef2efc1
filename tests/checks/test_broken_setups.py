"""More than twenty set-ups, each broken in its own way: each gives its own code, and no other.

What is around them is real where that is cheap: files, certificates, a CPS with its TLS, an https
server; the PBX is a double.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from lab.companies import Authority
from pbx_stir.checks import plan
from pbx_stir.checks.finding import Severity
from pbx_stir.stir.tnauthlist import TnAuthList
from pbx_stir.used_database import UsedDatabase
from tests.checks.setups import Setup, files_of, looked
from tests.pbx_room.fake_asterisk import FakeAsterisk

Break = Callable[[Setup, FakeAsterisk], object]


def _global(name: str, value: str) -> Break:
    return lambda setup, pbx: pbx.variables.update({f"GLOBAL({name})": value})


def _change(old: str, new: str) -> Break:
    return lambda setup, pbx: setup.change(old, new)


def _foreign(setup: Setup, pbx: FakeAsterisk) -> None:
    setup.certify(setup.company.numbers, Authority.new(setup.folder, "Foreign"))


def _other_key(setup: Setup, pbx: FakeAsterisk) -> None:
    (setup.folder / "acme.key").write_bytes(setup.office.folder.joinpath("alice.key").read_bytes())


def _half(setup: Setup, pbx: FakeAsterisk) -> None:
    setup.certify(TnAuthList(ranges=((setup.company.first, 50),)))


def _damaged(setup: Setup, pbx: FakeAsterisk) -> None:
    UsedDatabase(setup.folder / "state/used.sqlite").close()
    (setup.folder / "state/used.sqlite").write_bytes(b"damaged" * 1000)


def _old_keys(setup: Setup, pbx: FakeAsterisk) -> None:
    (setup.folder / "state/keys").rename(setup.folder / "state/old")


def _silent(setup: Setup, pbx: FakeAsterisk) -> None:
    pbx.denied = {"UserEvent"}


BROKEN: dict[str, Break] = {
    "trunk-wrong": _change('country_code = "1"', 'country_code = "1"\npresent = "x"'),
    "country-code-wrong": _change('country_code = "1"', 'country_code = "44"'),
    "call-log-wrong": _change('file = "calls.jsonl"', 'file = "none/calls.jsonl"'),
    "key-mismatch": _other_key,
    "key-readable-by-all": lambda setup, pbx: (setup.folder / "acme.key").chmod(0o644),
    "secret-readable-by-all": lambda setup, pbx: (setup.folder / "pbx.secret").chmod(0o644),
    "config-writable": lambda setup, pbx: setup.company.config.chmod(0o666),
    "state-dir-open": lambda setup, pbx: (setup.folder / "state").chmod(0o755),
    "state-file-open": lambda setup, pbx: (setup.folder / "state/keys").chmod(0o755),
    "used-wrong": _damaged,
    "file-unreadable": lambda setup, pbx: (setup.folder / "acme.pem").unlink(),
    "certificate-untrusted-here": _foreign,
    "numbers-partly-covered": _half,
    "anchor-not-authority": _change('trust = ["', 'trust = ["acme.pem", "'),
    "anchors-wrong": _change('trust = ["', 'trust = ["calls.jsonl", "'),
    "x5u-unreachable": lambda setup, pbx: setup.serve_nothing(),
    "x5u-other-certificate": lambda setup, pbx: setup.serve(b"<html>"),
    "ami-login-refused": lambda setup, pbx: (setup.folder / "pbx.secret").write_text("hunter2"),
    "ami-rights": _silent,
    "dialplan-missing": lambda setup, pbx: pbx.variables.update(
        {"DIALPLAN_EXISTS(pbx-stir-inbound,s,1)": "0"}
    ),
    "dialplan-version": lambda setup, pbx: pbx.variables.update(
        {key: "0" for key in pbx.variables if "version" in key}
    ),
    "module-missing": lambda setup, pbx: pbx.variables.update({"IFMODULE(func_cut.so)": "0"}),
    "ami-user-differs": _global("STIR_AMI_USER", "asterisk"),
    "heartbeat-missing": _global("STIR_HEARTBEAT", ""),
    "switch-unknown": _global("STIR_OUT_carrier", "yes"),
    "emergency-held": _change(
        "[outgoing]",
        '[numbers]\nemergency = ["911", "933", "112", "999", "000", "110"]\n[outgoing]',
    ),
    "emergency-signed": _global("STIR_EMERGENCY", "911|4711"),
    "trunk-unknown": lambda setup, pbx: setup.log({"trunk": "carrier-1"}),
    "caller-id-unreadable": lambda setup, pbx: setup.log({"orig": "101"}),
    "caller-id-foreign": lambda setup, pbx: setup.log({"orig": "+16465550100"}),
    "called-number-unknown": lambda setup, pbx: setup.log({"direction": "in", "dest": "4711"}),
    "cps-unreachable": lambda setup, pbx: setup.use("https://127.0.0.1:1"),
    "record-other-key": _old_keys,
}
# where one thing cannot be wrong without another
BESIDES = {
    "call-log-wrong": set(),
    "used-wrong": set(),
    "certificate-untrusted-here": {"record-missing"},
    "file-unreadable": {"round-trip-skipped"},
    "key-mismatch": {"round-trip-skipped"},
    "key-readable-by-all": {"round-trip-skipped"},
    "record-other-key": {"no-encryption-key"},
}


async def broken(setup: Setup) -> tuple[set[str], set[str]]:
    """Codes of what there is to do, and of notes."""
    loaded = setup.loaded
    found = [*files_of(loaded), *await looked(plan.connections(loaded))]
    notes = {one.code for one in found if one.severity is Severity.NOTE}
    for one in found:
        assert one.what
        assert one.where
        assert one.hint
    return {one.code for one in found} - notes, notes


async def test_a_healthy_setup_gives_none(published: Setup) -> None:
    """Not even a note."""
    assert await broken(published) == (set(), set())


@pytest.mark.parametrize("code", BROKEN)
async def test_each_gives_its_code(published: Setup, pbx: FakeAsterisk, code: str) -> None:
    """And no other one, but for what follows from it; with its place, and what to do."""
    BROKEN[code](published, pbx)
    found, notes = await broken(published)
    besides = BESIDES.get(code, set())
    assert code in found | notes
    assert found - {code} <= besides
    assert notes - {code} <= besides


def test_there_are_enough() -> None:
    """More than twenty, by more than twenty codes."""
    assert len(BROKEN) > 20
