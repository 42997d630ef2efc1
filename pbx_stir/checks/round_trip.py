"""A PASSporT sent through a CPS and back: signed, sealed, stored, fetched, opened, verified.

It is from a number of ours to one that belongs to nobody, sealed to a key that is drawn for it and
forgotten: nobody can open it, and it dies at the CPS by itself. It costs a storage token. Where the
CPS shows what it holds to holders of a number alone, a second one goes to a number of our own.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from msgspec.structs import replace

from pbx_stir import configured
from pbx_stir.checks.credentials import usable
from pbx_stir.checks.finding import Finding, error, note
from pbx_stir.clients import Clients, clients_of, proxy_of
from pbx_stir.config import Loaded
from pbx_stir.cps.client import CpsClient
from pbx_stir.cps.holder import Holder
from pbx_stir.directory.holdings import first_number, nameable
from pbx_stir.errors import (
    CertificateUnavailable,
    ConfigurationError,
    CpsUnavailable,
    PbxStirError,
    TooLarge,
)
from pbx_stir.services.call import Reason, Rejection
from pbx_stir.services.candidates import Candidate, Numbers
from pbx_stir.services.judgement import Fetches, Judge, VerificationPolicy
from pbx_stir.stir import passport, sealing
from pbx_stir.stir.credential import Credential
from pbx_stir.stir.number import NumberSet
from pbx_stir.stir.sealing import Opened

SECONDS: Final = 5.0
# E.164 numbers that begin so are assigned to nobody
NOBODYS_PREFIX: Final = "999"
_NOBODYS_DIGITS: Final = 12
_ATTEMPTS: Final = 3
# a CPS of several machines may need a moment until all of them have it
_PAUSE_SECONDS: Final = 0.3
_TURN_SECONDS: Final = 1.0
# certificates have findings of their own
_SAID_ELSEWHERE: Final = frozenset(
    {Reason.CERTIFICATE_UNTRUSTED, Reason.CERTIFICATE_EXPIRED, Reason.CLOCK}
)


async def try_round_trip(loaded: Loaded, cps: str) -> AsyncIterator[Finding]:
    """Give what goes wrong with a PASSporT of ours through ``cps``."""
    signer = _signer(loaded, time.time())
    if isinstance(signer, str):
        hint = "mend that first, then check again"
        yield note("round-trip-skipped", f"no PASSporT was sent through it: {signer}", cps, hint)
        return
    async with AsyncExitStack() as stack:
        try:
            clients = clients_of(_with_wallet(loaded, stack), usable(loaded), tokens_ready=1)
        except ConfigurationError:
            # has its own finding
            return
        stack.push_async_callback(clients.close)
        trip = _Trip(loaded, cps, clients, *signer)
        async for found in trip.carry_out():
            yield found


def _signer(loaded: Loaded, now: float) -> tuple[Credential, str] | str:
    """Who signs and for which number of ours, or why nobody can."""
    credentials = [one for one in usable(loaded) if one.valid_at(now)]
    if not credentials:
        return "there is no certificate that is valid now to sign with"
    values = loaded.values
    listed = [one for trunk in values.trunk for one in trunk.numbers] + [*values.publish.numbers]
    try:
        numbers = NumberSet.parse(listed, max_digits=24)
    except PbxStirError:
        return "the trunks' numbers cannot be read"
    for one in credentials:
        named = nameable(numbers, one.tn_auth_list)
        for number in map(first_number, named):
            if one.covers(number):
                return one, number
    return "no certificate covers a number of ours"


def _with_wallet(loaded: Loaded, stack: AsyncExitStack) -> Loaded:
    """The same with the service's wallet, where there is one that we may use, else with none.

    The state folder is the service's to make, and what root made there it could not use.
    """
    wallet = loaded.resolve(loaded.values.state_dir) / "wallet"
    if wallet.is_dir() and os.access(wallet, os.R_OK | os.W_OK | os.X_OK):
        return loaded
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="pbx-stir-check-"))
    return replace(loaded, values=replace(loaded.values, state_dir=folder))


class _Nowhere:
    """Gets no certificate: what is sealed has to bring its own along."""

    def cached(self, x5u: str) -> bool:
        """Never."""
        return False

    async def chain(self, x5u: str, give_up_at: float) -> tuple[x509.Certificate, ...]:
        """Raise ``CertificateUnavailable``."""
        raise CertificateUnavailable("it did not fit beside the PASSporT")


@dataclass(frozen=True, slots=True)
class _Trip:
    """Sends PASSporTs from ``orig``, signed by ``signer``, through one CPS."""

    loaded: Loaded
    cps: str
    clients: Clients
    signer: Credential
    orig: str

    async def carry_out(self) -> AsyncIterator[Finding]:
        """Go there and back; to nobody's number first, which is no matter of ours."""
        dest = NOBODYS_PREFIX + f"{secrets.randbelow(10**_NOBODYS_DIGITS):0{_NOBODYS_DIGITS}d}"
        private = sealing.new_private_key()
        failed = await self._store(dest, sealing.public_octets(private))
        if failed is not None:
            yield failed
            return
        opened = await self._fetch([self.clients.retrieving], dest, private)
        if opened is None:
            async for found in self._to_ourselves():
                yield found
            return
        for found in await self._judge(opened[0], dest):
            yield found

    async def _to_ourselves(self) -> AsyncIterator[Finding]:
        """Try what a number's holder alone may see, as the service would fetch it."""
        publish = self.loaded.values.publish
        own = self._own_number() if self.cps in publish.cps else ""
        if not own:
            yield note(
                "round-trip-unseen",
                "it took a PASSporT, and shows what it holds to the numbers' holders alone",
                self.cps,
                "nothing: whether calls to its numbers are verified only those who are called see",
            )
            return
        private = sealing.new_private_key()
        failed = await self._store(own, sealing.public_octets(private))
        if failed is not None:
            yield failed
            return
        async with AsyncExitStack() as stack:
            signed = self._signed()
            stack.push_async_callback(signed.close)
            usual = self.clients.retrieving if publish.retrieve == "open" else signed
            opened = await self._fetch([usual, signed], own, private)
        if opened is None:
            hint = "is it one CPS with several machines that share nothing?"
            what = "it took a PASSporT for a number of ours, and does not give it back to us"
            yield error("round-trip-lost", what, self.cps, hint)
            return
        if opened[1] is not usual:
            yield error(
                "retrieval-holders-only",
                "it gives PASSporTs to signed requests alone, and ours are not: no call passes",
                self.cps,
                f'[publish] retrieve = "signed" in {self.loaded.path}',
            )
        for found in await self._judge(opened[0], own):
            yield found

    def _own_number(self) -> str:
        """A number of ours that we publish at this CPS and can sign for; empty where none is."""
        try:
            published = configured.published(self.loaded, [self.signer])
        except ConfigurationError:
            return ""
        return first_number(published[0].named[0]) if published else ""

    def _signed(self) -> CpsClient:
        outgoing = self.loaded.values.outgoing
        return CpsClient(
            tls=configured.tls_of(self.loaded, "outgoing.tls_ca", outgoing.tls_ca),
            allow_plain=outgoing.plain_loopback,
            proxy=proxy_of(self.loaded, "retrieve_proxy"),
            holder=Holder([self.signer], [self.cps]),
        )

    async def _store(self, dest: str, public: bytes) -> Finding | None:
        """Sign, seal and store one; what went wrong."""
        shaken = self.signer.ppt == "shaken"
        fresh = str(uuid.uuid4())
        try:
            token = passport.sign(
                orig=self.orig,
                dest=[dest],
                iat=int(time.time()),
                x5u=self.signer.x5u,
                key=self.signer.key,
                attest="A" if shaken else "",
                origid=fresh if shaken else "",
                jti="" if shaken else fresh,
            )
            blob = sealing.seal(token.token, self.signer.chain, public, dest)
        except TooLarge as wrong:
            return error("round-trip-refused", wrong.message, self.cps, wrong.hint)
        return await self._place(dest, blob)

    async def _place(self, dest: str, blob: bytes) -> Finding | None:
        """Store it, with a token where one is needed; what went wrong."""
        for attempt in range(_ATTEMPTS):
            if attempt:
                # the service may be obtaining tokens just now: then nobody else does
                await asyncio.sleep(_TURN_SECONDS)
            obtained = await self._have_token()
            if obtained is not None:
                return obtained
            give_up_at = time.monotonic() + SECONDS
            [result] = await self.clients.storing.store([self.cps], dest, [blob], give_up_at)
            if result.reason is not Reason.NO_TOKENS:
                break
        if result.reason is Reason.STORED:
            return None
        code, hint = _NOT_STORED.get(result.reason, ("round-trip-refused", ""))
        what = f"it does not take a PASSporT: {result.reason.value}: {result.detail}"
        return error(code, what, self.cps, hint)

    async def _have_token(self) -> Finding | None:
        """Have a token where one is needed; why there is none."""
        supply = self.clients.supply
        if supply is None:
            return None
        try:
            async with asyncio.timeout(SECONDS):
                await supply.ready(self.clients.storing.origin(self.cps))
        except TimeoutError:
            what = "it gives us no storage tokens in time"
            return error("round-trip-no-tokens", what, self.cps, "is the CPS overloaded?")
        except CpsUnavailable as wrong:
            hint = "does the CPS have cps.trust? Without it, it issues none"
            return error("round-trip-no-tokens", wrong.message, self.cps, hint)
        except PbxStirError as wrong:
            hint = wrong.hint or "does the CPS's cps.trust have our certificate's authority?"
            what = f"it gives us no storage tokens: {wrong.message}"
            return error("round-trip-no-tokens", what, self.cps, hint)
        return None

    async def _fetch(
        self, clients: Sequence[CpsClient], dest: str, private: X25519PrivateKey
    ) -> tuple[Opened, CpsClient] | None:
        """Fetch and open, and by which of ``clients``; None where none of them is given it."""
        for attempt in range(_ATTEMPTS):
            if attempt:
                await asyncio.sleep(_PAUSE_SECONDS)
            for client in dict.fromkeys(clients):
                blobs: Iterable[bytes] = ()
                wanted = [(self.cps, dest)]
                async for answer in client.retrieve(wanted, time.monotonic() + SECONDS):
                    blobs = answer.blobs
                for blob in blobs:
                    opened = sealing.open_sealed(blob, private, dest)
                    if opened is not None:
                        return opened, client
        return None

    async def _judge(self, opened: Opened, dest: str) -> list[Finding]:
        """Verify it as if the call were to us."""
        trust = self.loaded.values.verification.trust
        try:
            anchors = configured.anchors(self.loaded, "verification.trust", trust)
        except ConfigurationError:
            return []
        if not trust:
            return []
        section = self.loaded.values.verification
        policy = VerificationPolicy(
            anchors.current, configured.spc_policy(self.loaded), frozenset(section.passed_attest)
        )
        candidate = Candidate(passport.parse(opened.passport), opened.chain, in_band=False)
        looked = await Judge(policy, _Nowhere()).judge(
            candidate,
            Numbers((self.orig,), (dest,)),
            time.time(),
            time.monotonic() + SECONDS,
            Fetches(),
        )
        if not isinstance(looked, Rejection) or looked.reason in _SAID_ELSEWHERE:
            return []
        what = f"a PASSporT of ours is not verified: {looked.reason.value}: {looked.detail}"
        hint = "dialplan/README.md says what the word means; those whom we call see the same"
        return [error("round-trip-unverified", what, self.cps, hint)]


_NOT_STORED: Final = {
    Reason.NO_TOKENS: (
        "round-trip-no-tokens",
        "is the service obtaining some just now? Then ask again in a minute",
    ),
    Reason.CPS_UNAVAILABLE: ("cps-unreachable", "it answered before: is it overloaded?"),
    Reason.CPS_REFUSED: ("round-trip-refused", "the CPS's log, or who runs it, says why"),
}
