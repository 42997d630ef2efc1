"""``pbx-stir fetch``: what a call placement service holds for a number (RFC 8816 section 9)."""

from __future__ import annotations

import argparse
import asyncio
import itertools
import re
import sys
import time
from typing import TYPE_CHECKING, Final

from pbx_stir.cli.files import octets_of
from pbx_stir.cli.store import SECONDS, add_cps_arguments, client_of, loaded_for
from pbx_stir.errors import MalformedSealed, PbxStirError, UsageError

_COMPACT: Final = re.compile(r"[A-Za-z0-9_.-]+")

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

    from pbx_stir.clients import Clients
    from pbx_stir.stir.sealing import Opened


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    add_cps_arguments(parser)
    opening = parser.add_mutually_exclusive_group()
    opening.add_argument(
        "--config",
        metavar="FILE",
        help="open with the keys of this configuration's state_dir, and ask as it says: with its "
        "CAs and its proxy, signed by the credential that covers the number",
    )
    opening.add_argument(
        "--private-key",
        metavar="FILE",
        help="X25519 private key, PEM: print the PASSporTs that it opens, one a line; without "
        "it, what is stored is counted",
    )
    parser.add_argument(
        "--orig",
        metavar="NUMBER",
        help="judge what opens for a call from this number, by the anchors of --config: exit "
        "status 0 where one is valid; single use is not looked at",
    )


def run(args: argparse.Namespace) -> int:
    """Print what opens. Exit status 1 where nothing does, or the CPS does not answer."""
    from pbx_stir.cli.numbers import canonical

    dest = canonical("--dest", args.dest, None)
    if args.orig and not args.config:
        raise UsageError("--orig needs --config: whose anchors decide?")
    keys = _keys(args)
    blobs = asyncio.run(_fetch(args, dest))
    if keys is None:
        print(f"{len(blobs)} entries, dummies among them", file=sys.stderr)
        return 0
    opened = _opened(blobs, keys, dest)
    print(f"{len(blobs)} entries, {len(opened)} opened", file=sys.stderr)
    if args.orig:
        from pbx_stir.cli.fetch_judged import judged

        return judged(args, opened, dest)
    for one in opened:
        print(one.passport)
    return 0 if opened else 1


async def _fetch(args: argparse.Namespace, dest: str) -> tuple[bytes, ...]:
    clients = _clients(args)
    client = client_of(args) if clients is None else clients.retrieving
    try:
        async for answer in client.retrieve([(args.cps, dest)], time.monotonic() + SECONDS):
            if answer.reason is not None:
                raise PbxStirError(f"{answer.cps}: {answer.reason.value}: {answer.detail}")
            return answer.blobs
        raise PbxStirError(f"{args.cps}: no answer")
    finally:
        await (client.close() if clients is None else clients.close())


def _clients(args: argparse.Namespace) -> Clients | None:
    """The clients that the configuration has, where there is one."""
    loaded = loaded_for(args)
    if loaded is None:
        return None
    from pbx_stir import configured
    from pbx_stir.clients import clients_of
    from pbx_stir.cps.holder import Holder

    credentials = configured.credentials(loaded)
    # whoever asks by hand wants to see what his service would see
    holder = Holder(credentials, [args.cps]) if credentials else None
    return clients_of(loaded, credentials, holder=holder)


def _keys(args: argparse.Namespace) -> list[X25519PrivateKey] | None:
    if args.private_key:
        return [_private_key(args.private_key)]
    if args.config:
        from pathlib import Path

        from pbx_stir import config, configured
        from pbx_stir.directory.key_files import KeyFiles

        state = configured.state_dir(config.load(Path(args.config)))
        return [key.private for key in KeyFiles(state / "keys").load()]
    return None


def _opened(blobs: tuple[bytes, ...], keys: list[X25519PrivateKey], dest: str) -> list[Opened]:
    from pbx_stir.stir import sealing

    found = []
    for blob, key in itertools.product(blobs, keys):
        try:
            opened = sealing.open_sealed(blob, key, dest)
        except MalformedSealed as error:
            print(f"opened, but not of the sealed form: {error}", file=sys.stderr)
            continue
        if opened is None:
            continue
        if not _COMPACT.fullmatch(opened.passport):
            # anybody may seal anything to us: what is no token is not for a terminal
            print(f"opened, but not a PASSporT: {opened.passport[:80]!a}", file=sys.stderr)
            continue
        found.append(opened)
    return found


def _private_key(name: str) -> X25519PrivateKey:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

    try:
        key = serialization.load_pem_private_key(octets_of(name), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise UsageError(f"{name} holds no unencrypted private key in PEM form") from error
    if not isinstance(key, X25519PrivateKey):
        raise UsageError(f"{name}: not an X25519 key")
    return key
