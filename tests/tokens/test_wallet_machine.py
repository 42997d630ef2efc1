"""The wallet as a state machine: two processes, crashes at any write, restarts: each token once.

Two real wallets share a directory. They are stocked, taken from, closed, killed, and killed in the
middle of what they write; judged by what was ever given out, not by what they remember. Lost are
no more than what a killed one had in memory.
"""

from __future__ import annotations

import functools
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from pbx_stir.tokens import wallet_files
from pbx_stir.tokens.epochs import EPOCH_SECONDS
from pbx_stir.tokens.wallet import Wallet
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

    def begin(self) -> None:
        """One more write."""
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
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
        except Killed:
            os.pwrite(descriptor, octets[: len(octets) // 2], at)
            raise
        return os.pwrite(descriptor, octets, at)


class WalletMachine(RuleBasedStateMachine):
    """Two processes with one wallet; ``day`` is the epoch that it is, counted from the first."""

    disk = Disk()

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.now = NOW
        self.put_in = [0, 0]
        self.given: list[bytes] = []
        self.lost = 0
        self.wallets: list[Wallet] = []

    @initialize()
    def start(self) -> None:
        """Both processes start."""
        self.disk.left = None
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

    @rule(which=st.integers(0, 1), day=st.integers(0, 1), writes=WRITES)
    def put(self, which: int, day: int, writes: int | None) -> None:
        """New tokens come; perhaps the process dies while it writes them."""
        done = self.put_in[day]
        batch = records(day)[done : done + BATCH]
        self.put_in[day] += len(batch)
        self._do(which, writes, lambda one: one.put(CPS, EPOCH + day, batch, 100), len(batch))

    @rule(which=st.integers(0, 1), writes=WRITES)
    def stock(self, which: int, writes: int | None) -> None:
        """Tokens are brought into memory; perhaps the process dies meanwhile."""
        self._do(which, writes, lambda one: one.stock(CPS, self.now), 2 * READY)

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

    @rule(which=st.integers(0, 1), writes=WRITES)
    def restart(self, which: int, writes: int | None) -> None:
        """A clean end, or one that is killed meanwhile; and a start."""
        self._do(which, writes, Wallet.close, 2 * READY)
        if writes is None:
            self.wallets[which] = self._opened()

    @rule(which=st.integers(0, 1))
    def kill(self, which: int) -> None:
        """It ends without a word, with what it had in memory."""
        self._restarted(which)

    @precondition(lambda self: self.day == 0)
    @rule()
    def midnight(self) -> None:
        """The next epoch begins."""
        self.now = float((EPOCH + 1) * EPOCH_SECONDS)

    @rule()
    def count(self) -> None:
        """Nothing is lost but what a killed process had in its hands."""
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
        assert sum(self.put_in) <= len(self.given) + kept + self.lost

    def _do(
        self, which: int, writes: int | None, what: Callable[[Wallet], Any], at_risk: int
    ) -> None:
        """Do it; after so many ``writes`` the process dies."""
        self.disk.left = writes
        try:
            what(self.wallets[which])
        except Killed:
            self.disk.left = None
            self.lost += at_risk
            self._restarted(which)
        else:
            if writes is not None and self.wallets[which]._closed:
                self.wallets[which] = self._opened()
        self.disk.left = None

    def _restarted(self, which: int) -> None:
        self.lost += sum(self.wallets[which].in_memory(CPS, EPOCH + day) for day in (0, 1))
        self.wallets[which] = self._opened()

    def teardown(self) -> None:
        """Remove the directory."""
        self.disk.left = None
        self.folder.cleanup()


def test_no_token_is_given_out_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever two processes do, and wherever they are killed."""
    monkeypatch.setattr(wallet_files, "os", WalletMachine.disk.module())
    case = WalletMachine.TestCase
    case.settings = settings(
        max_examples=40,
        stateful_step_count=25,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    case().runTest()
