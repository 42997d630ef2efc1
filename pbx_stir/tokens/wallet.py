"""The sender's wallet: storage tokens in memory for calls, and more of them on the disk.

Takes finished tokens and gives them out, each once. ``take`` is for the call path: it looks into
memory alone and never waits. What lies in memory was taken off the disk before (``stock``, off the
call path), so that no other process and no restart gives it out again; what is left of it at the
end goes back. Times are epoch seconds and come in as arguments. It talks to nobody.

Tokens are given out in random order, not in the order in which they were obtained.
Source: RFC 8816 section 7.5.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec

from pbx_stir.errors import ConfigurationError
from pbx_stir.tokens import blind_rsa
from pbx_stir.tokens.epochs import EpochKey, KeyList, epoch_of
from pbx_stir.tokens.passed import Passed
from pbx_stir.tokens.storage_token import (
    SIGNATURE_OCTETS,
    StorageToken,
    Store,
    format_authorization,
    key_octets,
    message,
    prove,
)
from pbx_stir.tokens.wallet_files import GRACE_SECONDS, MOST_CPS, MOST_TOKENS, Left, WalletFiles

# in memory for each CPS; a restart that is no clean one loses as many
READY: Final = 64
# before an epoch begins its first tokens are brought into memory
AHEAD_SECONDS: Final = 600.0

_SCALAR_OCTETS = 32
_shuffle = secrets.SystemRandom().shuffle


@dataclass(frozen=True, slots=True)
class Unspent:
    """A token with the private half of its key."""

    token: StorageToken
    private: ec.EllipticCurvePrivateKey = field(repr=False)

    def authorization(
        self, *, host: str, number: str, content_type: str, body: bytes, now: float, nonce: bytes
    ) -> str:
        """Give the value of ``Authorization`` for one store of ``body``; see ``Store``.

        ``nonce`` is 16 random octets; ``now`` the time by the CPS's clock.
        """
        store = Store(host, "POST", number, content_type, body)
        proof = prove(self.private, self.token, store, now=now, nonce=nonce)
        return format_authorization(self.token, proof)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A token that waits for its blind signature: what goes to the CPS, and what stays here."""

    private: ec.EllipticCurvePrivateKey = field(repr=False)
    prepared: bytes = field(repr=False)
    blinded: blind_rsa.Blinded = field(repr=False)


def want(issuer: str, key: EpochKey) -> Wanted:
    """Draw a key pair and blind its public half for an issuer (RFC 8816 section 7.5)."""
    private = ec.generate_private_key(ec.SECP256R1())
    public = key_octets(private.public_key())
    prepared = blind_rsa.prepare(
        message(issuer, key.epoch, public), secrets.token_bytes(blind_rsa.RANDOMIZER_OCTETS)
    )
    blinded = blind_rsa.blind(
        key.public,
        prepared,
        salt=secrets.token_bytes(blind_rsa.SALT_OCTETS),
        r=1 + secrets.randbelow(key.public.public_numbers().n - 1),
    )
    return Wanted(private, prepared, blinded)


def signed(wanted: Wanted, key: EpochKey, blind_signature: bytes) -> bytes:
    """Make the wallet's record of a token that was signed. Raises ``TokenRefused`` where the CPS
    did not sign what it was given, with the key that it publishes."""
    signature = blind_rsa.finalize(
        key.public, wanted.prepared, blind_signature, wanted.blinded.inverse
    )
    randomizer = wanted.prepared[: blind_rsa.RANDOMIZER_OCTETS]
    return _scalar(wanted.private) + randomizer + signature


class Wallet:
    """Tokens of all CPSs; ``cps`` is a base URL as ``cps.origin`` writes it.

    ``calls_per_token`` is how many calls one token serves, 1 unless the CPS is known to take more
    and the calls may be seen to be of one sender. ``take`` and ``discard`` are for the event loop;
    all else touches the disk and belongs into a thread: it raises ``ConfigurationError``.
    """

    def __init__(
        self,
        directory: Path,
        *,
        ready: int = READY,
        calls_per_token: int = 1,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``clock`` never steps."""
        self._passed = Passed(clock)
        self.files = WalletFiles(directory)
        self._ready = ready
        self._calls_per_token = calls_per_token
        self._stock: dict[tuple[str, int], deque[Unspent]] = {}
        self._in_use: dict[str, tuple[Unspent, int]] = {}
        # who takes off the disk, and who puts back at the end
        self._moving = threading.Lock()
        self._closed = False

    @property
    def calls_per_token(self) -> int:
        """How many calls one token serves."""
        return self._calls_per_token

    def take(self, cps: str, now: float) -> Unspent | None:
        """Give a token that is good at ``now``, and never again; None where memory has none."""
        epoch = epoch_of(now)
        token, calls = self._in_use.pop(cps, (None, 0))
        if token is None or token.token.epoch != epoch:
            try:
                token, calls = self._stock[cps, epoch].popleft(), self._calls_per_token
            except (KeyError, IndexError):
                return None
        if calls > 1:
            self._in_use[cps] = token, calls - 1
        return token

    def discard(self, cps: str) -> None:
        """Serve no further call with the token in use: the CPS wants no more of it."""
        self._in_use.pop(cps, None)

    def in_memory(self, cps: str, epoch: int) -> int:
        """How many tokens ``take`` has for an epoch."""
        return len(self._stock.get((cps, epoch), ()))

    def is_low(self, cps: str, now: float) -> bool:
        """Whether ``stock`` should be called: half of what may be in memory is gone."""
        return self.in_memory(cps, epoch_of(now)) <= self._ready // 2

    def count(self, cps: str, epoch: int) -> int:
        """How many tokens there are, in our memory and on the disk."""
        return self.in_memory(cps, epoch) + self.files.count(cps, epoch)

    def stock(self, cps: str, now: float) -> int:
        """Bring tokens into memory, for this epoch and for one that is about to begin.

        What does not hold under the pinned key is left out. Gives how many there are in memory now.
        """
        keys = self.files.pinned(cps)
        with self._moving:
            if keys is not None and not self._closed:
                self._bring(cps, keys, now)
        return self.in_memory(cps, epoch_of(now))

    def _bring(self, cps: str, keys: KeyList, now: float) -> None:
        epochs = {epoch_of(now), epoch_of(now + AHEAD_SECONDS)}
        for key in (key for key in keys.keys if key.epoch in epochs):
            if (cps, key.epoch) not in self._stock and len(self._stock) >= 2 * MOST_CPS:
                break
            stock = self._stock.setdefault((cps, key.epoch), deque())
            if len(stock) > self._ready // 2:
                continue
            records = self.files.check_out(cps, key.epoch, self._ready - len(stock))
            _shuffle(records)
            stock.extend(_tokens(records, keys.issuer, key))

    def put(self, cps: str, epoch: int, records: Sequence[bytes], most: int) -> int:
        """Put records (``signed``) on the disk, so that there are at most ``most``."""
        mixed = list(records)
        _shuffle(mixed)
        return self.files.add(cps, epoch, mixed, most)

    def pin(self, cps: str, listed: KeyList, now: float) -> KeyList:
        """As ``WalletFiles.pin``: the keys by which tokens of a CPS are obtained and checked."""
        return self.files.pin(cps, listed, now, self._passed(now))

    def left(self) -> list[Left]:
        """What lies on the disk, what is in memory not counted."""
        return self.files.left()

    def wipe(self, now: float) -> int:
        """Forget the tokens of epochs that are over for sure; gives how many files were erased."""
        passed = self._passed(now)
        for cps, epoch in list(self._stock):
            if epoch < epoch_of(passed - GRACE_SECONDS):
                self._stock.pop((cps, epoch), None)
        return self.files.wipe(passed)

    def close(self) -> None:
        """Put back what was never given out. Nothing may be taken any more.

        What the disk does not take is lost: a part of it may stand there. That keeps no other CPS's
        from going back; the first ``ConfigurationError`` is raised at the end.
        """
        failure: ConfigurationError | None = None
        with self._moving:
            self._closed = True
            self._in_use.clear()
            while self._stock:
                (cps, epoch), stock = self._stock.popitem()
                try:
                    self._put_back(cps, epoch, stock)
                except ConfigurationError as error:
                    failure = failure or error
        if failure is not None:
            raise failure

    def _put_back(self, cps: str, epoch: int, stock: deque[Unspent]) -> None:
        records = []
        while stock:
            # one by one: who takes one at this moment has it alone
            one = stock.popleft()
            records.append(_scalar(one.private) + one.token.randomizer + one.token.signature)
        if records:
            # not as many as there are now, and these: another process may put some meanwhile
            self.files.add(cps, epoch, records, MOST_TOKENS)


def _scalar(private: ec.EllipticCurvePrivateKey) -> bytes:
    return private.private_numbers().private_value.to_bytes(_SCALAR_OCTETS, "big")


def _tokens(records: Sequence[bytes], issuer: str, key: EpochKey) -> list[Unspent]:
    """Read records; one that is not a token under this key was damaged."""
    found = []
    for record in records:
        try:
            private = ec.derive_private_key(
                int.from_bytes(record[:_SCALAR_OCTETS], "big"), ec.SECP256R1()
            )
        except ValueError:
            continue
        token = StorageToken(
            key.epoch,
            key_octets(private.public_key()),
            record[_SCALAR_OCTETS:-SIGNATURE_OCTETS],
            record[-SIGNATURE_OCTETS:],
        )
        if blind_rsa.holds(key.public, token.prepared(issuer), token.signature):
            found.append(Unspent(token, private))
    return found
