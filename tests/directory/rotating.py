"""A holder whose keys rotate, who seals to them, and the CPS between the two."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pbx_stir.cps.records import RecordCheck, Shelved
from pbx_stir.cps.shelf import MemoryShelf
from pbx_stir.directory.key_files import KeyFiles
from pbx_stir.directory.publisher import Publisher, publications
from pbx_stir.directory.selection import Selection, select
from pbx_stir.errors import CpsRefused, CpsUnavailable, Refused
from pbx_stir.stir.certificate import SpcPolicy
from pbx_stir.stir.number_set import NumberSet

NOW = 1_750_000_000.0
NUMBER = "12125551234"
DAY = 86_400.0


class Clock:
    """A wall clock that may be wrong, and one that never is."""

    def __init__(self) -> None:
        self.passed = 0.0
        self.ahead = 0.0

    def right(self) -> float:
        """What the rest of the world says."""
        return NOW + self.passed

    def ours(self) -> float:
        """What this machine says."""
        return NOW + self.passed + self.ahead

    def monotonic(self) -> float:
        """The steady clock."""
        return 1000.0 + self.passed


class Cps:
    """A CPS with the rules of a real one, whose clock is right."""

    def __init__(self, lab: Any, clock: Clock) -> None:
        self.clock = clock
        self.down = False
        self.shelf = MemoryShelf()
        self.check = RecordCheck(lambda: lab.anchors, SpcPolicy())
        self.taken: list[str] = []

    async def put_record(self, cps: str, number: str, token: str, give_up_at: float) -> None:
        """Take it, or refuse."""
        if self.down:
            raise CpsUnavailable("down")
        now = self.clock.right()
        try:
            record = self.check.check(number, token, now)
        except Refused as error:
            raise CpsRefused(error.message, status=400) from error
        assert record is not None
        shelved = await self.shelf.put(number, record, now)
        if shelved is not Shelved.KEPT:
            raise CpsRefused(shelved.value, status=409)
        self.taken.append(token)

    async def get_records(self, cps: str, number: str, give_up_at: float) -> Sequence[str]:
        """Give what there is."""
        if self.down:
            raise CpsUnavailable("down")
        return await self.shelf.tokens(number, self.clock.right())


class Sender:
    """Somebody who calls now and then, and keeps what he looked up for as long as he may."""

    def __init__(self, lab: Any, cps: Cps) -> None:
        self.lab = lab
        self.cps = cps
        self.held = Selection({})

    async def look_up(self) -> None:
        """Ask the CPS, as after a restart or on a refresh."""
        now = self.cps.clock.right()
        tokens = await self.cps.get_records("", NUMBER, 0.0)
        self.held = select(tokens, NUMBER, self.lab.anchors, SpcPolicy(), now, self.held.held)

    def sealed_to(self) -> tuple[bytes, ...]:
        """What he would seal to."""
        return self.held.keys(self.cps.clock.right())


class Holder:
    """Our side: what is on disk, and the process that uses it."""

    def __init__(self, lab: Any, signer: Any, directory: Path, cps: Cps) -> None:
        self.directory = directory
        self.cps = cps
        self.clock = cps.clock
        self.wanted = publications(
            [signer], NumberSet.parse(["+1212555*"]), ["https://cps.example"]
        )
        self.start()

    def start(self) -> None:
        """Begin with what is on disk alone."""
        self.keys = KeyFiles(self.directory)
        self.publisher = Publisher(
            publications=self.wanted,
            keys=self.keys,
            sink=self.cps,
            epoch=self.clock.ours,
            monotonic=self.clock.monotonic,
            draw=lambda low, high: high,
        )

    def opens(self, public: Sequence[bytes]) -> bool:
        """Whether something sealed to all of these keys is opened by one of ours."""
        ours = {key.public for key in KeyFiles(self.directory).load()}
        return bool(ours & set(public))

    async def work(self) -> None:
        """Publish and tidy up, as the running service does."""
        await self.publisher._attempt(None)
