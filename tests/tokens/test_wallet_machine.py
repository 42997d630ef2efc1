"""The wallet as a state machine: two processes, crashes at any write, restarts: each token once.

Two real wallets share a directory. They are stocked, taken from, closed, killed, and killed in the
middle of what they write, or the disk is full then; one closes while the other one goes on. Judged
by what was ever given out, not by what they remember. A clean end loses nothing; lost are no more
than what one that was killed, or that the disk refused, had in its hands.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from pbx_stir.errors import ConfigurationError
from pbx_stir.tokens import wallet_files
from pbx_stir.tokens.epochs import EPOCH_SECONDS
from pbx_stir.tokens.wallet import AHEAD_SECONDS, Wallet
from pbx_stir.tokens.wallet_files import RECORD_OCTETS
from tests.tokens.minting import CPS, EPOCH, NOW, Mint, key_list

READY = 4
BATCH = 5
# most often all of them are made
WRITES = st.sampled_from([None, None, None, None, 0, 1, 2, 3])
MINTS = (Mint(), Mint(EPOCH + 1, 1))


@functools.cache
def records(which: int) -> tuple[bytes, ...]:
    """Tokens of an epoch, made once: it takes a while."""
    return tuple(MINTS[which].records(30))


class Killed(BaseException):
    """The process ends here."""


class Disk:
    """``os`` as the wallet's files use it, until so many more writes have been begun."""

    def __init__(self) -> None:
        self.left: int | None = None
        self.full = False

    def begin(self) -> None:
        """One more write; where the disk is ``full`` it fails, and later ones do not."""
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                if self.full:
                    self.left = None
                    raise OSError(errno.ENOSPC, "no space left on device")
                raise Killed

    def module(self) -> Any:
        """What stands for ``os``."""
        names = {name: getattr(os, name) for name in dir(os)}
        return SimpleNamespace(**names | {
            "fsync": self._watched(os.fsync), "ftruncate": self._watched(os.ftruncate),
            "pwrite": self._half,
        })  # fmt: skip

    def _watched(self, what: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*arguments: Any) -> Any:
            self.begin()
            return what(*arguments)

        return watched

    def _half(self, descriptor: int, octets: bytes, at: int) -> int:
        """It may be half a write that was the last."""
        try:
            self.begin()
        except (Killed, OSError):
            os.pwrite(descriptor, octets[: len(octets) // 2], at)
            raise
        return os.pwrite(descriptor, octets, at)


@dataclass(frozen=True)
class Ending:
    """After how many writes there is none more, if at all; is the process killed, or ``full``?"""

    writes: int | None = None
    full: bool = False


class WalletMachine(RuleBasedStateMachine):
    """Two processes with one wallet; ``day`` is the epoch that it is, counted from the first."""

    disk = Disk()

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.now = NOW
        self.put_in = [0, 0]
        self.given: list[bytes] = []
        self.wallets: list[Wallet] = []

    @initialize(late=st.booleans())
    def start(self, late: bool) -> None:
        """Both processes start; ``late``, the next epoch's first tokens are to be had as well."""
        self.disk.left = None
        if late:
            self.now = (EPOCH + 1) * EPOCH_SECONDS - AHEAD_SECONDS / 2
        self.wallets = [self._opened(), self._opened()]
        self.wallets[0].pin(CPS, key_list(*MINTS), self.now)
        for day in (0, 1):
            self.put(0, day, None)

    def _opened(self) -> Wallet:
        return Wallet(Path(self.folder.name) / "wallet", ready=READY)

    @property
    def day(self) -> int:
        """Which of the two epochs it is."""
        return int(self.now // EPOCH_SECONDS) - EPOCH

    @rule(which=st.integers(0, 1), day=st.integers(0, 1), writes=WRITES, full=st.booleans())
    def put(self, which: int, day: int, writes: int | None, full: bool = False) -> None:
        """New tokens come; perhaps the process dies while it writes them, or the disk is full."""
        done = self.put_in[day]
        batch = records(day)[done : done + BATCH]

        def put(wallet: Wallet) -> None:
            self.put_in[day] += len(batch)
            wallet.put(CPS, EPOCH + day, batch, 100)

        self._do(which, Ending(writes, full), put, len(batch))

    @rule(which=st.integers(0, 1), writes=WRITES, full=st.booleans())
    def stock(self, which: int, writes: int | None, full: bool = False) -> None:
        """Tokens are brought into memory; perhaps the process dies meanwhile. It never has more
        there than it may lose."""
        how = Ending(writes, full)
        # with one half or less of an epoch's in memory it takes the rest of them off the disk
        self._do(which, how, lambda one: one.stock(CPS, self.now), 2 * READY)
        for day in (0, 1):
            assert self.wallets[which].in_memory(CPS, EPOCH + day) <= READY

    @rule(which=st.integers(0, 1), most=st.integers(1, READY), stocked=st.booleans())
    def take(self, which: int, most: int, stocked: bool) -> None:
        """Calls take tokens, ``stocked`` just before."""
        if stocked:
            self.stock(which, None)
        for _ in range(most):
            token = self.wallets[which].take(CPS, self.now)
            if token is not None:
                assert token.token.epoch == EPOCH + self.day
                assert token.token.key not in self.given, "given out twice"
                self.given.append(token.token.key)

    @rule(which=st.integers(0, 1), writes=WRITES, full=st.booleans())
    def restart(self, which: int, writes: int | None, full: bool = False) -> None:
        """A clean end, or one that is killed meanwhile, or for which the disk is full; a start.

        Lost is what was in memory, and where a write failed, what was of that epoch.
        """
        held = [self.wallets[which].in_memory(CPS, EPOCH + day) for day in (0, 1)]
        self._do(which, Ending(writes, full), Wallet.close, max(held) if full else 0)
        assert not any(self.wallets[which].in_memory(CPS, EPOCH + day) for day in (0, 1))
        self.wallets[which] = self._opened()

    @rule(
        which=st.integers(0, 1),
        locks=st.sampled_from([0, 0, 1]),
        does=st.sampled_from(["put", "put", "take", "both"]),
        stocked=st.booleans(),
    )
    def restart_beside_another(self, which: int, locks: int, does: str, stocked: bool) -> None:
        """A clean end loses nothing, whatever the other process puts and takes in the middle."""
        if stocked:
            self.stock(which, None)
        wallet, waited = self.wallets[which], 0
        locked = wallet.files._disk.locked

        @contextlib.contextmanager
        def watched() -> Iterator[None]:
            nonlocal waited
            if waited == locks:
                if does != "take":
                    self.put(1 - which, self.day, None)
                if does != "put":
                    self.take(1 - which, READY, True)
            waited += 1
            with locked():
                yield

        wallet.files._disk.locked = watched  # type: ignore[method-assign]
        missing = self.missing()
        wallet.close()
        assert wallet.take(CPS, self.now) is None
        assert self.missing() == missing
        self.wallets[which] = self._opened()

    @rule(which=st.integers(0, 1))
    def kill(self, which: int) -> None:
        """It ends without a word, with what it had in memory."""
        self.wallets[which] = self._opened()

    @precondition(lambda self: self.day == 0)
    @rule()
    def midnight(self) -> None:
        """The next epoch begins."""
        self.now = float((EPOCH + 1) * EPOCH_SECONDS)

    def missing(self) -> int:
        """How many tokens are gone that nobody was given; none is in two places."""
        kept = 0
        for day in (0, 1):
            mine = set(records(day)[: self.put_in[day]])
            path = Path(self.folder.name) / "wallet"
            files = [one.read_bytes() for one in path.glob(f"*/{EPOCH + day}.tokens")]
            on_disk = [
                octets[at : at + RECORD_OCTETS]
                for octets in files
                for at in range(0, len(octets) - RECORD_OCTETS + 1, RECORD_OCTETS)
            ]
            whole = [one for one in on_disk if one in mine]
            assert len(set(whole)) == len(whole), "twice on the disk"
            kept += len(whole) + sum(one.in_memory(CPS, EPOCH + day) for one in self.wallets)
        return sum(self.put_in) - len(self.given) - kept

    def _do(self, which: int, how: Ending, what: Callable[[Wallet], Any], at_risk: int) -> None:
        """Do it; after so many writes the process dies. Nothing is lost where none fails; else what
        is ``at_risk``, and what was in memory of one that died."""
        in_memory = sum(self.wallets[which].in_memory(CPS, EPOCH + day) for day in (0, 1))
        missing, lost = self.missing(), 0
        self.disk.left, self.disk.full = how.writes, how.full
        try:
            what(self.wallets[which])
        except ConfigurationError:
            assert how.full
            lost = at_risk
        except Killed:
            lost = at_risk + in_memory
            self.wallets[which] = self._opened()
        self.disk.left = None
        assert self.missing() <= missing + lost

    def teardown(self) -> None:
        """Remove the directory."""
        self.disk.left = None
        self.folder.cleanup()


def test_no_token_is_given_out_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever two processes do, and wherever they are killed."""
    monkeypatch.setattr(wallet_files, "os", WalletMachine.disk.module())
    case = WalletMachine.TestCase
    case.settings = settings(
        max_examples=60,
        stateful_step_count=25,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    case().runTest()
