"""One entry by itself, polled or not, is not told from a dummy (RFC 8816 section 6.2).

The watcher is better than any: it is on the same machine, it chooses who calls whom, and it is told
afterwards what was real, to learn from. What neighbours, counts and arrivals tell is not for this
test: ``test_counts`` has that.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import pytest
from aiohttp import web

from pbx_stir.cps import dummies, retrievals, server, serving
from pbx_stir.cps.dummies import Dummies
from pbx_stir.cps.retrieving import Retrieving
from pbx_stir.cps.store import Entry
from pbx_stir.cps.wire import Target, format_id
from pbx_stir.stir import sealing
from tests.privacy.classifier import gather, judge
from tests.privacy.watching import LIFETIME_SECONDS, SWEEP_SECONDS

# Four fifths of them to learn from.
POLLS = 25_000
LEAK_SECONDS = 300e-6

Plant = Callable[[pytest.MonkeyPatch], None]


@pytest.fixture(autouse=True)
def _sweeps_keep_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "SWEEP_SECONDS", SWEEP_SECONDS)


def test_one_entry_is_not_told_from_a_dummy(record_property: Callable[..., None]) -> None:
    """Trained on 20,000 polls, the classifier is right about 50 ± 1 % of entries it never saw."""
    verdict = judge(gather(POLLS))
    record_property("accuracy", str(verdict))
    print(f"\nright about {verdict}")
    assert verdict.entries > 30_000
    assert abs(verdict.accuracy - 0.5) <= 0.01, str(verdict)


class _Telling(Retrieving):
    """Answers with something of its own for real entries."""

    async def item(self, target: Target, *more: object) -> web.Response:
        response = await super().item(target, *more)  # type: ignore[arg-type]
        held = await self._store.entries(target.number, self._clock())
        if target.id in {each.id for each in held}:
            self.tell(response)
        return response

    def tell(self, response: web.Response) -> None:
        raise NotImplementedError


class _OtherOrder(_Telling):
    def tell(self, response: web.Response) -> None:
        response.headers["Link"] = response.headers.pop("Link")


class _MoreHeaders(_Telling):
    def tell(self, response: web.Response) -> None:
        response.headers["Age"] = "0"


class _Slower(_Telling):
    def tell(self, response: web.Response) -> None:
        until = time.perf_counter() + LEAK_SECONDS
        while time.perf_counter() < until:
            pass


class _ShortLived(Dummies):
    def entries(self, number: str, now: float) -> Sequence[Entry]:
        found = super().entries(number, now)
        return [each for each in found if each.arrival > now - 0.9 * LIFETIME_SECONDS]


def _answering(kind: type[Retrieving]) -> Plant:
    return lambda monkeypatch: monkeypatch.setattr(retrievals, "Retrieving", kind)


def _short_lived(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "Dummies", _ShortLived)


def _random_octets(monkeypatch: pytest.MonkeyPatch) -> None:
    def random_octets(seed: bytes) -> bytes:
        import random

        return random.Random(seed).randbytes(sealing.SEALED_OCTETS)

    monkeypatch.setattr(sealing, "dummy", random_octets)


def _other_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    def letters(octets: bytes) -> str:
        return format_id(octets).replace("-", "a").replace("_", "b")

    monkeypatch.setattr(dummies, "format_id", letters)


# Each with the polls that are enough to find it.
LEAKS = {
    "plain random octets instead of a public key": (_random_octets, 800),
    "a lifetime one tenth shorter": (_short_lived, 3_000),
    "one header more": (_answering(_MoreHeaders), 800),
    "another order of headers": (_answering(_OtherOrder), 800),
    "ids of another alphabet": (_other_ids, 800),
    "an answer that takes longer": (_answering(_Slower), 800),
}


@pytest.mark.parametrize("leak", LEAKS)
def test_the_same_test_notices_a_leak(leak: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of these planted in the server is found: that nothing is found above means something."""
    plant, polls = LEAKS[leak]
    plant(monkeypatch)
    verdict = judge(gather(polls))
    print(f"\n{leak}: right about {verdict}")
    assert verdict.low > 0.51, str(verdict)
