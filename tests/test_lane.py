"""Work in a thread of its own: in order, for a bounded time, and never lost without a word."""

from __future__ import annotations

import asyncio
import gc
import threading
import time

import pytest

from pbx_stir.lane import Lane

PLENTY = 60.0


@pytest.fixture
def lane() -> Lane:
    """One that is forgotten at the end."""
    return Lane("lane")


async def test_it_gives_what_the_work_gives(lane: Lane) -> None:
    """A result or what was raised, from one thread that is not the loop's."""
    names = {await lane.run(lambda: threading.current_thread().name, PLENTY) for _ in range(3)}
    assert names == {"lane"}
    with pytest.raises(ZeroDivisionError):
        await lane.run(lambda: 1 // 0, PLENTY)
    assert await lane.run(lambda: 2, PLENTY) == 2
    lane.close()


async def test_it_keeps_the_order(lane: Lane) -> None:
    """What is asked first is done first, whoever asks."""
    done: list[int] = []
    await asyncio.gather(*(lane.run(lambda n=n: done.append(n), PLENTY) for n in range(100)))  # type: ignore[misc]
    assert done == list(range(100))


async def test_nobody_waits_for_longer(lane: Lane) -> None:
    """What holds the thread up costs each so much; what has not begun by then never does."""
    hold, begun = threading.Event(), threading.Event()
    done: list[str] = []

    def first() -> None:
        begun.set()
        assert hold.wait(PLENTY)
        done.append("first")

    with pytest.raises(TimeoutError):
        await lane.run(first, 0.01)
    assert begun.wait(PLENTY)
    with pytest.raises(TimeoutError):
        await lane.run(lambda: done.append("second"), 0.01)
    hold.set()
    await lane.run(lambda: done.append("third"), PLENTY)
    assert done == ["first", "third"]


async def test_who_is_cancelled_has_nothing_done_that_has_not_begun(lane: Lane) -> None:
    """As if it had never been asked."""
    hold, begun = threading.Event(), threading.Event()
    done: list[str] = []

    def first() -> None:
        begun.set()
        assert hold.wait(PLENTY)

    waits = [asyncio.create_task(lane.run(first, PLENTY))]
    waits.append(asyncio.create_task(lane.run(lambda: done.append("second"), PLENTY)))
    await asyncio.to_thread(begun.wait, PLENTY)
    for task in waits:
        task.cancel()
    await asyncio.gather(*waits, return_exceptions=True)
    hold.set()
    await lane.run(lambda: None, PLENTY)
    assert done == []


async def test_what_waits_is_done_before_the_end(lane: Lane) -> None:
    """``close`` waits for all of it; later nothing is taken."""
    done: list[int] = []
    waits = [asyncio.create_task(lane.run(lambda: done.append(1), PLENTY)) for _ in range(5)]
    await asyncio.sleep(0)
    lane.close()
    assert done == [1] * 5
    await asyncio.gather(*waits)
    with pytest.raises(RuntimeError):
        await lane.run(lambda: None, PLENTY)
    lane.close()


def test_a_loop_that_has_ended_ends_no_lane(lane: Lane) -> None:
    """Its work is done, and the next loop's, too."""
    hold = threading.Event()

    async def leave() -> None:
        with pytest.raises(TimeoutError):
            await lane.run(lambda: hold.wait(PLENTY), 0.01)

    asyncio.run(leave())
    hold.set()
    assert asyncio.run(lane.run(lambda: 3, PLENTY)) == 3


def test_one_that_is_forgotten_ends() -> None:
    """Its thread does not outlive it."""
    lane = Lane("forgotten")
    thread = lane._thread
    del lane
    gc.collect()
    thread.join(PLENTY)
    assert not thread.is_alive()


async def test_it_keeps_nothing_that_is_done(lane: Lane) -> None:
    """What work and result were made of can go while the thread waits for more."""

    class Large:
        gone = threading.Event()

        def __del__(self) -> None:
            self.gone.set()

    made = Large()
    result = await lane.run(lambda made=made: made, PLENTY)  # type: ignore[misc]
    del made, result
    give_up_at = time.monotonic() + PLENTY
    while not Large.gone.wait(0.01) and time.monotonic() < give_up_at:
        await lane.run(lambda: None, PLENTY)
        gc.collect()
    assert Large.gone.is_set()
