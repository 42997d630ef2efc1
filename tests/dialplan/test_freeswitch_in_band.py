"""pbx_stir.lua puts the Identity header that it is given on the leg, and nothing else there."""

from __future__ import annotations

from typing import Any

import pytest

from pbx_stir.services import treatment
from tests.dialplan.stand_in import BEAT, CALL, PASSED, STORED

HEADER = 'a.b-_c;info=<https://x.example:8443/c.pem>;alg=ES256;ppt="div-o"'


def test_call_is_given_its_identity_header(run: Any) -> None:
    """One header, decoded, for the leg that leaves and no other, and not written twice."""
    encoded = treatment.encoded(HEADER)
    parts = [encoded[:20], encoded[20:]]
    done = run(
        "outbound", "carrier", state="CS_INIT", answer_ms=2, answer=f"{STORED}|1", headers=parts
    )
    assert done.variables["sip_h_Identity"] == HEADER
    assert done.variables["exclude_outgoing_extra_header"] == "(?i)^sip_h_identity$"
    # nor does it leave by what the leg that was called is transferred to
    assert done.variables["execute_on_media_stir"] == "unset sip_h_identity"
    assert "export_vars" not in done.variables
    assert not [name for name in done.variables if name.startswith("stir_identity_")]
    assert done.events[0]["Stir-Headers"] == "1"


@pytest.mark.parametrize("state", ["CS_EXECUTE", "CS_ROUTING"])
def test_callers_leg_is_given_no_header(run: Any, state: str) -> None:
    """In the dialplan the leg is the caller's: a header there would leave by whatever he calls."""
    done = run("outbound", "carrier", state=state, answer_ms=2, answer=STORED)
    assert done.events[0]["Stir-Headers"] == "0"


@pytest.mark.parametrize(
    "header", ["", "a${x}", "a%0d%0aX: 1", "a|b", "a'b", "a%25b", "a%5Cb", "%E9"]
)
def test_header_that_could_be_syntax_is_not_set(run: Any, header: str) -> None:
    """Nothing that FreeSWITCH would expand, and no line break, gets into a SIP message."""
    done = run("outbound", "carrier", answer_ms=2, answer=f"{STORED}|1", headers=[header])
    assert "sip_h_Identity" not in done.variables
    assert done.stir()["status"] == "stored"


def test_header_of_an_earlier_hook_is_taken_back(run: Any) -> None:
    """What the first trunk was to carry does not leave by the second; the dialplan's own stays."""
    earlier = {
        **CALL,
        "stir_in_band": "true",
        "sip_h_Identity": HEADER,
        "execute_on_media_stir": "unset sip_h_identity",
    }
    done = run("outbound", "carrier", answer_ms=2, answer=STORED, channel=earlier)
    assert "sip_h_Identity" not in done.variables
    assert "execute_on_media_stir" not in done.variables
    watched = {"stir_heartbeat": BEAT, "stir_out_carrier": "monitor"}
    done = run("outbound", "carrier", channel=earlier, globals=watched)
    assert "sip_h_Identity" not in done.variables
    own = {**CALL, "sip_h_Identity": HEADER}
    done = run("outbound", "carrier", answer_ms=2, answer=STORED, channel=own)
    assert done.variables["sip_h_Identity"] == HEADER


@pytest.mark.parametrize("name", ["sip_h_identity", "sip_h_Identity"])
def test_header_that_a_call_came_in_with_goes_on_by_the_answer_alone(run: Any, name: str) -> None:
    """FreeSWITCH copies it to each leg, also a false one, and writes it twice."""
    came = {**CALL, "stir_came_in": "carrier", name: "a.b.c;info=<https://x.example/a>"}
    done = run("outbound", "carrier", state="CS_INIT", answer_ms=2, answer=STORED, channel=came)
    assert name not in done.variables
    done = run(
        *("outbound", "carrier"), state="CS_INIT", answer_ms=2, answer=f"{STORED}|1",
        channel=came, headers=[treatment.encoded(HEADER)],
    )  # fmt: skip
    assert done.variables["sip_h_Identity"] == HEADER


def test_header_stays_where_nobody_has_answered(run: Any) -> None:
    """A call of a trunk that is off, or whose listener is down, goes on as it would without us."""
    came = {**CALL, "stir_came_in": "carrier", "sip_h_identity": "a.b.c"}
    for switch in ("on", "off", "monitor"):
        done = run("outbound", "carrier", channel=came, globals={"stir_out_carrier": switch})
        assert done.variables["sip_h_identity"] == "a.b.c"
    done = run("inbound", "carrier", answer_ms=2, answer=PASSED, channel=came)
    assert done.variables["sip_h_identity"] == "a.b.c"


def test_name_keeps_its_letters(run: Any) -> None:
    """A name may have letters of any script, as the services pass them; nothing else may."""
    told = PASSED.replace("0a1b||||", "0a1b|Zoë 株式会社|Ольга||").replace("Acme Ltd", "Zoë")
    done = run("inbound", "carrier", answer_ms=2, answer=told)
    assert (done.stir()["name"], done.stir()["call_reason"]) == ("Zoë 株式会社", "Ольга")
    assert "signer" not in done.stir()
