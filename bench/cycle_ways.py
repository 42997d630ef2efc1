"""The two ways of a call cycle: sealed and paid for with tokens, or in the clear (RFC 9888).

Takes calls and answers, gives requests: no sockets but for those that obtain tokens. Everything
that is signed, sealed, opened and judged is so by the project's own code.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import queue
import ssl
import threading
import time
import uuid
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from bench.cps_world import post
from pbx_stir.certificates import anchors
from pbx_stir.cps import wire
from pbx_stir.errors import PbxStirError
from pbx_stir.services.call import Rejection
from pbx_stir.services.candidates import Candidate, Numbers
from pbx_stir.services.judgement import Fetches, Judge, VerificationPolicy, use_of
from pbx_stir.services.used import Claim, Use, UsedPassports
from pbx_stir.stir import credential, passport, sealing, signed_request
from pbx_stir.stir.credential import Credential
from pbx_stir.tokens import blind_rsa, epochs, exchange, wallet
from pbx_stir.tokens.storage_token import NONCE_OCTETS, StorageToken, key_octets
from pbx_stir.tokens.wallet import Unspent

ORIG_FIRST = 12_125_000_000
DEST_FIRST = 13_105_000_000
NUMBERS = 1_000_000
X5U = "https://certificates.example.com"
_READY = 256
_T = TypeVar("_T")


@dataclass(slots=True)
class Call:
    """One cycle: whose, since when (``time.perf_counter``), and how far it is."""

    caller: int
    began: float
    index: int
    token: str = ""
    stored: bool = False

    @property
    def orig(self) -> str:
        """Who calls."""
        return str(ORIG_FIRST + self.index % NUMBERS)

    @property
    def dest(self) -> str:
        """Who is called: each number in its turn."""
        return str(DEST_FIRST + self.index % NUMBERS)


@dataclass(frozen=True, slots=True)
class Keys:
    """What the calling and the called company have."""

    caller: Credential
    called: Credential
    sealing: X25519PrivateKey
    judge: Judge
    ca: str
    port: int

    @classmethod
    def read(cls, folder: str) -> Keys:
        """Read what ``bench.cycles`` has written into ``folder``."""
        here = Path(folder)
        trusted = anchors.load([str(here / "anchor.pem")])
        caller, called = (_credential(here, name) for name in ("caller", "called"))
        private = X25519PrivateKey.from_private_bytes((here / "called.x25519").read_bytes())
        chains = {
            one.x5u: tuple(map(x509.load_der_x509_certificate, one.chain))
            for one in (caller, called)
        }
        judge = Judge(VerificationPolicy(lambda: trusted), _Known(chains))
        port = int((here / "port").read_text())
        return cls(caller, called, private, judge, str(here / "cps-ca.pem"), port)


class _Known:
    """A certificate source that has all it is asked for."""

    def __init__(self, chains: dict[str, tuple[x509.Certificate, ...]]) -> None:
        self._chains = chains

    def cached(self, x5u: str) -> bool:
        """Whether it is there."""
        return x5u in self._chains

    async def chain(self, x5u: str, give_up_at: float) -> tuple[x509.Certificate, ...]:
        """The chain, as a cache gives it."""
        return self._chains[x5u]


def _credential(folder: Path, name: str) -> Credential:
    pem, key = ((folder / f"{name}.{kind}").read_bytes() for kind in ("pem", "key"))
    return credential.load(pem, key, x5u=f"{X5U}/{name}.pem")


class Supply:
    """Tokens, obtained by a thread while calls are made: blinded, signed by the CPS, unblinded.

    ``calls_a_token`` calls are made with each.
    """

    def __init__(self, keys: Keys, host: str, calls_a_token: int) -> None:
        self.obtained = 0
        self._keys = keys
        self._host = host
        self._each = calls_a_token
        self._left = 0
        self._now: Unspent | None = None
        self._ready: queue.Queue[Unspent] = queue.Queue(_READY)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._obtain, daemon=True)
        self._thread.start()
        deadline = time.monotonic() + 20
        while self._ready.qsize() < min(_READY, exchange.MOST_IN_A_REQUEST):
            if time.monotonic() > deadline:
                raise TimeoutError("the CPS gives no tokens")
            time.sleep(0.01)

    def take(self) -> Unspent:
        """One for a call. Raises ``queue.Empty`` after a second without."""
        if self._left == 0 or self._now is None:
            self._now = self._ready.get(timeout=1)
            self._left = self._each
        self._left -= 1
        return self._now

    def close(self) -> None:
        """Obtain no more."""
        self._over.set()
        # what it waits for is room
        with contextlib.suppress(queue.Empty):
            while True:
                self._ready.get_nowait()
        self._thread.join(10)

    def _obtain(self) -> None:
        context = ssl.create_default_context(cafile=self._keys.ca)
        # straight to the CPS, whatever the calls go through
        cps = http.client.HTTPSConnection(self._host, self._keys.port, timeout=10, context=context)
        with contextlib.closing(cps):
            self._obtain_from(cps)

    def _obtain_from(self, cps: http.client.HTTPSConnection) -> None:
        listed = epochs.parse_key_list(_answer(cps, "GET", exchange.KEYS_PATH))
        key = listed.of(epochs.epoch_of(time.time()))
        assert key is not None
        while not self._over.is_set():
            wanted = [wallet.want(listed.issuer, key) for _ in range(exchange.MOST_IN_A_REQUEST)]
            blinded = tuple(one.blinded.blinded for one in wanted)
            body = exchange.format_request(exchange.BlindedBatch(key.epoch, blinded))
            nonce = exchange.parse_nonce(_answer(cps, "GET", exchange.TOKENS_PATH))
            header = signed_request.sign_request(
                signed_request.TOKEN_REQUEST,
                audience=self._host,
                method="POST",
                path=exchange.TOKENS_PATH,
                body=body,
                now=time.time(),
                credential=self._keys.caller,
                nonce=nonce,
            )
            more = {"Authorization": header, "Content-Type": wire.JSON_TYPE}
            answer = _answer(cps, "POST", exchange.TOKENS_PATH, body, more)
            signatures = exchange.parse_signatures(answer, len(wanted))
            for one, signature in zip(wanted, signatures, strict=True):
                self._ready.put(_unspent(one, key, signature))
                self.obtained += 1


def _unspent(one: wallet.Wanted, key: epochs.EpochKey, blind_signature: bytes) -> Unspent:
    signature = blind_rsa.finalize(key.public, one.prepared, blind_signature, one.blinded.inverse)
    public = key_octets(one.private.public_key())
    randomizer = one.prepared[: blind_rsa.RANDOMIZER_OCTETS]
    return Unspent(StorageToken(key.epoch, public, randomizer, signature), one.private)


def _answer(
    cps: http.client.HTTPSConnection,
    method: str,
    path: str,
    body: bytes | None = None,
    more: dict[str, str] | None = None,
) -> bytes:
    cps.request(method, path, body, more or {})
    answer = cps.getresponse()
    octets = answer.read()
    if answer.status not in {200, 201}:
        raise OSError(f"{method} {path}: {answer.status} {octets[:200]!r}")
    return octets


class Way(Protocol):
    """How a cycle is carried out."""

    supply: Supply | None

    def begin(self, call: Call) -> bytes:
        """Sign for a call; gives the store."""
        ...

    def go_on(self, call: Call, status: int, body: bytes) -> tuple[bytes | None, str]:
        """Take an answer: gives the next request if there is one, and why the cycle failed."""
        ...


class _Judging:
    """What both ways have in common."""

    supply: Supply | None = None

    def __init__(self, keys: Keys, host: str) -> None:
        self.keys = keys
        self.host = host
        self._used = UsedPassports()

    def signed(self, call: Call) -> str:
        """A PASSporT for a call, as the authentication service makes it."""
        return passport.sign(
            orig=call.orig,
            dest=[call.dest],
            iat=int(time.time()),
            x5u=self.keys.caller.x5u,
            key=self.keys.caller.key,
            jti=str(uuid.uuid4()),
        ).token

    def verified(self, call: Call, token: str, chain: tuple[bytes, ...]) -> str:
        """Judge and use up one PASSporT; gives why it does not pass."""
        now = time.time()
        parsed = passport.parse(token)
        candidate = Candidate(parsed, chain, in_band=False)
        numbers = Numbers((call.orig,), (call.dest,))
        judging = self.keys.judge.judge(candidate, numbers, now, time.monotonic() + 1, Fetches())
        judged = _at_once(judging)
        if isinstance(judged, Rejection):
            return judged.reason.value
        key, until = use_of(candidate, judged)
        name = str(call.index)
        claim = Claim("pbx", name, name, "carrier", call.orig, call.dest, name)
        reservation = _at_once(self._used.reserve(key, claim, until, now, parsed.iat))
        return "" if reservation.use is Use.FRESH else "replayed"


def _at_once(work: Coroutine[Any, Any, _T]) -> _T:
    """What needs no waiting, without an event loop."""
    try:
        work.send(None)
    except StopIteration as done:
        return done.value  # type: ignore[no-any-return]
    raise RuntimeError("it waits")


class Encrypted(_Judging):
    """Sealed to the called party's key, stored with a token."""

    def __init__(self, keys: Keys, host: str, supply: Supply) -> None:
        super().__init__(keys, host)
        self.supply: Supply | None = supply
        self._tokens = supply
        self._public = sealing.public_octets(keys.sealing)

    def begin(self, call: Call) -> bytes:
        """Sign, seal, prove."""
        chain = self.keys.caller.chain
        body = sealing.to_wire(sealing.seal(self.signed(call), chain, self._public, call.dest))
        authorization = self._tokens.take().authorization(
            host=self.host,
            number=call.dest,
            content_type=wire.PASSPORT_TYPE,
            body=body,
            now=time.time(),
            nonce=os.urandom(NONCE_OCTETS),
        )
        return post(call.dest, body, f"Authorization: {authorization}\r\n")

    def go_on(self, call: Call, status: int, body: bytes) -> tuple[bytes | None, str]:
        """Fetch after the store; open and verify after the fetch."""
        if not call.stored:
            if status != 201:
                return None, f"store {status}"
            call.stored = True
            path = f"{wire.collection_path(call.dest)}?expand=1"
            return f"GET {path} HTTP/1.1\r\nHost: {self.host}\r\n\r\n".encode(), ""
        if status != 200:
            return None, f"fetch {status}"
        failure = "not found"
        for listed in wire.parse_list(body, wire.JSON_TYPE):
            try:
                blob = sealing.from_wire(listed.wire or b"")
                opened = sealing.open_sealed(blob, self.keys.sealing, call.dest)
            except PbxStirError:
                continue
            if opened is not None:
                failure = self.verified(call, opened.passport, opened.chain)
                if not failure:
                    return None, ""
        return None, failure


class Cleartext(_Judging):
    """As it is, both requests signed with STIR credentials (RFC 9888 sections 5 and 6)."""

    def begin(self, call: Call) -> bytes:
        """Sign the PASSporT and its submission."""
        body = self.signed(call).encode()
        header = self._signed_request(
            signed_request.SUBMISSION, "POST", wire.collection_path(call.dest), body, caller=True
        )
        return post(call.dest, body, f"Authorization: {header}\r\n")

    def go_on(self, call: Call, status: int, body: bytes) -> tuple[bytes | None, str]:
        """Fetch after the store; verify after the fetch."""
        if not call.stored:
            if status != 201:
                return None, f"store {status}"
            call.stored = True
            path = f"{wire.collection_path(call.dest)}?expand=1"
            header = self._signed_request(signed_request.RETRIEVAL, "GET", path, b"", caller=False)
            head = f"GET {path} HTTP/1.1\r\nHost: {self.host}\r\nAuthorization: {header}\r\n\r\n"
            return head.encode(), ""
        if status != 200:
            return None, f"fetch {status}"
        failure = "not found"
        for listed in wire.parse_list(body, wire.JSON_TYPE):
            failure = self.verified(call, (listed.wire or b"").decode(), ())
            if not failure:
                return None, ""
        return None, failure

    def _signed_request(
        self, typ: str, method: str, path: str, body: bytes, *, caller: bool
    ) -> str:
        return signed_request.sign_request(
            typ,
            audience=self.host,
            method=method,
            path=path,
            body=body,
            now=time.time(),
            credential=self.keys.caller if caller else self.keys.called,
        )
