"""From one company's key on disk to another company's call, over a real CPS."""

from __future__ import annotations

import time
from pathlib import Path

from pbx_stir.cps.client import CpsClient
from pbx_stir.cps.listening import listening
from pbx_stir.cps.settings import CpsSettings
from pbx_stir.directory.key_files import KeyFiles
from pbx_stir.directory.keyring import Keyring
from pbx_stir.directory.publisher import Publisher, publications
from pbx_stir.directory.resolver import Resolver
from pbx_stir.directory.routes import Route, Routes
from pbx_stir.services.authentication import Destination
from pbx_stir.services.call import Reason
from pbx_stir.stir import sealing
from pbx_stir.stir.certificate import SpcPolicy
from pbx_stir.stir.number_set import NumberSet

from .conftest import Lab

NUMBER = "12125551234"


async def test_a_key_is_published_found_sealed_to_and_opened(tmp_path: Path) -> None:
    """Every number of the range has the key, until it is rotated, and revoked."""
    lab = Lab(time.time())
    alice = lab.credential()
    files = KeyFiles(tmp_path / "keys")
    client = CpsClient(allow_plain=True)
    settings = CpsSettings(port=0, tls=False, tokens=False, anchors=lambda: lab.anchors)
    keyring = Keyring(files)

    async with listening(settings) as url:
        wanted = publications([alice], NumberSet.parse(["+1212*"]), [url])
        publisher = Publisher(publications=wanted, keys=files, sink=client)

        async def find(number: str = NUMBER) -> Destination:
            resolver = Resolver(
                routes=Routes([Route("1", (url,))]),
                records=client,
                anchors=lambda: lab.anchors,
                spc_policy=SpcPolicy(),
                allow_plain=True,
            )
            return await resolver.destination(number, time.monotonic() + 10)

        assert (await find()).reason is Reason.NO_KEY
        for _ in range(2):
            assert [each.error for each in await publisher.publish()] == [""]
            keys = tuple(each.public for each in files.load())
            for number in ("12125551200", NUMBER, "12125551299"):
                found = await find(number)
                assert (found.reason, found.keys) == (None, keys), found.detail
            blob = sealing.seal("a.b.c", [], found.keys[0], NUMBER)
            opened = await keyring.open_sealed(NUMBER, [blob], time.monotonic() + 10)
            assert [each.passport for each in opened.opened] == ["a.b.c"]
            assert await publisher.lost() == frozenset()
            files.new(time.time() + 1)
        assert [each.error for each in await publisher.revoke()] == [""]
        assert (await find()).reason is Reason.NO_KEY
    await client.close()
    keyring.close()
