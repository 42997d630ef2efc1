"""What the dialplan is told."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbx_stir.services import treatment
from pbx_stir.services.call import Outcome, Reason, Status, Verstat


def test_every_name_is_always_there() -> None:
    """Nothing of an earlier hook survives: what does not apply is said to be empty."""
    told = treatment.variables(Outcome(Reason.NO_KEY, Status.SKIPPED), "id1")
    assert tuple(name for name, _ in told) == treatment.NAMES
    assert dict(told) == {
        "STIR_STATUS": "skipped",
        "STIR_VERSTAT": "",
        "STIR_REASON": "no-key",
        "STIR_ATTEST": "",
        "STIR_ORIG": "",
        "STIR_DEST": "",
        "STIR_SIGNER": "",
        "STIR_ID": "id1",
        "STIR_NAME": "",
        "STIR_CALL_REASON": "",
        "STIR_DIVERTED_BY": "",
    }


@given(st.text())
def test_nothing_foreign_reaches_a_pbx(name: str) -> None:
    """Whatever a certificate's owner calls himself, only whitelisted characters come out."""
    told = dict(
        treatment.variables(
            Outcome(Reason.BAD_SIGNATURE, verstat=Verstat.FAILED, signer=name), "id"
        )
    )
    assert re.fullmatch(r"[A-Za-z0-9 .+@_-]{0,96}", told["STIR_SIGNER"])


def test_a_name_loses_only_what_is_foreign() -> None:
    """A name in letters stays readable."""
    assert treatment.whitelisted("Müller & Sons, Inc.\r\nX: 1") == "Mller  Sons Inc.X 1"


NAMES = {
    "Zoë Müller": "Zoë Müller",
    "O'Brien & Sons, Inc.": "O\N{RIGHT SINGLE QUOTATION MARK}Brien Sons Inc.",
    "株式会社 アリス": "株式会社 アリス",
    "אליס": "אליס",
    "Zoe\u0308": "Zoë",
    "[V] Bank": "V Bank",
    "\uff3bV\uff3d Bank": "V Bank",
    "a\u202eb\u200fc\u2066d": "abcd",
    "a\x00\r\n b\t\u00a0c": "a b c",
    '${SHELL(rm)}|x;y"z\\': "SHELLrmxyz",
    "\u3164\u115f": "",
    "q" + "\u0316" * 10: "q" + "\u0316" * 3,
    "\U0001f600 hi": "hi",
    "x" * 100: "x" * 64,
}


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_what_people_can_read(name: str) -> None:
    """Letters of any script stay; signs of dialplans, hidden and directing characters go."""
    assert treatment.readable(name) == NAMES[name]


@given(st.text(max_size=400))
def test_a_readable_name_stays_as_it_is(text: str) -> None:
    """Reading it again changes nothing; nothing in it is unprintable, and it is bounded."""
    once = treatment.readable(text)
    assert treatment.readable(once) == once
    assert len(once) <= treatment.LONGEST_NAME
    assert all(unicodedata.category(c)[0] in "LMN" or c in treatment.SIGNS for c in once)


def test_a_header_is_handed_over_encoded() -> None:
    """Percent-encoded; nothing where its URL has what a PBX may expand, or it is too long."""
    header = 'a.b.c;info=<https://x.example:8443/c.pem>;alg=ES256;ppt="shaken"'
    assert treatment.encoded(header) == (
        "a.b.c%3Binfo%3D%3Chttps%3A%2F%2Fx.example%3A8443%2Fc.pem%3E%3Balg%3DES256"
        "%3Bppt%3D%22shaken%22"
    )
    assert treatment.encoded("a;info=<https://x.example/${HOME}>") == ""
    assert treatment.encoded("a" * 3601) == ""


def test_names_are_shown_as_people_write_them() -> None:
    """The caller's name and reason are readable; every other value keeps to ASCII."""
    outcome = Outcome(
        Reason.ATTEST_B,
        verstat=Verstat.NONE,
        name="Zoë\u202e Müller",
        call_reason="株",
        signer="Zoë",
    )
    told = dict(treatment.variables(outcome, "i"))
    assert (told["STIR_NAME"], told["STIR_CALL_REASON"]) == ("Zoë Müller", "株")
    assert told["STIR_SIGNER"] == "Zo"
