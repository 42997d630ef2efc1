"""Whether a store may be made: a token and its proof, checked by the CPS (RFC 8816 section 7.5).

Takes what a request carries, gives the name under which its entry is counted, or refuses. In two
steps, around the reading of the body: ``read`` needs none and does the cheap checks first, then the
CPS's signature over K_temp; ``spend`` checks the proof and counts.

"This design lets the CPS rate limit how many PASSporTs a given sender can store just by counting
how many times K_temp appears". What is counted is kept under HMACs of the epoch's secret: who reads
the counts learns no token and no number, and nothing at all once the epoch's key is erased. Of a
proof only that it was there is kept, and no longer than it could be used again.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

from pbx_stir.errors import MalformedToken, TokenRefused
from pbx_stir.tokens import blind_rsa, storage_token
from pbx_stir.tokens.epochs import epoch_of
from pbx_stir.tokens.key_files import COUNTED_SECONDS
from pbx_stir.tokens.keys import TAG_OCTETS, SigningKey, TokenKeys
from pbx_stir.tokens.ledger import Counter, Ledger
from pbx_stir.tokens.storage_token import WINDOW_SECONDS, Proof, StorageToken, Store

STORES_PER_TOKEN: Final = 16
MOST_KNOWN: Final = 8_192
# a proof may be of WINDOW_SECONDS ahead, and is good as long after its time; then its body arrives
_EPOCH_OCTETS: Final = 4
_REMEMBERED_SECONDS: Final = 2.0 * WINDOW_SECONDS + 30


@dataclass(frozen=True, slots=True)
class Presented:
    """A token that is good here and now, K_temp, and a proof that nobody has checked yet."""

    token: StorageToken
    proof: Proof
    public: EllipticCurvePublicKey
    signing: SigningKey
    host: str


class TokenChecker:
    """Checks the stores of one CPS. ``names`` are its host names in lower case, without port."""

    def __init__(
        self,
        keys: TokenKeys,
        ledger: Ledger,
        names: Container[str],
        *,
        stores_per_token: int = STORES_PER_TOKEN,
        stores_per_token_and_number: int = STORES_PER_TOKEN,
    ) -> None:
        self._keys = keys
        self._ledger = ledger
        self._names = names
        self._of_token = stores_per_token
        self._of_number = stores_per_token_and_number
        # verified tokens and their keys; only tokens that hold come in, so nobody can flood it
        self._known: dict[StorageToken, EllipticCurvePublicKey] = {}

    def read(self, authorizations: Sequence[str], hosts: Sequence[str], now: float) -> Presented:
        """Check all that needs no body, the token's signature last.

        ``authorizations`` and ``hosts`` are the values of these header fields, all of them.
        Raises ``TokenRefused``, with status 401.
        """
        if len(authorizations) != 1:
            count = "no" if not authorizations else "more than one"
            raise TokenRefused(f"{count} authorization: a store needs one storage token")
        try:
            token, proof = storage_token.parse_authorization(authorizations[0])
        except MalformedToken as error:
            raise TokenRefused(error.message) from error
        signing = self._keys.of(token.epoch)
        if signing is None:
            raise TokenRefused(f"epoch {token.epoch} is not one whose tokens are good now")
        if abs(now - proof.time) > WINDOW_SECONDS:
            raise TokenRefused(
                f"the proof's time is not within {WINDOW_SECONDS} s of ours",
                hint="compare clocks by the date of this answer",
            )
        # so a token is good until its epoch ends, and who comes a moment later is not late
        if epoch_of(proof.time) != token.epoch:
            raise TokenRefused(f"epoch {token.epoch} is over, or has not begun")
        host = host_name(hosts[0]) if len(hosts) == 1 else ""
        if host not in self._names:
            raise TokenRefused("the host is not a name of this service")
        return Presented(token, proof, self._public(token, signing), signing, host)

    async def spend(self, presented: Presented, number: str, content_type: str, body: bytes) -> str:
        """Check the proof and count the store; give the name under which its entry is counted.

        Raises ``TokenRefused``: 401 where the proof is not for this store, 409 where it was used
        before, 429 where the token has made all its stores; and ``StoreUnavailable``.
        """
        token, proof, signing = presented.token, presented.proof, presented.signing
        store = Store(presented.host, "POST", number, content_type, body)
        if not storage_token.proof_holds(presented.public, token, proof, store):
            raise TokenRefused("the proof is not one of this token for this store")
        # all counts of a token begin with the same octets: they are spent together
        names = signing.hidden("token", token.key, octets=3 * TAG_OCTETS)
        tag, owner = names[:TAG_OCTETS], names[2 * TAG_OCTETS :]
        # by the nonce, not by the signature: another one that holds is made of it by anybody
        used = tag + signing.hidden("proof", token.key, proof.nonce)
        if not await self._ledger.once(used, _REMEMBERED_SECONDS):
            raise TokenRefused("the proof was used before", status=409)
        counters = [Counter(names[: 2 * TAG_OCTETS], self._of_token)]
        if self._of_number < self._of_token:
            counters.append(self._for_number(signing, tag, owner, number))
        until = signing.public.not_after + COUNTED_SECONDS
        exhausted = await self._ledger.spend(counters, 1, until)
        if exhausted is not None:
            where = " for this number" if exhausted else ""
            raise TokenRefused(
                f"the token has made {counters[exhausted].most} stores{where}, and makes no more",
                status=429,
                retry_after=1,
                hint="use another token",
            )
        return (token.epoch.to_bytes(_EPOCH_OCTETS, "big") + names).hex()

    async def report(self, owner: str, number: str, entry_id: str) -> None:
        """Count an entry that was reported as bogus as one more store of its token.

        For ``number``, where stores for a number have a limit of their own. ``owner`` is what
        ``spend`` gave for it. Each entry counts once, however often and by whomever it is
        reported: it costs as much again as storing it has cost. Raises ``StoreUnavailable``.
        """
        octets = bytes.fromhex(owner)
        epoch, names = octets[:_EPOCH_OCTETS], octets[_EPOCH_OCTETS:]
        signing = self._keys.of(int.from_bytes(epoch, "big"))
        if signing is None or len(names) != 3 * TAG_OCTETS:
            return
        tag, own = names[:TAG_OCTETS], names[2 * TAG_OCTETS :]
        counter = Counter(names[: 2 * TAG_OCTETS], self._of_token)
        if self._of_number < self._of_token:
            counter = self._for_number(signing, tag, own, number)
        reported = tag + signing.hidden("report", entry_id.encode("ascii"))
        if await self._ledger.once(reported, _REMEMBERED_SECONDS):
            until = signing.public.not_after + COUNTED_SECONDS
            await self._ledger.spend([counter], 1, until)

    def _for_number(self, signing: SigningKey, tag: bytes, owner: bytes, number: str) -> Counter:
        """Give the counter of one token's stores for one number."""
        of_number = signing.hidden("number", owner, number.encode("ascii"))
        return Counter(tag + of_number, self._of_number)

    def _public(self, token: StorageToken, signing: SigningKey) -> EllipticCurvePublicKey:
        """Give K_temp of a token whose signature holds."""
        public = self._known.get(token)
        if public is not None:
            return public
        public_key = signing.public.public
        prepared = token.prepared(self._keys.issuer)
        if not blind_rsa.holds(public_key, prepared, token.signature):
            raise TokenRefused("the token was not signed by this service, or for another epoch")
        try:
            public = storage_token.load_key(token.key)
        except MalformedToken as error:
            raise TokenRefused(error.message) from error
        if len(self._known) >= MOST_KNOWN:
            del self._known[next(iter(self._known))]
        self._known[token] = public
        return public


def host_name(host: str) -> str:
    """Give a Host field's name in lower case, without port and brackets; "" for what is none."""
    if host.startswith("["):
        name, bracket, port = host[1:].partition("]")
        if not bracket or (port and not port.startswith(":")):
            return ""
    else:
        name, _, rest = host.partition(":")
        if ":" in rest:
            return ""
    return name.lower().removesuffix(".")
