"""What reason words mean: each has its text, for both directions, and none accuses."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pbx_stir.reasons import EITHER, INBOUND, OUTBOUND, explanation, of_word
from pbx_stir.services.call import Direction, Reason

TEXTS = [*INBOUND.items(), *OUTBOUND.items(), *EITHER.items()]


@pytest.mark.parametrize("direction", Direction)
@pytest.mark.parametrize("reason", Reason)
def test_every_reason_has_its_text(reason: Reason, direction: Direction) -> None:
    """A clause that follows a verdict's word, and sentences that explain it."""
    told = explanation(reason, direction)
    assert told.short
    assert told.short[0].islower()
    assert not told.short.endswith(".")
    for text in (told.meaning, told.remedy, *told.causes):
        assert text.endswith(".")


def test_a_word_means_what_it_does_for_its_direction() -> None:
    """Some words mean one thing inbound and another outbound."""
    for reason in (Reason.STALE, Reason.BROKEN_DIVERSION, Reason.MALFORMED):
        ways = [explanation(reason, one) for one in Direction]
        assert ways[0] != ways[1]
        assert [way for way, _ in of_word(reason.value)] == ["in", "out"]
    for one in Direction:
        assert explanation(Reason.NO_CPS, one) == OUTBOUND[Reason.NO_CPS]


def test_a_word_that_is_none_of_ours_has_no_text() -> None:
    """Whoever wrote it."""
    assert of_word("gibberish") == ()
    assert of_word("") == ()


@pytest.mark.parametrize("reason", [Reason.ORIG_MISMATCH, Reason.DEST_MISMATCH])
def test_a_number_that_is_none_has_its_words(reason: Reason) -> None:
    """A call that presents none has them too: the dialplan's page says so as well."""
    rows = (Path(__file__).parents[2] / "dialplan/README.md").read_text().splitlines()
    [row] = [one for one in rows if one.startswith(f"| `{reason.value}` |")]
    for text in (row, INBOUND[reason].meaning):
        assert "or the call" in text
        assert "number is no telephone number" in text


def test_no_word_stands_twice() -> None:
    """What is said of both directions is said of neither by itself."""
    assert not set(EITHER) & (set(INBOUND) | set(OUTBOUND))


@pytest.mark.parametrize(("reason", "told"), TEXTS)
def test_no_text_accuses(reason: Reason, told: object) -> None:
    """Absence of a signature is no sign of fraud (RFC 8816 section 7.2)."""
    said = str(told).replace("no sign of fraud", "")
    assert not re.search(r"fraud|scam|spoof|fake|suspicious|danger", said, re.IGNORECASE)
    if reason is not Reason.BAD_SIGNATURE:
        assert "forged" not in said
    if reason is Reason.NO_PASSPORT:
        assert "no sign of fraud" in str(told)
        assert "most calls have none" in str(told)
