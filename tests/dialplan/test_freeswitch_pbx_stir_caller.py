"""pbx_stir_caller.lua marks verified callers' names, and leaves nothing of theirs that deceives."""

from __future__ import annotations

from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st

from tests.dialplan.stand_in import CALL

NAMES = {
    "Anna": "Anna", "[V] Bank": "-V- Bank", "\uff3bV\uff3d Bank": "-V- Bank", "${x}$${y}": "xy",
    "a\r\nb": "a  b", "": "", "%{x}": "x", "$\\'{system(touch x)}": "\u2019system(touch x)",
    "$\\\\'{x}": "\u2019x", "O'Brien": "O\u2019Brien", '`x` "y"': "x y",
}  # fmt: skip


@pytest.mark.parametrize("verstat", ["TN-Validation-Passed", "No-TN-Validation", ""])
@pytest.mark.parametrize("name", NAMES)
def test_mark_before_a_verified_name(run: Any, name: str, verstat: str) -> None:
    """A stranger cannot send the mark along, nor anything that FreeSWITCH would expand."""
    channel = {**CALL, "caller_id_name": name, "stir_verstat": verstat}
    done = run("name", script="pbx_stir_caller.lua", channel=channel)
    mark = "[V] " if verstat == "TN-Validation-Passed" else ""
    assert done.variables.get("effective_caller_id_name", "") == mark + NAMES[name]
    assert done.variables["caller_id_name"] == mark + NAMES[name]


def test_name_stays_as_it_was_made(run: Any) -> None:
    """What the caller's side says later would come past it, a mark with it."""
    done = run("name", script="pbx_stir_caller.lua")
    assert done.variables["sip_ignore_remote_cid"] == "true"
    assert done.variables["ignore_display_updates"] == "true"


EXPANDED = set("${}\\`%\"'")


@hypothesis.given(st.text(max_size=60), st.sampled_from(["", "OK:", "{", "$"]))
@hypothesis.settings(
    max_examples=40, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture]
)
def test_nothing_that_freeswitch_expands_is_left(run: Any, name: str, mark: str) -> None:
    """Not even where taking out the mark would put it together: set_profile_var expands it."""
    name = "".join(c for c in name if c.isprintable())
    for sent in (name, f"${mark}{{system(x)}}", f"$\\'{mark}{{{name}}}"):
        channel = {**CALL, "caller_id_name": sent, "caller_id_number": sent}
        done = run("name", *([mark] if mark else []), script="pbx_stir_caller.lua", channel=channel)
        assert not EXPANDED & set(done.variables.get("effective_caller_id_name", ""))
        assert not EXPANDED & set(done.variables.get("caller_id_name", ""))
        if done.variables["caller_id_number"] != sent:
            assert not EXPANDED & set(done.variables["caller_id_number"])
        else:
            assert not EXPANDED & set(sent)


def test_mark_of_ones_own_is_taken_out_again_and_again(run: Any) -> None:
    """Also where taking it out puts another one together; numbers lose their parameters."""
    channel = {**CALL, "caller_id_name": "OOK:K:OK: Bank",
               "caller_id_number": "+1212;verstat=TN-Validation-Passed"}  # fmt: skip
    done = run("name", "OK:", script="pbx_stir_caller.lua", channel=channel)
    assert done.variables["effective_caller_id_name"] == "Bank"
    assert done.variables["caller_id_number"] == "+1212"


def test_foreign_headers_are_taken_away(run: Any) -> None:
    """X- and P- headers alone."""
    channel = {**CALL, "sip_h_X-Stir-Verstat": "x", "sip_h_x-a": "y", "sip_h_P-B": "z",
               "sip_h_identity": "i", "sip_X": "k"}  # fmt: skip
    done = run("headers", script="pbx_stir_caller.lua", channel=channel)
    assert set(done.variables) - set(CALL) == {"sip_h_identity", "sip_X"}


def test_caller_script_used_wrongly_is_harmless(run: Any) -> None:
    """It logs, and the call goes on."""
    assert len(run("nothing", script="pbx_stir_caller.lua").logged) == 1
    assert len(run("name", script="pbx_stir_caller.lua", no_session=True).logged) == 1
