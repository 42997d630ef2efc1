"""``pbx-stir report``: entries of a number of ours that are bogus (RFC 8816 section 7.5)."""

from __future__ import annotations

import argparse
import asyncio
import time

from pbx_stir.cli.store import SECONDS, add_cps_arguments, loaded_for
from pbx_stir.errors import PbxStirError, UsageError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    add_cps_arguments(parser)
    parser.add_argument(
        "--config",
        required=True,
        metavar="FILE",
        help="the configuration whose credential covers the number",
    )
    parser.add_argument("ids", nargs="+", metavar="ID", help="the last part of an entry's path")


def run(args: argparse.Namespace) -> int:
    """Report. Exit status 1 where the CPS does not take it, or no credential covers the number."""
    from pbx_stir.cli.numbers import canonical
    from pbx_stir.cps import wire

    number = canonical("--dest", args.dest, None)
    ids = list(dict.fromkeys(args.ids))
    for one in ids:
        if not wire.is_id(one):
            raise UsageError(f"{one[:40]!a} is no entry's id", hint="22 characters of base64url")
    if len(ids) > wire.MAX_LISTED:
        raise UsageError(f"more than {wire.MAX_LISTED} ids")
    asyncio.run(_report(args, number, ids))
    return 0


async def _report(args: argparse.Namespace, number: str, ids: list[str]) -> None:
    from pbx_stir import configured
    from pbx_stir.clients import clients_of
    from pbx_stir.cps.holder import signer_of

    loaded = loaded_for(args)
    assert loaded is not None
    credentials = configured.credentials(loaded)
    credential = signer_of(credentials, number, time.time())
    if credential is None:
        raise PbxStirError(f"no credential covers {number}, or none is valid now")
    client = clients_of(loaded, credentials).retrieving
    try:
        await client.report(args.cps, number, ids, credential, time.monotonic() + SECONDS)
    finally:
        await client.close()
