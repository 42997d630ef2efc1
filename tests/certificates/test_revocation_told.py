"""What a watch is told: lists and files of a configuration, commands that wait, other anchors."""

from __future__ import annotations

from pathlib import Path as FilePath

import pytest

from pbx_stir.certificates.revocation import FAILURE_SECONDS, UNUSED_SECONDS
from pbx_stir.certificates.revocation_files import RevocationFiles
from pbx_stir.errors import ConfigurationError
from pbx_stir.stir.certificate import Anchors
from pbx_stir.stir.revocation import Status
from tests.certificates.revocation_world import FORGE, GONE, GOOD, PATH, ROOT, URL, Server, World
from tests.stir import revoking
from tests.stir.conftest import Issued

FOREVER = 1e12


async def test_lists_of_the_configuration_are_there_without_a_call() -> None:
    """They are fetched at once, kept whatever else comes, and judge whoever they speak of."""
    leaf = FORGE.leaf(ROOT)
    gone = revoking.crl(ROOT, [leaf.cert.serial_number])
    server = Server(**{"https://crl.example.com": gone})
    world = World(server, urls=["https://CRL.example.com/all"])
    await world.fetched()
    assert server.asked == ["https://crl.example.com/all"]
    assert world.status(revoking.path_of(leaf, ROOT)) is Status.REVOKED
    world.now += UNUSED_SECONDS * 3
    await world.fetched()
    assert len(server.asked) == 2


async def test_a_list_of_the_configuration_that_fails_is_tried_again() -> None:
    """Once a minute or two, and said in the log."""
    server = Server(http=b"")
    world = World(server, urls=[URL])
    await world.fetched()
    await world.fetched()
    assert len(server.asked) == 1
    world.now += 2 * FAILURE_SECONDS
    await world.fetched()
    assert len(server.asked) == 2


async def test_a_command_may_wait() -> None:
    """settle fetches at once what is lacking, and says whether that may change anything."""
    world = World(Server(http=GONE))
    world.chance = 1.0
    assert not await world.watch.settle(FOREVER)
    assert world.status() is Status.UNKNOWN
    assert await world.watch.settle(FOREVER)
    assert world.status() is Status.REVOKED
    assert not await world.watch.settle(FOREVER)


async def test_a_command_does_not_wait_for_ever() -> None:
    """At the moment to give up it goes on with what is known."""
    world = World()
    world.server.gate.clear()
    world.status()
    assert not await world.watch.settle(0.0)
    await world.watch.close()


async def test_files_are_read_and_read_again(tmp_path: FilePath) -> None:
    """A reload puts new lists in force; a broken file leaves the old ones there."""
    file = tmp_path / "all.crl"
    file.write_bytes(GOOD)
    files = RevocationFiles((str(tmp_path / "*.crl"),))
    world = World(files=files, fetcher=None)
    assert world.status() is Status.GOOD
    file.write_bytes(GONE)
    assert world.status() is Status.GOOD
    await world.watch.reload()
    assert world.status() is Status.REVOKED
    file.write_bytes(b"half a fi")
    with pytest.raises(ConfigurationError, match=r"all\.crl"):
        await world.watch.reload()
    assert world.status() is Status.REVOKED


async def test_off_reads_no_files() -> None:
    """Nothing that is switched off can fail."""
    world = World(files=RevocationFiles(("/nowhere/*.crl",)), policy="off")
    await world.watch.reload()
    world.watch.check(PATH, world.now)


async def test_other_anchors_are_looked_at_anew() -> None:
    """A finding is not given again under other anchors."""
    signer: Issued = FORGE.root("Signer")
    here = revoking.at(URL, crl_issuer=signer.cert.subject)
    path = revoking.path_of(FORGE.leaf(ROOT, extra=[here]), ROOT)
    body = revoking.crl(signer, says=revoking.point(indirect_crl=True))
    world = World(Server(http=body))
    assert await world.learnt(path) is Status.UNKNOWN
    world.anchors = Anchors.of([ROOT.cert, signer.cert])
    assert world.status(path) is Status.GOOD
