"""Whether a CPS that keeps everything can tell whose stores it is given (RFC 8816 section 7.5).

Senders obtain tokens and store through a proxy that they share; a curious CPS logs all it sees of
both (tests/tokens/curious_cps.py). Several linkers then name a sender for each store. They do no
better than chance; and each of them succeeds where the leak that it looks for was planted.
"""

from __future__ import annotations

import asyncio
import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from pbx_stir.tokens import wallet

from .curious_cps import Issued, Log, Stored
from .minting import NOW, Mint
from .observed import BATCH, Habits, watch

SENDERS = 8
CALLS = 30
# some clocks are off by what a clock that is set is off by, and some are not set at all
CLOCKS = (0.0, 0.05, -0.2, 31.0, -47.0, 500.0, 0.1, -0.1)
Linker = Callable[[Log], Sequence[int]]


def _alike(log: Log, mark: Callable[[Issued | Stored], object]) -> list[int]:
    """Name the only sender whose requests for tokens bear a store's mark; else the first one."""
    owners: dict[object, set[int]] = {}
    for issued in log.issued:
        owners.setdefault(mark(issued), set()).add(issued.sender)
    return [
        next(iter(found)) if len(found := owners.get(mark(each), set())) == 1 else 0
        for each in log.stored
    ]


def by_address(log: Log) -> list[int]:
    """The same address."""
    return _alike(log, lambda one: one.seen.address)


def by_connection(log: Log) -> list[int]:
    """The same connection."""
    return _alike(log, lambda one: one.seen.connection)


def by_tls_session(log: Log) -> list[int]:
    """A TLS session that was resumed."""
    return _alike(log, lambda one: one.seen.tls_session)


def by_head(log: Log) -> list[int]:
    """The same header fields in the same order, with the same values but for what must differ."""

    def shape(one: Issued | Stored) -> tuple[object, ...]:
        must = {"Host", "Content-Length", "Authorization", "Content-Type"}
        return tuple((name, "" if name in must else v) for name, v in one.seen.fields.items())

    return _alike(log, shape)


def by_port(log: Log) -> list[int]:
    """The nearest source port: ports may be given one after the other."""
    return [
        min(log.issued, key=lambda one: abs(one.seen.port - each.seen.port)).sender
        for each in log.stored
    ]


def by_time_before(log: Log) -> list[int]:
    """Who obtained tokens last before the store."""
    return [_nearest(log, each, lambda one: one >= 0) for each in log.stored]


def by_time_after(log: Log) -> list[int]:
    """Who obtains tokens first after the store: he may have run short of them."""
    return [_nearest(log, each, lambda one: one < 0) for each in log.stored]


def _nearest(log: Log, each: Stored, side: Callable[[float], bool]) -> int:
    apart = [(each.seen.at - one.seen.at, one) for one in log.issued]
    chosen = [(abs(gap), one.seen.number, one) for gap, one in apart if side(gap)]
    return min(chosen)[2].sender if chosen else 0


def by_order(log: Log) -> list[int]:
    """The tokens in the order in which they were issued, as far as there are stores."""
    issued = [one.sender for one in log.issued for _ in one.blinded]
    of_epoch = {each.token.epoch for each in log.stored}
    assert len(of_epoch) == 1
    step = len(issued) / len(log.stored)
    return [issued[int(index * step)] for index in range(len(log.stored))]


def by_batch(log: Log) -> list[int]:
    """As many stores as a batch has tokens, one batch after the other."""
    batches = [one.sender for one in log.issued]
    return [batches[index // BATCH % len(batches)] for index in range(len(log.stored))]


def by_clock(log: Log) -> list[int]:
    """The sender whose clock is wrong by as much as the proof's time."""
    wrong: dict[int, list[float]] = {}
    for one in log.issued:
        wrong.setdefault(one.sender, []).append(one.iat - one.seen.at)
    known = {sender: sum(all_) / len(all_) for sender, all_ in wrong.items()}
    return [
        min(known, key=lambda who: abs(known[who] - (each.proof.time - each.seen.at)))
        for each in log.stored
    ]


def by_octets(log: Log) -> list[int]:
    """Eight octets of a request for tokens, or of its answer, that come again in a store."""
    owners: dict[bytes, int] = {}
    for one in log.issued:
        for number in (*one.blinded, *one.signatures):
            octets = number.to_bytes(256, "big")
            owners.update((octets[at : at + 8], one.sender) for at in range(249))
    guesses = []
    for each in log.stored:
        token, proof = each.token, each.proof
        octets = token.key + token.randomizer + token.signature + proof.nonce + proof.signature
        found = (owners.get(octets[at : at + 8]) for at in range(len(octets) - 7))
        guesses.append(next((one for one in found if one is not None), 0))
    return guesses


def by_blinding(log: Log) -> list[int]:
    """A blinding factor that is no random one: small, or the same for several tokens.

    For every token that was issued and every one that was spent there is a factor that would have
    led from the one to the other; that is why it says nothing, unless it is drawn badly.
    """
    found = _factors(log)
    often = {factor for factor, count in Counter(f for _, _, f in found).items() if count > 1}
    guesses = [0] * len(log.stored)
    for index, issued, factor in found:
        if factor in often or factor < 1 << 128:
            guesses[index] = issued.sender
    return guesses


def _factors(log: Log) -> list[tuple[int, Issued, int]]:
    modulus = Mint().key.public.public_numbers().n
    spent = [
        (index, pow(int.from_bytes(each.token.signature, "big"), -1, modulus))
        for index, each in enumerate(log.stored)
    ]
    return [
        (index, issued, signature * inverse % modulus)
        for issued in log.issued
        for signature in issued.signatures
        for index, inverse in spent
    ]


LINKERS: dict[str, Linker] = {
    name: linker
    for name, linker in globals().items()
    if name.startswith("by_") and callable(linker)
}


def success(log: Log, linker: Linker) -> float:
    """The share of stores that a linker names the right sender of."""
    pairs = zip(linker(log), log.stored, strict=True)
    return sum(guess == each.sender for guess, each in pairs) / len(log.stored)


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Log:
    """What was seen of senders as they are."""
    folder = tmp_path_factory.mktemp("world")
    return asyncio.run(watch(folder, SENDERS, CALLS, Habits(wrong_clocks=CLOCKS)))


def test_all_obtain_and_all_store(log: Log) -> None:
    """There is something to link: every sender obtained batches and made all its stores."""
    assert {one.sender for one in log.issued} == set(range(SENDERS))
    assert Counter(each.sender for each in log.stored) == dict.fromkeys(range(SENDERS), CALLS)
    assert len({each.token.key for each in log.stored}) == SENDERS * CALLS
    assert all(len(one.blinded) == BATCH for one in log.issued)


@pytest.mark.parametrize("name", LINKERS)
def test_no_linker_beats_chance(log: Log, name: str) -> None:
    """Within four and a half standard deviations of guessing."""
    chance = 1 / SENDERS
    spread = math.sqrt(chance * (1 - chance) / len(log.stored))
    assert success(log, LINKERS[name]) < chance + 4.5 * spread


def test_nothing_ties_the_paths_together(log: Log) -> None:
    """No address, connection or TLS session of a request for tokens is ever one of a store."""
    for mark in ("address", "connection"):
        named = {getattr(one.seen, mark) for one in log.issued}
        unnamed = {getattr(one.seen, mark) for one in [*log.stored]}
        unnamed |= {getattr(seen, mark) for seen in log.lists}
        assert named.isdisjoint(unnamed), mark
    seen = [*(one.seen for one in log.issued), *(one.seen for one in log.stored), *log.lists]
    assert not any(one.tls_resumed for one in seen)
    assert not any("cookie" in name.lower() for one in seen for name in one.fields)
    # a list of keys has a connection of its own each time
    lists = Counter(one.connection for one in log.lists)
    assert set(lists.values()) == {1}
    assert {each.seen.connection for each in log.stored}.isdisjoint(lists)


def test_stores_look_alike(log: Log) -> None:
    """Names, order, values and sizes of header fields are the same whoever stores."""
    heads = set()
    for each in log.stored:
        fields = each.seen.fields
        fields["Authorization"] = re.sub(r'"[^"]*"', '""', fields["Authorization"])
        heads.add(tuple(fields.items()))
    assert len(heads) == 1
    assert len({len(each.seen.head) for each in log.stored}) == 1
    assert len({len(each.seen.body) for each in log.stored}) == 1


def test_lists_of_keys_look_alike(log: Log) -> None:
    """So do the requests for the list of keys."""
    assert len({seen.head for seen in log.lists}) == 1


def test_every_token_fits_every_request(log: Log) -> None:
    """Any spent token could have come of any blinded message: a factor leads from one to the other,
    and no factor comes twice."""
    public = Mint().key.public.public_numbers()
    few = Log(log.issued[:2], log.stored[:20], [])
    factors = _factors(few)
    assert len({factor for _, _, factor in factors}) == len(factors) == 2 * BATCH * 20
    for index, issued, factor in factors[::97]:
        message = pow(int.from_bytes(few.stored[index].token.signature, "big"), public.e, public.n)
        assert message * pow(factor, public.e, public.n) % public.n in issued.blinded


def test_no_request_follows_a_call(log: Log) -> None:
    """Requests for tokens begin before there is any call, and none comes within a second of one by
    more than chance would have it."""
    began = min(each.seen.at for each in log.stored)
    assert {one.sender for one in log.issued if one.seen.at < began} == set(range(SENDERS))
    assert began >= NOW + 600
    calls = sorted((each.seen.at, each.sender) for each in log.stored)
    later = [one for one in log.issued if one.seen.at > began]
    own = sum(
        any(sender == one.sender and 0 <= one.seen.at - at < 1 for at, sender in calls)
        for one in later
    )
    assert own <= max(2, len(later) // 4)


PLANTED = [
    ("by_address", Habits(proxied=False)),
    ("by_connection", Habits(shared_connection=True)),
    ("by_tls_session", Habits(resumed=True, proxied=False)),
    ("by_time_before", Habits(at_once=True)),
    ("by_time_after", Habits(scarce=True)),
    ("by_order", Habits(in_turn=True)),
    ("by_batch", Habits(in_turn=True)),
    ("by_clock", Habits(wrong_clocks=(0.0, 31.0, -47.0, 900.0), corrected=False)),
]


@pytest.mark.parametrize(("name", "habits"), PLANTED, ids=[name for name, _ in PLANTED])
def test_planted_leaks_are_found(tmp_path: Path, name: str, habits: Habits) -> None:
    """The linker that looks for a leak names nearly all senders where it was planted; of what is
    obtained after many calls, which is also obtained at other times, far more than chance does."""
    calls = BATCH if habits.in_turn else 24 if habits.scarce else 5
    leaking = asyncio.run(watch(tmp_path, 4, calls, habits))
    assert success(leaking, LINKERS[name]) > (0.5 if habits.scarce else 0.9)


def test_a_badly_drawn_factor_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A blinding factor that is always the same one gives every sender away."""
    monkeypatch.setattr(wallet.secrets, "randbelow", lambda _: 1_234_567)
    leaking = asyncio.run(watch(tmp_path, 4, 5, Habits()))
    assert success(leaking, by_blinding) > 0.9


def test_octets_that_come_again_are_found(log: Log) -> None:
    """A randomizer that stood in the blinded message would be seen."""
    leaking = Log(log.issued, [], [])
    for index, one in enumerate(log.issued):
        octets = one.blinded[0].to_bytes(256, "big")[100:132]
        template = log.stored[index]
        token = type(template.token)(
            template.token.epoch, template.token.key, octets, template.token.signature
        )
        leaking.stored.append(Stored(template.seen, token, template.proof, one.sender))
    assert success(leaking, by_octets) == 1.0


def test_heads_that_differ_are_found(log: Log) -> None:
    """A field of a sender's own, in both kinds of requests, would be seen."""

    def marked(one: Issued | Stored) -> bytes:
        return one.seen.head.replace(b"\r\n\r\n", b"\r\nX: %d\r\n\r\n" % one.sender)

    from dataclasses import replace

    leaking = Log(
        [replace(one, seen=replace(one.seen, head=marked(one))) for one in log.issued],
        [replace(one, seen=replace(one.seen, head=marked(one))) for one in log.stored],
    )
    stripped = Log(
        [replace(one, seen=_bare(one)) for one in leaking.issued],
        [replace(one, seen=_bare(one)) for one in leaking.stored],
    )
    assert success(stripped, by_head) == 1.0


def _bare(one: Issued | Stored) -> object:
    """The request with the marked field alone."""
    from dataclasses import replace

    first, *_, mark = one.seen.head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    return replace(one.seen, head=first + b"\r\n" + mark + b"\r\n\r\n")
