"""What people read on the page: nothing of it calls a caller a fraud."""

from __future__ import annotations

import json
import re
from pathlib import Path

from pbx_stir.board import feed, words
from pbx_stir.reasons import OUTBOUND
from pbx_stir.services import steps
from pbx_stir.services.call import Reason

ASSETS = Path(words.__file__).parent / "assets"


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
    said = json.dumps([words.tables()["verdicts"], words.STEPS, words.ATTESTATIONS])
    said = said.replace("no sign of fraud", "")
    assert not re.search(r"fraud|scam|spoof|fake|suspicious|danger", said, re.IGNORECASE)
    assert "no sign of fraud" in words.VERDICTS["none"].meaning
    assert "no sign of fraud" in words.NO_SIGN
    assert "either may be the genuine one" in words.VERDICTS["contested"].meaning


def test_the_page_gets_all_of_it() -> None:
    """As JSON, by direction and word."""
    tables = json.loads(json.dumps(words.tables()))
    assert tables["reasons"]["in"]["no-passport"]["short"].startswith("no signature came")
    stale = OUTBOUND[Reason.STALE]
    assert tables["reasons"]["out"]["stale"]["short"] == stale.short
    assert tables["reasons"]["out"]["stored"]["advice"] == ""
    assert "`" not in json.dumps(tables["reasons"])
    assert set(tables["reasons"]["in"]) == {one.value for one in Reason}
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
