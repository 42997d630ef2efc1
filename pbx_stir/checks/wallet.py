"""Checks of the ways to CPSs and of the storage tokens that lie ready. Nothing is connected to."""

from __future__ import annotations

from collections.abc import Iterator

from pbx_stir.checks.finding import Finding, error, note
from pbx_stir.checks.places import OTHERS_MAY_READ, findings_of, place
from pbx_stir.clients import proxy_of
from pbx_stir.config import Loaded
from pbx_stir.errors import ConfigurationError
from pbx_stir.tokens.epochs import epoch_of
from pbx_stir.tokens.wallet import READY
from pbx_stir.tokens.wallet_files import WalletFiles


def check_wallet(loaded: Loaded, now: float) -> Iterator[Finding]:
    """Give what is wrong with proxies and wallet at ``now`` (epoch seconds), and what runs out."""
    for name in ("store_proxy", "retrieve_proxy"):
        try:
            proxy_of(loaded, name)
        except ConfigurationError as wrong:
            yield from findings_of("proxy-wrong", loaded.path, wrong)
    section = loaded.values.wallet
    if section.low > section.high:
        hint = "high is the mark up to which tokens are obtained"
        what = "wallet.low is above wallet.high"
        yield error("wallet-wrong", what, place(loaded, "wallet.low"), hint)
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
        # an open folder has its own finding
        if OTHERS_MAY_READ not in wrong.message:
            yield error("wallet-wrong", wrong.message, str(folder), wrong.hint)


def _left(files: WalletFiles, low: int, now: float) -> Iterator[Finding]:
    epoch = epoch_of(now)
    today = {one.cps: one.count for one in files.left() if one.epoch == epoch}
    for cps in files.known():
        listed = files.pinned(cps)
        if listed is None or listed.of(epoch) is None:
            continue
        count = today.get(cps, 0)
        made_up = f"is the service running? Fewer than {low} are made up within minutes"
        if not count:
            what = "no storage token for today, but for what a running service has in memory"
            yield note("tokens-none", what, cps, made_up)
        elif count + READY < low:
            yield note("tokens-few", f"{count} storage tokens for today", cps, made_up)
