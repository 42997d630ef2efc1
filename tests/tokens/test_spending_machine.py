"""Spending as a state machine: whatever the clock does and however often the CPS is started again.

The real checker, ledger, journal and key files are driven by stores, replays, waits, steps of the
wall clock, restarts and kills, and judged by what was let through, not by what they remember:

* a token makes no more stores than it may, ever;
* a proof counts once, unless the wall clock was set back so far that its time came again, long
  after: and then it is one of the stores that its token may make.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import secrets
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import HealthCheck, assume, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from pbx_stir.errors import TokenRefused
from pbx_stir.tokens import blind_rsa, key_files, storage_token
from pbx_stir.tokens.checker import TokenChecker
from pbx_stir.tokens.epochs import EPOCH_SECONDS
from pbx_stir.tokens.journal import Journal
from pbx_stir.tokens.key_files import KeyFiles, SecretKey
from pbx_stir.tokens.keys import TokenKeys
from pbx_stir.tokens.ledger import MemoryLedger
from pbx_stir.tokens.storage_token import WINDOW_SECONDS, StorageToken
from tests.tokens.spending import EPOCH, NAME, NUMBER, TYPE, Purse, secret_key

STORES = 3
FOR_A_NUMBER = 2
# a minute and a bit before an epoch ends, where most can go wrong
BEGIN = float((EPOCH + 1) * EPOCH_SECONDS) - 100.0
RIGHT = BEGIN - 1_000.0
# how often a CPS looks after its keys
KEYS_SECONDS = 60.0


@dataclass
class Made:
    """One authorization, and when, by a clock that never steps, it was let through."""

    purse: Purse
    number: str
    authorization: str
    counted: list[float]


class SpendingMachine(RuleBasedStateMachine):
    """One CPS with a state directory; ``clock`` never steps, the wall clock is ``ahead`` of it."""

    drawn: ClassVar[Iterator[int]] = itertools.count()

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.clock, self.ahead = 1_000.0, RIGHT
        self.made: list[Made] = []
        self.purses: list[Purse] = []
        # of the epoch's key, by token
        self.secrets: dict[bytes, bytes] = {}
        self.accepted: Counter[bytes] = Counter()
        self.set_back_at: list[float] = []
        self.journal: Journal | None = None
        self.prepared_at = 0.0

    @property
    def now(self) -> float:
        """What the wall clock says."""
        return self.clock + self.ahead

    @initialize()
    def start(self) -> None:
        """Start, or start again, as a process does that finds its directory."""
        folder = Path(self.folder.name)
        self.journal = Journal(folder / "spent")
        self.ledger = MemoryLedger(lambda: self.now, journal=self.journal, clock=lambda: self.clock)
        self.keys = TokenKeys(KeyFiles(folder / "keys", clock=lambda: self.clock), NAME)
        self.look_after_keys()
        self.checker = TokenChecker(
            self.keys,
            self.ledger,
            {NAME},
            stores_per_token=STORES,
            stores_per_token_and_number=FOR_A_NUMBER,
        )

    def look_after_keys(self) -> None:
        """As the CPS does each minute."""
        self.keys.prepare(self.now)
        self.prepared_at = self.clock

    @rule()
    def restart(self) -> None:
        """End and start; a kill is the same, since nothing is kept back from the disk."""
        assert self.journal is not None
        self.journal.close()
        self.start()
        self._all_again()

    def _all_again(self) -> None:
        """Whoever has seen the last requests sends them again, at the worst of moments."""
        for made in self.made[-3:]:
            self._send(made)

    @precondition(lambda self: self.ahead == RIGHT)
    @rule(seconds=st.sampled_from([200.0, 1_000.0]))
    def restart_while_ahead(self, seconds: float) -> None:
        """It starts by a clock that is ahead, and is set right soon after."""
        self.step(seconds, 1)
        self.restart()
        self.wait(1.0)
        self.set_right()
        self._all_again()

    @rule(late=st.sampled_from([95.0, 130.0, 170.0]))
    def midnight_and_back(self, late: float) -> None:
        """The last tokens of an epoch are used up; soon after it the clock is set back into it."""
        if self.now > BEGIN + 95.0:
            self.set_back_at.append(self.clock)
        self.ahead += BEGIN + 95.0 - self.now
        if len(self.purses) < 6:
            self.look_after_keys()
            self.mint()
        for purse in self.purses[-1:]:
            self._use_up(purse)
            self.wait(5.0 + late)
            self.step(late + 10.0, -1)
            self._use_up(purse)

    @precondition(lambda self: self.ahead == RIGHT and len(self.purses) < 6)
    @rule(before=st.sampled_from([0.0, 30.0, 59.0]), late=st.sampled_from([299.0, 301.0, 330.0]))
    def days_ahead_for_minutes(self, before: float, late: float) -> None:
        """A token is used up; then the clock is days ahead, until somebody sets it right."""
        self.wait(before)
        self.mint()
        for purse in self.purses[-1:]:
            self._use_up(purse)
            self.step(2.0 * EPOCH_SECONDS, 1)
            self.wait(1.0)
            self.wait(late)
            self.set_right()
            self.look_after_keys()
            self._use_up(purse)

    @rule(seconds=st.sampled_from([1.0, 1.0, 25.0, 45.0, 100.0, 170.0, 310.0, 700.0]))
    def wait(self, seconds: float) -> None:
        """Time goes by, and others store, too."""
        end = self.clock + seconds
        while (due := self.prepared_at + KEYS_SECONDS) <= end:
            self.clock = due
            self.look_after_keys()
        self.clock = end
        asyncio.run(self.ledger.once(secrets.token_bytes(32), 1.0))

    @rule(
        seconds=st.sampled_from([40.0, 100.0, 200.0, 1_000.0, 2.0 * EPOCH_SECONDS]),
        sign=st.sampled_from([1, -1]),
    )
    def step(self, seconds: float, sign: int) -> None:
        """The wall clock is set."""
        assume(abs(self.now + sign * seconds - BEGIN) < 3 * EPOCH_SECONDS)
        self.ahead += sign * seconds
        if sign < 0:
            self.set_back_at.append(self.clock)

    @precondition(lambda self: self.ahead != RIGHT)
    @rule()
    def set_right(self) -> None:
        """The wall clock is right again."""
        if self.ahead > RIGHT:
            self.set_back_at.append(self.clock)
        self.ahead = RIGHT

    @precondition(lambda self: len(self.purses) < 4)
    @rule()
    def mint(self) -> None:
        """The CPS signs a token for the epoch that it takes it to be."""
        epoch = int(self.now // EPOCH_SECONDS)
        signing = self.keys.of(epoch)
        if signing is None:
            return
        private = ec.generate_private_key(ec.SECP256R1())
        unsigned = StorageToken(
            epoch, storage_token.key_octets(private.public_key()), secrets.token_bytes(32), b""
        )
        encoded = blind_rsa.encode(unsigned.prepared(NAME), 2047, secrets.token_bytes(48))
        signature = signing.signer.sign(encoded)
        self.secrets[unsigned.key] = signing.secret
        self.purses.append(Purse(replace(unsigned, signature=signature), private))

    @precondition(lambda self: self.purses)
    @rule(
        data=st.data(), number=st.sampled_from([NUMBER, "1"]), off=st.sampled_from([0, -29, 29])
    )  # fmt: skip
    def store(self, data: st.DataObject, number: str, off: int) -> None:
        """A sender stores with a fresh proof; clocks differ by a little."""
        purse = data.draw(st.sampled_from(self.purses[-2:]))
        authorization = purse.authorization(b"body", number=number, now=self.now + off)
        made = Made(purse, number, authorization, [])
        self.made.append(made)
        self._send(made)

    def _use_up(self, purse: Purse) -> None:
        for number in ("1", "1", "1", "2", "3"):
            made = Made(
                purse, number, purse.authorization(b"body", number=number, now=self.now), []
            )
            self.made.append(made)
            self._send(made)

    @precondition(lambda self: self.made)
    @rule(data=st.data())
    def replay(self, data: st.DataObject) -> None:
        """Somebody who has seen a request sends it again."""
        self._send(data.draw(st.sampled_from(self.made[-3:])))

    def _send(self, made: Made) -> None:
        token = made.purse.token
        signing = self.keys.of(token.epoch)
        if signing is not None and signing.secret != self.secrets[token.key]:
            # a key that was erased and made anew: it only seems to be the same, see below
            return
        try:
            presented = self.checker.read([made.authorization], [NAME], self.now)
            asyncio.run(self.checker.spend(presented, made.number, TYPE, b"body"))
        except TokenRefused:
            return
        self.accepted[made.purse.token.key] += 1
        assert self.accepted[made.purse.token.key] <= STORES, "a token made one store more"
        if made.counted:
            since = self.clock - made.counted[-1]
            assert since > 2 * WINDOW_SECONDS, "a proof counted twice"
            assert any(at >= made.counted[0] for at in self.set_back_at), "it came late"
        made.counted.append(self.clock)
        mine = [one for one in self.made if one.purse is made.purse and one.number == made.number]
        assert sum(len(one.counted) for one in mine) <= FOR_A_NUMBER, "one more for a number"

    def teardown(self) -> None:
        """Remove its directory."""
        if self.journal is not None:
            self.journal.close()
        self.folder.cleanup()


def test_no_token_and_no_proof_is_spent_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the order of stores, replays, waits, steps of the clock and restarts."""

    # an RSA key takes a while to be made: here there are three, with a new secret each time
    made = [secret_key(EPOCH, which).private for which in range(3)]

    def drawn(epoch: int) -> SecretKey:
        private = made[next(SpendingMachine.drawn) % len(made)]
        return SecretKey(epoch, private, secrets.token_bytes(32))

    load = serialization.load_der_private_key
    monkeypatch.setattr(key_files, "_new", drawn)
    # it checks the key each time, which takes longer than all else
    monkeypatch.setattr(key_files.serialization, "load_der_private_key", functools.cache(load))
    case = SpendingMachine.TestCase
    case.settings = settings(
        max_examples=100,
        stateful_step_count=25,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    case().runTest()
