"""``pbx-stir store``: one PASSporT to one call placement service (RFC 8816 section 9).

With ``--config`` it stores as the service of that configuration would: with its wallet, by its
proxy, and sealed to keys of records that its anchors stand behind.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import binascii
import ssl
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pbx_stir.cli.files import octets_of
from pbx_stir.errors import Malformed, PbxStirError, TooLarge, UrlRefused, UsageError

if TYPE_CHECKING:
    from pbx_stir.clients import Clients
    from pbx_stir.config import Loaded
    from pbx_stir.cps.client import CpsClient

SECONDS = 5.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    add_cps_arguments(parser)
    parser.add_argument(
        "--config",
        metavar="FILE",
        help="store with a storage token of this configuration's wallet, and trust only records "
        "that its anchors stand behind; without it, no token",
    )
    parser.add_argument(
        "--public-key",
        metavar="FILE",
        help="seal to this X25519 key: PEM, or 32 octets in base64. Without it, to the keys in "
        "the records that the CPS has for the number; without --config those are not verified",
    )
    parser.add_argument(
        "--certificate", metavar="PEM", help="seal this certificate chain along with it"
    )
    parser.add_argument("passport", metavar="PASSPORT_FILE", help="a PASSporT in full form")


def add_cps_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what ``store`` and ``fetch`` share."""
    parser.add_argument("--cps", required=True, metavar="URL", help="the CPS's address")
    parser.add_argument("--dest", required=True, metavar="NUMBER", help="the called number")
    parser.add_argument("--tls-ca", metavar="PEM", help="CAs of the CPS's certificate")


def client_of(args: argparse.Namespace) -> CpsClient:
    """A client for ``--cps``; http only to this machine. To be made in a running event loop."""
    from pbx_stir.cps.client import CpsClient

    tls = None
    if args.tls_ca:
        try:
            tls = ssl.create_default_context(cafile=args.tls_ca)
        except (OSError, ssl.SSLError) as error:
            raise UsageError(f"cannot read CA certificates from {args.tls_ca}: {error}") from error
    return CpsClient(tls=tls, allow_plain=True)


def run(args: argparse.Namespace) -> int:
    """Seal, store, and say so. Exit status 1 where the CPS did not take it."""
    from pbx_stir.cli.numbers import canonical
    from pbx_stir.stir import certificate, passport

    dest = canonical("--dest", args.dest, None)
    text = octets_of(args.passport).decode("ascii", "replace").strip()
    try:
        token = passport.parse_identity(text) if ";" in text else passport.parse(text)
    except Malformed as error:
        raise UsageError(f"{args.passport}: {error}") from error
    chain: list[bytes] = []
    if args.certificate:
        octets = octets_of(args.certificate)
        try:
            chain = [_der(one) for one in certificate.parse_pem_chain(octets)]
        except Malformed as error:
            raise UsageError(f"{args.certificate}: {error}") from error
    if dest not in token.dest:
        print(f"note: the PASSporT is not for {dest}, but {', '.join(token.dest)}", file=sys.stderr)
    return asyncio.run(_store(args, dest, token.token, chain))


async def _store(args: argparse.Namespace, dest: str, token: str, chain: list[bytes]) -> int:
    from pbx_stir.services.call import Reason
    from pbx_stir.stir import sealing

    loaded = loaded_for(args)
    clients = None if loaded is None else _clients(loaded)
    client = client_of(args) if clients is None else clients.storing
    try:
        if args.public_key:
            keys = [_public_key(args.public_key)]
        else:
            keys = await _keys(client, args, dest, loaded)
        try:
            blobs = [sealing.seal(token, chain, key, dest) for key in keys]
        except (Malformed, TooLarge) as error:
            raise UsageError(str(error)) from error
        if clients is not None:
            await _have_tokens(clients, args.cps)
        results = await client.store([args.cps], dest, blobs, time.monotonic() + SECONDS)
    finally:
        await (client.close() if clients is None else clients.close())
    for result in results:
        said = f"{result.cps}: {result.reason.value}"
        print(f"{said}: {result.detail}" if result.detail else said)
    return 0 if all(result.reason is Reason.STORED for result in results) else 1


def loaded_for(args: argparse.Namespace) -> Loaded | None:
    """The configuration, with what the command line says about the way to the CPS."""
    if not args.config:
        return None
    from msgspec.structs import replace

    from pbx_stir import config

    loaded = config.load(Path(args.config))
    outgoing = replace(loaded.values.outgoing, plain_loopback=True)
    if args.tls_ca:
        outgoing = replace(outgoing, tls_ca=str(Path(args.tls_ca).absolute()))
    return replace(loaded, values=replace(loaded.values, outgoing=outgoing))


def _clients(loaded: Loaded) -> Clients:
    from pbx_stir import configured
    from pbx_stir.clients import clients_of

    return clients_of(loaded, configured.credentials(loaded))


async def _have_tokens(clients: Clients, cps: str) -> None:
    """Have a token where one is needed; a URL that is none is for the store itself to say."""
    from pbx_stir.cps.origin import parse_cps_url

    if clients.supply is None:
        return
    try:
        origin = parse_cps_url(cps, allow_plain=True)
    except UrlRefused:
        return
    obtained = await clients.supply.ready(origin)
    if obtained:
        print(
            f"note: {obtained} storage tokens obtained just now: by the time, the CPS can tell "
            "whose store this is",
            file=sys.stderr,
        )


async def _keys(
    client: CpsClient, args: argparse.Namespace, dest: str, loaded: Loaded | None
) -> list[bytes]:
    tokens = await client.get_records(args.cps, dest, time.monotonic() + SECONDS)
    if loaded is not None:
        return _verified(loaded, tokens, args.cps, dest)
    from pbx_stir.stir import record

    now = time.time()
    found: dict[bytes, None] = {}
    for token in tokens:
        try:
            signed = record.parse_record(token)
        except Malformed as error:
            print(f"a record that cannot be read: {error}", file=sys.stderr)
            continue
        if signed.record.exp >= now:
            found.update((key.public, None) for key in signed.record.keys)
    if not found:
        raise PbxStirError(f"{args.cps} has no key for {dest}", hint="give one with --public-key")
    return list(found)[:8]


def _verified(loaded: Loaded, tokens: Sequence[str], cps: str, dest: str) -> list[bytes]:
    """The keys of records that the configuration's anchors stand behind."""
    from pbx_stir import configured
    from pbx_stir.directory.selection import select

    trust = loaded.values.verification.trust
    anchors = configured.anchors(loaded, "verification.trust", trust).current()
    now = time.time()
    policy = configured.spc_policy(loaded)
    selection = select(tokens, dest, anchors, policy, now, {}, allow_plain=True)
    keys = list(selection.keys(now))
    if not keys:
        why = f": {selection.detail}" if selection.detail else ""
        raise PbxStirError(
            f"{cps} has no key for {dest} that may be used{why}", hint="give one with --public-key"
        )
    return keys


def _public_key(name: str) -> bytes:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

    octets = octets_of(name)
    try:
        if octets.lstrip().startswith(b"-----"):
            key = serialization.load_pem_public_key(octets)
            if isinstance(key, X25519PublicKey):
                return key.public_bytes_raw()
        else:
            raw = octets.strip().replace(b"-", b"+").replace(b"_", b"/")
            public = base64.b64decode(raw + b"=" * (-len(raw) % 4), validate=True)
            if len(public) == 32:
                return public
    except (ValueError, binascii.Error, UnsupportedAlgorithm):
        pass
    raise UsageError(f"{name} is no X25519 public key", hint="pbx-stir keys list shows yours")


def _der(certificate: object) -> bytes:
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    assert isinstance(certificate, x509.Certificate)
    return certificate.public_bytes(Encoding.DER)
