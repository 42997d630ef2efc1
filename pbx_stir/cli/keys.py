"""``pbx-stir keys``: our encryption keys, and the records that publish them.

The service makes, publishes, renews and erases keys by itself; these commands are for looking at
them, for the first publication, and for the day a key may have been stolen. They may be used while
the service runs. Exit status 1 where a CPS did not take a record.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pbx_stir.cli.run import DEFAULT_CONFIG
from pbx_stir.errors import ConfigurationError

if TYPE_CHECKING:
    from pbx_stir.config import Loaded
    from pbx_stir.directory.key_files import KeyFiles
    from pbx_stir.directory.publisher import Published, Publisher

ACTIONS = {
    "new": "make a key; it is published with the next record",
    "list": "show the keys and until when records name them",
    "publish": "publish the current key at our CPSs, now",
    "rotate": "make a new key and publish it; the old one still opens what was sealed to it",
    "revoke": "publish that our keys are no longer to be used, and stop publishing until rotate",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    for name, summary in ACTIONS.items():
        action = actions.add_parser(
            name,
            help=summary,
            description=f"{summary[:1].upper()}{summary[1:]}.",
            allow_abbrev=False,
        )
        action.add_argument(
            "--config", default=DEFAULT_CONFIG, metavar="FILE", help=f"else {DEFAULT_CONFIG}"
        )


def run(args: argparse.Namespace) -> int:
    """Carry the action out. Raises ``ConfigurationError``."""
    from pbx_stir import config, configured
    from pbx_stir.directory.key_files import KeyFiles

    loaded = config.load(Path(args.config))
    keys = KeyFiles(
        configured.state_dir(loaded) / "keys",
        lifetime_seconds=loaded.values.publish.key_days * 86_400,
    )
    if args.action == "new":
        keys.new(time.time())
    if args.action in ("new", "list"):
        _show(keys)
        return 0
    return asyncio.run(_put(loaded, keys, args.action))


def _show(keys: KeyFiles) -> None:
    """One line a key, newest first."""
    if keys.suspended():
        print("revoked: nothing is published before pbx-stir keys rotate")
    for key in keys.load():
        public = base64.urlsafe_b64encode(key.public).rstrip(b"=").decode("ascii")
        published = f"published until {_when(key.published_until)}, serial {key.serial}"
        said = published if key.published_until else "never published"
        revoked = "  revoked" if keys.is_revoked(key) else ""
        print(f"{public}  made {_when(key.created)}  {said}{revoked}")


async def _put(loaded: Loaded, keys: KeyFiles, action: str) -> int:
    """Publish or revoke at every CPS of ours."""
    from pbx_stir import configured
    from pbx_stir.clients import proxy_of
    from pbx_stir.cps.client import CpsClient

    values = loaded.values
    client = CpsClient(
        tls=configured.tls_of(loaded, "outgoing.tls_ca", values.outgoing.tls_ca),
        allow_plain=values.outgoing.plain_loopback,
        proxy=proxy_of(loaded, "retrieve_proxy"),
    )
    try:
        publisher = _publisher(loaded, keys, client)
        if action == "revoke":
            results = await publisher.revoke()
        else:
            if action == "rotate":
                # after a revocation publishing makes one, or takes that of an attempt that failed
                if not keys.suspended():
                    keys.new(time.time())
            elif keys.suspended():
                raise ConfigurationError(
                    "our keys were revoked", hint="pbx-stir keys rotate publishes a new one"
                )
            results = await publisher.publish()
            if any(not result.error for result in results):
                keys.resume()
    finally:
        await client.close()
    for result in results:
        print(_said(result))
    return 1 if any(result.error for result in results) else 0


def _publisher(loaded: Loaded, keys: KeyFiles, client: object) -> Publisher:
    """What the service would publish."""
    from pbx_stir import configured
    from pbx_stir.cps.client import CpsClient
    from pbx_stir.directory.publisher import Publisher

    assert isinstance(client, CpsClient)
    section = loaded.values.publish
    if not section.numbers or not section.cps:
        raise loaded.wrong(
            "publish", "no numbers or no cps", "[publish] takes numbers = [...] and cps = [...]"
        )
    return Publisher(
        publications=configured.published(loaded, configured.credentials(loaded)),
        keys=keys,
        sink=client,
        lifetime_seconds=section.record_days * 86_400,
    )


def _said(result: Published) -> str:
    first, *others = result.named
    named = f"{first} and {len(others)} more" if others else first
    if result.error:
        return f"{result.cps}: {named}: not taken: {result.error}"
    return f"{result.cps}: {named}: taken, serial {result.serial}"


def _when(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%MZ")
