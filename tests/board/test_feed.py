"""The feed: what it keeps, what it counts, whom it tells."""

from __future__ import annotations

import asyncio
import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.board import call, contest
from pbx_stir.board import feed as feeds
from pbx_stir.board.feed import Feed

NOW = 1_795_311_330.0
HOUR = int(NOW // 3600)


def line(**changed: object) -> dict[str, Any]:
    """A line of the call log."""
    made = call(random.Random(1), NOW)
    made |= {"direction": "in", "verstat": "No-TN-Validation", "reason": "no-passport"}
    made.pop("status", None)
    return made | {"trunk": "carrier-1"} | changed


def numbers(feed: Feed, after: int) -> list[int] | None:
    """The numbers of what came after ``after``."""
    found = feed.after(after)
    return None if found is None else [one.number for one in found]


def test_the_last_calls_are_kept() -> None:
    """As many as there is room for, oldest first, as they were."""
    feed = Feed(3)
    for number in range(5):
        feed.put(line(id=str(number)))
    assert feed.last == 5
    assert [json.loads(one.octets)["line"]["id"] for one in feed.kept()] == ["2", "3", "4"]
    assert json.loads(feed.kept()[0].octets)["line"] == line(id="2")


def test_a_reader_goes_on_where_it_was() -> None:
    """What came after a number; None where some of it is gone, or it was never reached."""
    feed = Feed(3)
    for _ in range(5):
        feed.put(line())
    assert numbers(feed, 5) == []
    assert numbers(feed, 3) == [4, 5]
    assert numbers(feed, 2) == [3, 4, 5]
    assert numbers(feed, 1) is None
    assert numbers(feed, 6) is None


def test_calls_are_counted_by_hour_and_trunk() -> None:
    """Each by its verdict and reason, and a second claim by itself."""
    feed = Feed()
    feed.put(line())
    feed.put(line())
    feed.put(line(verstat="TN-Validation-Passed", reason="verified", trunk="b"))
    feed.put(line(direction="out", verstat="", status="error", reason="timeout"))
    feed.put(contest(line(), "f" * 16))
    assert feed.counts() == [
        [HOUR, "carrier-1", "in", "none", "no-passport", 2],
        [HOUR, "b", "in", "verified", "verified", 1],
        [HOUR, "carrier-1", "out", "error", "timeout", 1],
        [HOUR, "", "in", "contested", "contested", 1],
    ]


def test_counts_are_of_a_day() -> None:
    """An hour that is over for a day is forgotten; those since are not."""
    feed = Feed()
    for hours in (0, 1, 25):
        time = f"2026-11-{22 + hours // 24}T{hours % 24:02}:30:00.000+00:00"
        feed.put(line(time=time))
    first = feed.counts()[0][0]
    assert isinstance(first, int)
    assert [row[0] for row in feed.counts()] == [first, first + 24]


def test_words_are_of_closed_lists() -> None:
    """No PBX and no stranger fills the counts: trunks have an end, words are ours."""
    feed = Feed()
    for number in range(feeds.MOST_TRUNKS + 9):
        feed.put(line(trunk=f"t{number}", reason=f"made-up-{number}", direction="up", verstat="?"))
    counts = feed.counts()
    assert len(counts) == feeds.MOST_TRUNKS + 1
    assert counts[-1][1:] == [feeds.OTHER, feeds.OTHER, feeds.OTHER, feeds.OTHER, 9]


def test_a_line_without_end_is_cut() -> None:
    """What a call is known by is kept; what cannot be cut is left out, and others go on."""
    feed = Feed()
    feed.put(line(detail="x" * 20_000))
    assert "detail" not in json.loads(feed.kept()[0].octets)["line"]
    feed.put(line(id="x" * 20_000))
    assert feed.last == 1
    feed.put(line())
    assert feed.last == 2


def test_other_events_are_none_of_ours() -> None:
    """A line of a kind that is not known is no call."""
    feed = Feed()
    feed.put({"event": "started", "time": "2026-11-22T01:35:30.384+00:00"})
    assert feed.last == 0
    assert feed.counts() == []


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text() | st.integers(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from([*line(), "status"]) | st.text(), json_values))
def test_no_line_stops_the_call_log(changed: dict[str, Any]) -> None:
    """Whatever a line holds, nothing is raised, and what is kept is JSON in ASCII on one line."""
    feed = Feed()
    for made in (changed, line() | changed):
        feed.put(made)
    for item in feed.kept():
        assert len(item.octets) <= feeds.LONGEST_ITEM
        assert b"\n" not in item.octets
        json.loads(item.octets.decode("ascii"), parse_constant=pytest.fail)


def test_what_json_does_not_know_is_not_kept() -> None:
    """A fault is said once in the log of the service, not at each call."""
    feed = Feed()
    for _ in range(3):
        feed.put(line(detail=object()))
    assert feed.last == 0


def test_a_fault_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    """A flood of lines that cannot be shown makes one line in the service's log."""
    feed = Feed()
    for _ in range(5):
        feed.put({"event": "call"})
    assert len(caplog.records) == 1


async def test_readers_are_woken() -> None:
    """Each call wakes who waits; a wait also ends by itself."""
    feed = Feed()
    with feed.reading() as reader:
        assert reader is not None
        await reader.wait(0.001)
        waiting = asyncio.create_task(reader.wait(60))
        await asyncio.sleep(0)
        feed.put(line())
        async with asyncio.timeout(30):
            await waiting
        assert not reader.ended
        reader.end()
        assert reader.ended


def test_there_is_room_for_so_many_readers() -> None:
    """One more gets none; whose page is closed makes room."""
    feed = Feed()
    contexts = [feed.reading() for _ in range(feeds.MOST_READERS)]
    assert all(one.__enter__() is not None for one in contexts)
    with feed.reading() as one_more:
        assert one_more is None
    contexts[0].__exit__(None, None, None)
    with feed.reading() as next_one:
        assert next_one is not None


def test_two_feeds_have_two_names() -> None:
    """A page that comes back to a new process is told to begin anew."""
    assert Feed().run_id != Feed().run_id
