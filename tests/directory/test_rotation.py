"""Keys are replaced so that no call is lost: not at a rotation, a crash, or a step of the clock."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from pbx_stir.directory import key_files
from pbx_stir.directory.key_files import ENTRY_LIFETIME_SECONDS
from pbx_stir.directory.publisher import RECORD_LIFETIME_SECONDS
from pbx_stir.stir.record import claimed
from tests.directory.rotating import DAY, Clock, Cps, Holder, Sender


@pytest.fixture
def clock() -> Clock:
    """A clock that is right."""
    return Clock()


@pytest.fixture
def cps(lab: Any, clock: Clock) -> Cps:
    """A CPS."""
    return Cps(lab, clock)


@pytest.fixture
def holder(lab: Any, alice: Any, tmp_path: Path, cps: Cps) -> Holder:
    """Alice."""
    return Holder(lab, alice, tmp_path / "keys", cps)


async def test_old_and_new_are_published_together_for_the_life_of_a_record(
    holder: Holder, cps: Cps, clock: Clock
) -> None:
    """As long as somebody may have the old record; then the new key alone."""
    await holder.work()
    (old,) = holder.keys.load()
    clock.passed = 1000
    new = holder.keys.new(clock.ours())
    both = [new.public, old.public]
    for passed, named in (
        (1001, both),
        (RECORD_LIFETIME_SECONDS / 2, both),
        (1000 + RECORD_LIFETIME_SECONDS - 1, both),
        (1000 + RECORD_LIFETIME_SECONDS, both[:1]),
    ):
        clock.passed = passed
        await holder.work()
        assert [key.public for key in claimed(cps.taken[-1]).keys] == named


async def test_a_private_half_goes_one_entry_lifetime_after_its_last_record(
    holder: Holder, cps: Cps, clock: Clock
) -> None:
    """Over restarts: until then whatever is sealed by a record that names it can be opened."""
    await holder.work()
    (old,) = holder.keys.load()
    clock.passed = 1000
    holder.keys.new(clock.ours())
    last = 0.0
    for hours in range(0, 80, 2):
        clock.passed = 1000 + 3600 * hours
        holder.start()
        before = {key.name: key for key in holder.keys.load()}
        await holder.work()
        if old.name in before:
            last = before[old.name].published_until
        gone = old.name not in {key.name for key in holder.keys.load()}
        assert gone == (clock.ours() >= last + ENTRY_LIFETIME_SECONDS)
    assert gone


async def test_two_holders_of_one_number_do_not_meet(
    lab: Any, alice: Any, tmp_path: Path, cps: Cps, clock: Clock
) -> None:
    """Each publishes, rotates and revokes its own; who calls seals to all that are in force."""
    bob = lab.credential("Bob", ranges=(("12125551230", 10),))
    holders = [Holder(lab, who, tmp_path / name, cps) for who, name in ((alice, "a"), (bob, "b"))]
    for holder in holders:
        await holder.work()
    sender = Sender(lab, cps)
    await sender.look_up()
    assert len(sender.sealed_to()) == 2
    clock.passed = 100
    holders[0].keys.new(clock.ours())
    await holders[0].work()
    await sender.look_up()
    assert len(sender.sealed_to()) == 3
    assert all(holder.opens(sender.sealed_to()) for holder in holders)
    await holders[0].publisher.revoke()
    await sender.look_up()
    assert set(sender.sealed_to()) == {holders[1].keys.load()[0].public}


async def test_a_full_number_takes_the_new_key_alone(
    lab: Any, alice: Any, tmp_path: Path, cps: Cps, clock: Clock
) -> None:
    """Where eight keys leave no place for two of ours, the rotation goes on with one."""
    holders = [
        Holder(lab, lab.credential(f"Company {each}"), tmp_path / str(each), cps)
        for each in range(8)
    ]
    for holder in holders:
        await holder.work()
    clock.passed = 100
    new = holders[0].keys.new(clock.ours())
    (result,) = await holders[0].publisher.publish()
    assert result.error == ""
    sender = Sender(lab, cps)
    await sender.look_up()
    assert new.public in sender.sealed_to()
    assert len(sender.sealed_to()) == 8


async def test_a_revoked_key_is_never_named_again(
    lab: Any, holder: Holder, cps: Cps, clock: Clock
) -> None:
    """Not in the overlap after the rotation, nor by a publication that was under way."""
    await holder.work()
    (stolen,) = holder.keys.load()
    clock.passed = 10
    await holder.publisher.revoke()
    holder.start()
    assert holder.keys.suspended()
    assert holder.keys.is_revoked(stolen)
    sender = Sender(lab, cps)
    await sender.look_up()
    assert sender.sealed_to() == ()
    clock.passed = 20
    await holder.publisher.publish()
    holder.keys.resume()
    holder.start()
    await holder.work()
    await sender.look_up()
    assert len(sender.sealed_to()) == 1
    assert stolen.public not in sender.sealed_to()


async def test_a_cps_that_was_down_learns_of_a_revocation(
    lab: Any, holder: Holder, cps: Cps, clock: Clock
) -> None:
    """The running service puts the tombstone where the command could not."""
    await holder.work()
    sender = Sender(lab, cps)
    cps.down = True
    assert all(each.error for each in await holder.publisher.revoke())
    cps.down = False
    holder.start()
    await holder.work()
    await sender.look_up()
    assert sender.sealed_to() == ()
    # and nothing more once no record is left
    clock.passed = 3 * DAY
    taken = len(cps.taken)
    await holder.work()
    assert len(cps.taken) == taken


@pytest.mark.parametrize("ahead", [-400 * DAY, -8 * DAY, -DAY, -60, 60, DAY, 8 * DAY, 400 * DAY])
async def test_a_step_of_the_clock_loses_no_key(
    lab: Any, holder: Holder, cps: Cps, clock: Clock, ahead: float
) -> None:
    """A machine whose clock is wrong for an hour and then right again opens every call, since it
    erases nothing while no CPS takes what it says; and it publishes again at once."""
    await holder.work()
    sender = Sender(lab, cps)
    await sender.look_up()
    for passed, wrong in ((600, 0.0), (1200, ahead), (1800, ahead), (4800, 0.0), (5400, 0.0)):
        clock.passed, clock.ahead = passed, wrong
        if passed == 1800:
            holder.start()
        await holder.work()
        assert holder.opens(sender.sealed_to())
        await sender.look_up()
        assert holder.opens(sender.sealed_to())
    # what is newest on disk is what the world knows
    assert holder.keys.load()[0].public in sender.sealed_to()


class Killed(BaseException):
    """The process is gone."""


class Power:
    """Lets so many steps happen, and none after them: neither on disk nor on the wire."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def through(self, step: Callable[..., Any], *, late: bool) -> Callable[..., Any]:
        """A step that may be the last one: done (``late``) or not when the process is killed."""

        def one(*arguments: Any, **named: Any) -> Any:
            self.left -= 1
            if self.left == 0 and late:
                step(*arguments, **named)
            if self.left <= 0:
                raise Killed
            return step(*arguments, **named)

        return one

    def through_put(
        self, put: Callable[..., Awaitable[None]], *, late: bool
    ) -> Callable[..., Awaitable[None]]:
        """The same for a request."""

        async def one(*arguments: Any) -> None:
            self.left -= 1
            if self.left == 0 and late:
                await put(*arguments)
            if self.left <= 0:
                raise Killed
            await put(*arguments)

        return one


async def _rotate(holder: Holder) -> None:
    holder.keys.new(holder.clock.ours())
    await holder.work()


async def _revoke_and_rotate(holder: Holder) -> None:
    await holder.publisher.revoke()
    await holder.publisher.publish()
    holder.keys.resume()


async def _erase(holder: Holder) -> None:
    holder.clock.passed += 3 * DAY
    await holder.work()


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("action", [_rotate, _revoke_and_rotate, _erase])
async def test_a_kill_at_any_step_loses_nothing(
    lab: Any,
    alice: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    action: Callable[[Holder], Awaitable[None]],
    late: bool,
) -> None:
    """Killed before or after any write, or request: what callers seal by the records that are out
    is opened, and the service goes on with a record that the CPS takes."""
    steps = 0
    while True:
        steps += 1
        clock = Clock()
        cps = Cps(lab, clock)
        holder = Holder(lab, alice, tmp_path / f"{steps}", cps)
        await holder.work()
        clock.passed = 100
        holder.keys.new(clock.ours())
        await holder.work()
        sender = Sender(lab, cps)
        await sender.look_up()
        clock.passed = 200
        power = Power(steps)
        finished = False
        with monkeypatch.context() as patch:
            for name in ("replace", "fsync", "unlink"):
                patch.setattr(key_files.os, name, power.through(getattr(os, name), late=late))
            patch.setattr(cps, "put_record", power.through_put(cps.put_record, late=late))
            try:
                await action(holder)
                finished = True
            except Killed:
                pass
        # who looked up before and who looks up now
        assert holder.opens(sender.sealed_to() or [key.public for key in holder.keys.load()])
        later = Sender(lab, cps)
        await later.look_up()
        assert not later.sealed_to() or holder.opens(later.sealed_to())
        clock.passed += 10
        holder.start()
        if holder.keys.suspended():
            # the administrator sees that the command was killed, and types it again
            await holder.publisher.publish()
            holder.keys.resume()
        else:
            await holder.work()
        await later.look_up()
        assert holder.keys.load()[0].public in later.sealed_to()
        assert holder.opens(later.sealed_to())
        if finished:
            break
    assert steps > 5
