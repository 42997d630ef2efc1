"""The parts of a service: kept while their settings stay the same, closed when they are gone."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from pbx_stir.errors import ConfigurationError
from pbx_stir.parts import Part, Parts, kept_up


def make(heard: list[str], name: str) -> object:
    """What makes a part that says when it begins, runs and ends."""

    @contextlib.asynccontextmanager
    async def held() -> AsyncIterator[None]:
        heard.append(f"{name} opened")
        yield
        heard.append(f"{name} left")

    async def stop() -> None:
        heard.append(f"{name} stopped")

    def made(part: Part) -> str:
        part.hold(held())
        part.tasks.append(asyncio.Event().wait)  # type: ignore[arg-type]
        part.stops.append(stop)
        part.closes.append(lambda: heard.append(f"{name} closed"))
        return name

    return made


async def assembled(heard: list[str], before: Parts | None, **settings: object) -> Parts:
    """Parts with these settings, begun."""
    parts = Parts(before)
    for name, wanted in settings.items():
        parts.keep(name, wanted, make(heard, name))  # type: ignore[arg-type]
    await parts.begin()
    parts.switch()
    return parts


async def test_what_has_the_same_settings_stays() -> None:
    """It is neither begun again nor closed; what has others is, and what is gone."""
    heard: list[str] = []
    first = await assembled(heard, None, a=1, b=1, c=1)
    second = await assembled(heard, first, a=1, b=2, d=1)
    assert [part.name for part in second.new] == ["b", "d"]
    assert [part.name for part in second.gone] == ["c", "b"]
    assert second.by_name["a"] is first.by_name["a"]
    assert heard == [f"{name} opened" for name in "abcbd"]
    heard.clear()
    for part in second.gone:
        await part.stop()
        await part.close()
    assert heard == [f"{n} {what}" for n in "cb" for what in ("stopped", "closed", "left")]
    for part in second:
        await part.close()
        assert all(task.cancelled() for task in part.running)


async def test_none_keeps_whatever_comes() -> None:
    """What must not be forgotten has no settings."""
    first = Parts()
    memory = first.keep("memory", None, lambda _: object())
    assert Parts(first).keep("memory", None, lambda _: object()) is memory


async def test_what_is_not_taken_up_is_closed() -> None:
    """A part that cannot be made leaves those before as they are, and nothing open."""
    heard: list[str] = []
    first = await assembled(heard, None, a=1)
    second = Parts(first)
    second.keep("a", 2, make(heard, "a"))  # type: ignore[arg-type]

    def broken(part: Part) -> None:
        part.closes.append(lambda: heard.append("broken closed"))
        raise ConfigurationError("no")

    with pytest.raises(ConfigurationError):
        second.keep("broken", 1, broken)
    heard.clear()
    await second.discard()
    assert heard == ["broken closed", "a closed"]
    assert not first.by_name["a"].running[0].done()
    await first.by_name["a"].close()


async def test_a_switch_is_one_moment() -> None:
    """What is to be taken up then is, once."""
    heard: list[str] = []
    parts = Parts()
    parts.at_switch.append(lambda: heard.append("now"))
    parts.switch()
    parts.switch()
    assert heard == ["now"]


async def test_a_close_that_fails_keeps_no_other_from_closing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is said, and the rest is closed all the same."""
    part, closed = Part("x"), asyncio.Event()

    def fails() -> None:
        raise OSError("disk full")

    part.closes += [closed.set, fails]
    await part.close()
    assert closed.is_set()
    assert "disk full" in caplog.text


async def test_only_a_vital_part_dies_of_an_ended_task() -> None:
    """Work that is done is no failure; a listener that has ended is."""

    async def done() -> None:
        return

    for vital in (False, True):
        part = Part("x", tasks=[done], is_vital=vital)
        part.start()
        await asyncio.wait(part.running)
        assert part.is_alive is not vital


async def test_background_work_is_begun_again() -> None:
    """What fails off the call path is logged and tried again."""
    attempts: list[int] = []

    async def work() -> None:
        attempts.append(1)
        if len(attempts) < 3:
            raise RuntimeError("oops")

    await kept_up(work, again_seconds=0)
    assert len(attempts) == 3
