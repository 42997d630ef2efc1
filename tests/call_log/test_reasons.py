"""What reason words mean: every one has its text, here and in the documentation."""

from __future__ import annotations

from pathlib import Path

from pbx_stir.call_log.reasons import BOTH, IN, OUT, explanation, markdown, words
from pbx_stir.services.call import Reason

TROUBLESHOOTING = Path(__file__).resolve().parents[2] / "docs/troubleshooting.md"


def test_every_reason_has_its_text() -> None:
    """And no text is for a word that there is not."""
    assert {word for word, _, _ in words()} == {reason.value for reason in Reason}


def test_a_word_means_what_it_does_for_its_direction() -> None:
    """Two words mean one thing inbound and another outbound."""
    for word in ("stale", "broken-diversion"):
        assert explanation(word, IN) != explanation(word, OUT)
    assert explanation("no-cps", OUT) == explanation("no-cps", IN)
    assert explanation("gibberish", IN) is None


def test_no_text_accuses() -> None:
    """Absence of a signature is no sign of fraud (RFC 8816 section 7.2)."""
    for word, direction, text in words():
        assert direction in {IN, OUT, BOTH}
        assert text.meaning.endswith(".")
        assert text.remedy.endswith(".")
        if word not in {"bad-signature", "no-passport"}:
            assert "fraud" not in text.meaning
            assert "forged" not in text.meaning


def test_the_documentation_has_the_same_texts() -> None:
    """docs/troubleshooting.md is made of this table: print(reasons.markdown()) gives it."""
    assert markdown() in TROUBLESHOOTING.read_text()
