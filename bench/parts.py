"""Where the time of a call goes: the daemon's own services, in this process, with stopwatches.

The functions and methods that do the work are replaced by ones that call them and take the time,
for as long as ``Stopwatch.watching``. Meant for one call at a time: what is spent is summed up by
kind of work, and ``lap`` gives the sums since the last.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any, Final

import msgspec

from bench.latency import milliseconds
from pbx_stir import config, running
from pbx_stir.cps.client import CpsClient
from pbx_stir.services.authentication import AuthenticationService
from pbx_stir.services.placement_service import Answer
from pbx_stir.services.verification import VerificationService
from pbx_stir.stir import certificate, passport, sealing

_CRYPTO: Final[tuple[tuple[Any, str], ...]] = (
    (passport, "sign"),
    (sealing, "seal"),
    (sealing, "open_sealed"),
    (certificate, "find_path"),
    (passport, "signature_holds"),
)
CRYPTO: Final = frozenset(name for _, name in _CRYPTO)
HTTP: Final = frozenset({"store", "retrieve"})
SERVICES: Final = frozenset({"authenticate", "verify"})
# in the order of the steps; a path that is known already is not looked for
FUNCTIONS: Final = {
    "authentication": ("sign", "seal", "store"),
    "verification": ("retrieve", "open_sealed", "find_path", "signature_holds"),
}


class Share(msgspec.Struct, frozen=True):
    """One part: its median in ms a call, its percent of all the time, and how often it was done."""

    name: str
    ms: float
    percent: float
    times: float = 1.0


class Parts(msgspec.Struct, frozen=True):
    """What a call's time is spent on: ``shares`` add up to all of it, ``functions`` are a part."""

    total_ms: float
    shares: tuple[Share, ...]
    functions: tuple[Share, ...]


class Lap(msgspec.Struct, frozen=True):
    """One call: seconds and times by name, and seconds from event to release."""

    spent: dict[str, float]
    times: dict[str, int]
    total: float

    def of(self, names: frozenset[str]) -> float:
        """Seconds spent on these."""
        return sum(seconds for name, seconds in self.spent.items() if name in names)


class Stopwatch:
    """Adds up what is spent where."""

    def __init__(self) -> None:
        self._spent: Counter[str] = Counter()
        self._times: Counter[str] = Counter()

    def lap(self, total: float) -> Lap:
        """What has been spent since the last lap, of ``total`` seconds."""
        lap = Lap(dict(self._spent), dict(self._times), total)
        self._spent.clear()
        self._times.clear()
        return lap

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Take times meanwhile."""
        with contextlib.ExitStack() as undo:
            for where, name in _CRYPTO:
                _replace(undo, where, name, self._function(name, getattr(where, name)))
            for owner, name in (
                (CpsClient, "store"),
                (AuthenticationService, "authenticate"),
                (VerificationService, "verify"),
            ):
                _replace(undo, owner, name, self._coroutine(name, getattr(owner, name)))
            _replace(undo, CpsClient, "retrieve", self._retrieve(CpsClient.retrieve))
            yield

    def _add(self, name: str, began: float) -> None:
        self._spent[name] += time.perf_counter() - began  # type: ignore[assignment]
        self._times[name] += 1

    def _function(self, name: str, original: Callable[..., object]) -> Callable[..., object]:
        def timed(*args: object, **kwargs: object) -> object:
            began = time.perf_counter()
            try:
                return original(*args, **kwargs)
            finally:
                self._add(name, began)

        return timed

    def _coroutine(self, name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        async def timed(*args: object, **kwargs: object) -> object:
            began = time.perf_counter()
            try:
                return await original(*args, **kwargs)
            finally:
                self._add(name, began)

        return timed

    def _retrieve(
        self, original: Callable[..., AsyncGenerator[Answer, None]]
    ) -> Callable[..., AsyncGenerator[Answer, None]]:
        async def timed(*args: object, **kwargs: object) -> AsyncGenerator[Answer, None]:
            async with contextlib.aclosing(original(*args, **kwargs)) as answers:
                while True:
                    began = time.perf_counter()
                    try:
                        answer = await anext(answers)
                    except StopAsyncIteration:
                        return
                    finally:
                        self._add("retrieve", began)
                    yield answer

        return timed


def _replace(undo: contextlib.ExitStack, where: Any, name: str, by: object) -> None:
    undo.callback(setattr, where, name, getattr(where, name))
    setattr(where, name, by)


def parts_of(service: str, laps: Sequence[Lap]) -> Parts:
    """Sum up the laps of one service."""
    total = sum(lap.total for lap in laps)

    def share(name: str, seconds: Callable[[Lap], float], times: float = 1.0) -> Share:
        spent = [seconds(lap) for lap in laps]
        percent = round(100 * sum(spent) / total, 1)
        return Share(name, milliseconds(median(spent)), percent, round(times, 1))

    shares = (
        share("crypto", lambda lap: lap.of(CRYPTO)),
        share("HTTP: TLS, the CPS's work, the answer's parsing", lambda lap: lap.of(HTTP)),
        share(
            "rest of the service: steps, numbers, threads",
            lambda lap: lap.of(SERVICES) - lap.of(CRYPTO) - lap.of(HTTP),
        ),
        share("AMI both ways, the hook, reception", lambda lap: lap.total - lap.of(SERVICES)),
    )
    functions = tuple(
        share(
            name,
            lambda lap, name=name: lap.spent.get(name, 0.0),  # type: ignore[misc]
            sum(lap.times.get(name, 0) for lap in laps) / len(laps),
        )
        for name in FUNCTIONS[service]
    )
    return Parts(milliseconds(median(lap.total for lap in laps)), shares, functions)


@contextlib.asynccontextmanager
async def listening(configuration: Path) -> AsyncIterator[None]:
    """What ``pbx-stir run`` does, in this process."""
    async with running.running(config.load(configuration)):
        yield
