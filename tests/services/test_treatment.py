"""What the dialplan is told."""

from __future__ import annotations

import re

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
