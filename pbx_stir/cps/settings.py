"""How a call placement service runs: addresses, limits, whom it trusts.

Frozen values; they are checked where they are used.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from pbx_stir.cps.dummies import SecretSource
from pbx_stir.cps.shelf import RecordShelf
from pbx_stir.cps.store import (
    DEFAULT_LIFETIME_SECONDS,
    DEFAULT_MAX_OCTETS,
    MAX_ENTRIES_OF_A_NUMBER,
    MemoryStore,
)
from pbx_stir.services.judgement import RevocationSource
from pbx_stir.stir.certificate import Anchors, SpcPolicy
from pbx_stir.tokens.checker import STORES_PER_TOKEN
from pbx_stir.tokens.issuer import TOKENS_PER_ISSUER, TOKENS_PER_LEAF, TOKENS_PER_SPC
from pbx_stir.tokens.keys import KeySource
from pbx_stir.tokens.ledger import Ledger

# who is given what is stored: everybody (RFC 8816), or whose certificate covers the number
OPEN = "open"
HOLDERS = "holders"


@dataclass(frozen=True, slots=True)
class CpsSettings:
    """How a CPS runs. Rates are requests a second, bursts are one second's worth.

    ``tokens`` demands storage tokens (RFC 8816 section 7.5); ``anchors`` are whose records are kept
    and to whom tokens are issued, None is nobody. ``token_keys`` and ``ledger`` are where their
    keys and counts are kept, ``secrets`` where the dummies' are, None is in memory; limits of
    tokens are those of an epoch. ``used`` remembers signed requests, by default ``ledger`` does:
    listeners that could be sent the same one share it. Others listen on a ``shared_port`` too.
    ``certificate`` and ``key`` are PEM files. ``handshakes_of_a_peer`` are TLS handshakes a second,
    twice as many at once. ``metrics`` is HOST:PORT for them, "" for none. ``names`` are the hosts
    that requests may be for, by default those of the certificate; ``retrieval`` is ``OPEN`` or
    ``HOLDERS``, and holders may show TLS ``client_certificates``. Peers on loopback have no rate
    and no limit of connections of their own. Checked where it is used: ``listening``.
    ``state_dir`` has the keys and counts of tokens where these two are None; "" is none.
    Signed requests made before ``since`` (epoch seconds) are refused, where it is not remembered
    which were used before. ``revocation`` says whose records are refused, ``shelf`` keeps them,
    None is in memory; ``reloads`` read the files behind these settings again.
    """

    host: str = "127.0.0.1"
    port: int = 8480
    tls: bool = True
    certificate: str = ""
    key: str = ""
    tokens: bool = True
    lifetime_seconds: int = DEFAULT_LIFETIME_SECONDS
    max_entries_of_a_number: int = MAX_ENTRIES_OF_A_NUMBER
    max_octets: int = DEFAULT_MAX_OCTETS
    retrieval_rate: float = 10_000.0
    store_rate: float = 10_000.0
    record_rate: float = 100.0
    record_rate_of_a_peer: float = 10.0
    peer_rate: float = 1_000.0
    max_connections: int = 4_096
    max_connections_of_a_peer: int = 256
    handshakes_of_a_peer: float = 20.0
    metrics: str = ""
    anchors: Callable[[], Anchors] | None = None
    spc_policy: SpcPolicy = field(default_factory=SpcPolicy)
    revocation: RevocationSource | None = None
    shelf: RecordShelf | None = None
    reloads: tuple[Callable[[], object], ...] = ()
    names: tuple[str, ...] = ()
    retrieval: str = OPEN
    client_certificates: bool = False
    push_subscribers: int = 2_000
    push_subscribers_of_a_leaf: int = 64
    push_heartbeat_seconds: float = 15.0
    state_dir: str = ""
    token_keys: KeySource | None = None
    ledger: Ledger | None = None
    used: Ledger | None = None
    since: float = 0.0
    secrets: SecretSource | None = None
    shared_port: bool = False
    issue_rate: float = 100.0
    issue_rate_of_a_peer: float = 10.0
    stores_per_token: int = STORES_PER_TOKEN
    stores_per_token_and_number: int = STORES_PER_TOKEN
    tokens_per_leaf: int = TOKENS_PER_LEAF
    tokens_per_issuer: int = TOKENS_PER_ISSUER
    tokens_per_spc: int = TOKENS_PER_SPC

    def new_store(self) -> MemoryStore:
        """Make the store that these settings describe."""
        return MemoryStore(
            self.lifetime_seconds,
            max_entries_of_a_number=self.max_entries_of_a_number,
            max_octets=self.max_octets,
        )
