"""Checks of the ways to CPSs and of the storage tokens that lie ready. Nothing is connected to."""

from __future__ import annotations

from collections.abc import Iterator

from pbx_stir.checks.finding import Finding, error, note, warning
from pbx_stir.clients import proxy_of
from pbx_stir.config import Loaded
from pbx_stir.errors import ConfigurationError
from pbx_stir.tokens.epochs import epoch_of
from pbx_stir.tokens.wallet_files import WalletFiles


def check_wallet(loaded: Loaded, now: float) -> Iterator[Finding]:
    """Give what is wrong with proxies and wallet at ``now`` (epoch seconds), and what is left."""
    for name in ("store_proxy", "retrieve_proxy"):
        try:
            proxy_of(loaded, name)
        except ConfigurationError as wrong:
            yield error("proxy-wrong", wrong.message, str(loaded.path), wrong.hint)
    section = loaded.values.wallet
    if section.low > section.high:
        hint = "high is the mark up to which tokens are obtained"
        yield error("wallet-wrong", "wallet.low is above wallet.high", str(loaded.path), hint)
    folder = loaded.resolve(loaded.values.state_dir) / "wallet"
    try:
        # one that is not there is made by the service, not by a look at it
        there = folder.is_dir()
    except OSError:
        # the state folder has its own finding
        return
    if not there:
        return
    try:
        yield from _left(WalletFiles(folder), section.low, now)
    except ConfigurationError as wrong:
        yield error("wallet-wrong", wrong.message, str(folder), wrong.hint)


def _left(files: WalletFiles, low: int, now: float) -> Iterator[Finding]:
    epoch = epoch_of(now)
    today = {one.cps: one.count for one in files.left() if one.epoch == epoch}
    for cps in files.known():
        listed = files.pinned(cps)
        if listed is None or listed.of(epoch) is None:
            continue
        count = today.get(cps, 0)
        what = f"{count} storage tokens for today"
        if count:
            yield note("tokens-left", what, cps)
        else:
            yield warning(
                "tokens-none",
                f"{what}, but for what a running service has in memory",
                cps,
                f"is the service running? Fewer than {low} are made up within minutes",
            )
