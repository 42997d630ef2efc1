"""The channel-variable contract, as dialplan/README.md and the dialplan itself have it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pbx_stir.pbx import hook
from pbx_stir.services import treatment
from pbx_stir.services.call import Reason

DIALPLAN = Path(__file__).resolve().parents[2] / "dialplan"
CONF = (DIALPLAN / "asterisk/pbx-stir.conf").read_text()
README = (DIALPLAN / "README.md").read_text()


def test_every_reason_has_its_row() -> None:
    """No word of the closed list is without explanation, and no other word is explained."""
    table = README[README.index("### STIR_REASON") : README.index("### The mark")]
    assert set(re.findall(r"(?m)^\| `([a-z0-9-]+)` \|", table)) == {r.value for r in Reason}


def test_answer_has_the_names_that_treatment_gives() -> None:
    """What the services say has its place in the packed answer, in the same order."""
    assert hook.ANSWER_FIELDS == treatment.NAMES


@pytest.mark.parametrize("name", treatment.NAMES)
def test_dialplan_unpacks_each_field_at_its_place(name: str) -> None:
    """The n-th field of an answer becomes the variable that stands n-th in the contract."""
    place = hook.ANSWER_FIELDS.index(name) + 2
    cut = rf"{name}=\$\{{CUT\((?:STIR_ANSWER|stir_answer),\|,([0-9]+)\)\}}"
    unpacked = set(re.findall(cut, CONF))
    assert unpacked == {str(place)}


def test_dialplan_clears_every_variable() -> None:
    """The outbound hook of a call that came in leaves nothing of what was said of it."""
    clear = CONF[CONF.index("[pbx-stir-clear]") : CONF.index("[pbx-stir-clean]")]
    assert all(f"{name}=" in clear for name in (*treatment.NAMES, "STIR_MS"))


def test_readme_names_every_global_that_the_dialplan_reads() -> None:
    """A switch that nobody knows of is none."""
    read = set(re.findall(r"\$\{GLOBAL\((STIR_[A-Z_]+?)_?(?:\$\{[^}]*\})?\)", CONF))
    assert all(name in README for name in read)


def test_no_line_is_longer_than_asterisk_reads() -> None:
    """Asterisk cuts a line of configuration at 8,191 octets."""
    assert max(len(line) for line in CONF.splitlines()) < 8000
