"""What people read: every reason has its words, and none calls a caller a fraud."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from pbx_stir.board import feed, words
from pbx_stir.services import steps
from pbx_stir.services.call import Direction, Reason

ASSETS = Path(words.__file__).parent / "assets"


@pytest.mark.parametrize("direction", Direction)
@pytest.mark.parametrize("reason", Reason)
def test_every_reason_has_words(reason: Reason, direction: Direction) -> None:
    """A clause that follows a verdict's word, and a sentence that explains it."""
    why = words.of(reason, direction)
    assert why.short
    assert not why.short.endswith(".")
    assert why.short[0].islower()
    assert why.meaning.endswith(".")
    assert why.advice == "" or why.advice.endswith(".")


def test_every_verdict_has_words() -> None:
    """Those that the feed gives, and those that the page makes of them."""
    assert {*feed.VERDICTS.values(), feed.CONTESTED, feed.OTHER} == set(words.VERDICTS)
    shown = [one.word for one in words.VERDICTS.values()]
    assert len(set(shown)) == len(shown)


def test_every_step_has_words() -> None:
    """Where a PASSporT was turned down is said in words."""
    assert set(steps._STEPS) <= set(words.STEPS)


def test_not_verified_is_not_fraud() -> None:
    """No word says fraud but to say that it is no sign of one."""
    texts = [*words.INBOUND.values(), *words.OUTBOUND.values(), *words.BOTH.values()]
    said = " ".join(f"{one.short} {one.meaning} {one.advice}" for one in texts)
    assert not re.search(r"fraud|scam|spoof|fake|suspicious|danger", said, re.IGNORECASE)
    assert "no sign of fraud" in words.VERDICTS["none"].meaning
    assert "no sign of fraud" in words.NO_SIGN
    assert "most calls have none" in words.INBOUND[Reason.NO_PASSPORT].short
    assert "either may be the genuine one" in words.VERDICTS["contested"].meaning


def test_the_page_gets_all_of_it() -> None:
    """As JSON, by direction and word."""
    tables = json.loads(json.dumps(words.tables()))
    assert tables["reasons"]["in"]["no-passport"]["short"].startswith("no signature came")
    assert tables["reasons"]["out"]["stale"]["short"] == words.OUTBOUND[Reason.STALE].short
    assert tables["verdicts"]["none"]["word"] == "Not verified"


def test_every_verdict_has_a_sign_and_colours() -> None:
    """An icon and colours of its own for each verdict: what is shown is never a colour alone."""
    icons = (ASSETS / "dom.js").read_text()
    css = (ASSETS / "board.css").read_text()
    paths = re.findall(r"^  (\w+): (\[.*\]),$", icons, re.MULTILINE)
    assert set(words.VERDICTS) <= {name for name, _ in paths}
    assert len({path for _, path in paths}) == len(paths)
    for verdict in words.VERDICTS:
        assert f'[data-verdict="{verdict}"]' in css
