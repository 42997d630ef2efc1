"""What recent calls show of numbers that the configuration means otherwise."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbx_stir.checks.presented import ends_as_one_of, recent_calls
from pbx_stir.stir.number import NumberSet
from tests.checks.setups import DAY, NOW, Setup, files_of


def test_calls_as_they_should_be(setup: Setup) -> None:
    """In any form that the trunk's rules read, outbound and inbound."""
    one = setup.company.number(7)
    setup.log({}, {"orig": one[1:]}, {"orig": f"+{one}"}, {"orig": "anonymous"})
    setup.log(
        {"direction": "in", "orig": "x", "dest": one[1:]}, {"orig": "15", "came_in": "carrier"}
    )
    assert setup.offline() == []


@pytest.mark.parametrize(
    ("orig", "code"),
    [
        ("101", "caller-id-unreadable"),
        ("+44{0}", "caller-id-format"),
        ("+16465550100", "caller-id-foreign"),
    ],
)
def test_what_a_trunk_presents(setup: Setup, orig: str, code: str) -> None:
    """Each kind of wrong caller ID has its code; with an example, and how often it came."""
    shown = orig.format(setup.company.number(3)[1:])
    setup.log({"orig": shown}, {"orig": shown}, {})
    [found] = files_of(setup.loaded)
    assert (found.code, found.severity.value) == (code, "warning")
    assert "2 of 3 recent calls" in found.what
    assert repr(shown) in found.what
    assert "trunk[0]" in found.where
    # an exception among many is only to be known
    setup.log(*[{}] * 20)
    [found] = files_of(setup.loaded)
    assert found.severity.value == "note"


def test_what_a_trunk_is_called_by(setup: Setup) -> None:
    """A short DID that nobody maps, until it is mapped."""
    setup.log({"direction": "in", "dest": "4711"}, {"direction": "in", "dest": "+13105552001"})
    [found] = files_of(setup.loaded)
    assert (found.code, "2 of 2" in found.what) == ("called-number-unknown", True)
    first = f"+{setup.company.first}"
    mapped = f'called = {{ "4711" = "{first}", "13105552001" = ["{first}"] }}'
    setup.change('country_code = "1"', f'country_code = "1"\n{mapped}')
    assert setup.offline() == []


def test_a_trunk_that_nobody_has_configured(setup: Setup) -> None:
    """The dialplan's name for it is another one."""
    setup.log({"trunk": "carrier-1"}, {"trunk": "carrier-1"}, {})
    [found] = files_of(setup.loaded)
    assert (found.code, found.severity.value) == ("trunk-unknown", "error")
    assert "'carrier-1', in 2 recent calls" in found.what


def test_numbers_that_the_log_hides(setup: Setup) -> None:
    """Nothing is said of them."""
    setup.log({"orig": "1646555xxxx"}, {"orig": "101"})
    setup.change('file = "calls.jsonl"', 'file = "calls.jsonl"\nnumbers = "short"')
    assert setup.offline() == []


def test_old_calls_and_lines_that_are_none(setup: Setup) -> None:
    """What was last week is mended by now; junk is not looked at."""
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S.000+00:00", time.gmtime(NOW - 8 * DAY))
    setup.log({"orig": "101"}, at=stamp)
    setup.log({"orig": "101", "event": "contested"}, {"time": "yesterday"}, {"time": 7})
    with (setup.folder / "calls.jsonl").open("ab") as file:
        file.write(b'\xff\n[1]\n{}\n"x"\n' + b"[" * 100_000 + b"\n")
    assert list(recent_calls(setup.folder / "calls.jsonl", NOW)) == []
    assert setup.offline() == []


def test_only_the_end_of_a_long_log_is_read(setup: Setup) -> None:
    """A year of calls takes no longer than a day."""
    setup.log({"orig": "101"})
    with (setup.folder / "calls.jsonl").open("ab") as file:
        file.write(b"x" * (1 << 20) + b"\n")
    setup.log({"reason": "last"})
    found = list(recent_calls(setup.folder / "calls.jsonl", NOW))
    assert [one.reason for one in found] == ["last"]


@given(st.integers(0, 10**12), st.integers(0, 10**9), st.integers(0, 10**9), st.integers(7, 15))
def test_the_end_of_a_number(first: int, count: int, at: int, digits: int) -> None:
    """Found for each number of a range, whatever stands before its last seven digits."""
    last = first + count
    written = [f"{one:014d}" for one in (first, last)]
    numbers = NumberSet.parse([f"{written[0]}-{written[1]}"])
    one = f"{first + at % (count + 1):014d}"
    assert ends_as_one_of(("9" * 8 + one[-7:])[-digits:], numbers)
    beyond = (last + 1) % 10**7
    if count < 10**7 - 1:
        assert not ends_as_one_of(f"{beyond:07d}", numbers)
