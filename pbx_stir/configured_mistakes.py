"""Everything that is wrong with a configuration of ``pbx-stir run``, before anything is made of it.

Takes a ``config.Loaded`` whose keys are right, raises one error that has all mistakes: each part is
made as it would be, by itself, and thrown away. Connects to nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final

from pbx_stir import (
    clients,
    configured,
    configured_board,
    configured_callers,
    configured_metrics,
    configured_pbxs,
    configured_retrieval,
)
from pbx_stir.certificates.allowed import origin_of
from pbx_stir.config import Loaded
from pbx_stir.errors import Mistakes, UsageError
from pbx_stir.stir.certificate import Anchors


def check(loaded: Loaded) -> None:
    """Return if a service can be made of it. Raises ConfigurationError, with every mistake."""
    mistakes = Mistakes()
    for part in PARTS:
        with mistakes.gathered():
            part(loaded)
    mistakes.settle()


def check_kept(loaded: Loaded) -> None:
    """What a service that is made of it next need not make again: a long list takes its time."""
    mistakes = Mistakes()
    for make in (configured_callers.callers, configured.routes, configured.never_signed):
        with mistakes.gathered():
            loaded.once(make)
    mistakes.settle()


def check_tls(loaded: Loaded) -> None:
    """The authorities of CPSs' servers."""
    configured.tls_of(loaded, "outgoing.tls_ca", loaded.values.outgoing.tls_ca)


def check_proxies(loaded: Loaded) -> None:
    """The ways to CPSs."""
    for name in ("store_proxy", "retrieve_proxy"):
        clients.proxy_of(loaded, name)


def check_advertisements(loaded: Loaded) -> None:
    """Where others say at which CPS their numbers are."""
    configured.advertisements(loaded, lambda: Anchors.of([]))


def check_x5u(loaded: Loaded) -> None:
    """What names the servers of certificates."""
    section = loaded.values.verification
    for one in section.x5u_allow:
        try:
            origin_of(one)
        except UsageError as wrong:
            raise loaded.wrong("verification.x5u_allow", wrong.message, wrong.hint) from wrong
    configured.tls_of(loaded, "verification.x5u_tls_ca", section.x5u_tls_ca)


def check_trust(loaded: Loaded) -> None:
    """The anchors, and what is revoked."""
    anchors = configured.anchors(loaded, "verification.trust", loaded.values.verification.trust)
    check_x5u(loaded)
    configured.revocation(loaded, anchors)


def check_call_log(loaded: Loaded) -> None:
    """Whether its file can be written."""
    name = loaded.values.call_log.file
    path = loaded.resolve(name)
    if name in {"-", "journal", "syslog"} or (path.is_file() and os.access(path, os.W_OK)):
        return
    if path.exists() or not os.access(path.parent, os.W_OK | os.X_OK):
        hint = "a file in a folder that the service's user may write"
        raise loaded.wrong("call_log.file", f"{path} cannot be written", hint)


def check_single_use(loaded: Loaded) -> None:
    """The Redis of used PASSporTs, where that is to be."""
    if loaded.values.verification.single_use == "redis":
        configured.used_redis(loaded)


def check_credentials(loaded: Loaded) -> None:
    """The credentials, and what is published and subscribed to with them."""
    credentials = loaded.once(configured.credentials)
    configured_retrieval.holder(loaded, credentials)
    published = configured.published(loaded, credentials)
    configured_retrieval.subscriptions(loaded, published)


PARTS: Final[tuple[Callable[[Loaded], object], ...]] = (
    configured.state_dir,
    configured_pbxs.asterisks,
    configured_pbxs.freeswitches,
    check_credentials,
    check_kept,
    check_x5u,
    check_trust,
    check_advertisements,
    configured.enum,
    configured_retrieval.cover,
    check_tls,
    configured_metrics.listen,
    configured_board.settings,
    configured.bare_tls,
    check_proxies,
    check_call_log,
    check_single_use,
)
