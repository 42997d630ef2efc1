"""On the wire a dummy is what a call's store is, and a cover retrieval what a call's is."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path

from aiohttp import web

from pbx_stir.cps.client import CpsClient
from pbx_stir.cps.cover import Cover, CoverPlan
from pbx_stir.cps.origin import CpsUrl
from pbx_stir.cps.subscribed import SubscribedPlacement
from pbx_stir.services.authentication import AuthenticationService, NeverSigned
from pbx_stir.services.call import Direction, Reason
from pbx_stir.stir import sealing
from pbx_stir.stir.number_set import NumberSet
from pbx_stir.tokens.wallet import Unspent, Wallet
from tests.cps.other_cps import answering_all
from tests.services.world import BOB, CALLERS, FakeDirectory, World, call, credential_for
from tests.tokens.minting import CPS, EPOCH, NOW, Mint, key_list

NUMBERS = NumberSet.parse(["13105552000-13105552099"])


@dataclass
class Request:
    """What an eavesdropper inside TLS, or the CPS, sees of one request."""

    peer: object
    method: str
    path: str
    headers: list[tuple[str, str]]
    body: bytes

    @property
    def shape(self) -> object:
        """Everything but what must differ: the number's digits, random octets, the time."""
        names = [(name, len(value)) for name, value in self.headers if name != "Authorization"]
        tokens = [
            [(part.partition("=")[0], len(part)) for part in value.split(",")]
            for name, value in self.headers
            if name == "Authorization"
        ]
        path = self.path.replace(self.path.split("/")[2], "N")
        return self.method, path, len(self.path), names, tokens, len(self.body)


@dataclass
class Watcher:
    """A CPS that takes everything, and remembers it."""

    seen: list[Request] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.Response:
        transport = request.transport
        assert transport is not None
        headers = [(key.decode(), value.decode()) for key, value in request.raw_headers]
        body = await request.read()
        peer = transport.get_extra_info("peername")
        self.seen.append(Request(peer, request.method, request.path_qs, headers, body))
        date = {"Date": formatdate(NOW, usegmt=True)}
        if request.method == "POST":
            return web.Response(status=201, headers=date)
        return web.json_response({"ppts": []}, headers=date)


class Tokens:
    """Gives a token to every store."""

    def __init__(self, folder: Path) -> None:
        self.wallet = Wallet(folder / "wallet")
        self.wallet.pin(CPS, key_list(Mint()), NOW)
        self.wallet.put(CPS, EPOCH, Mint().records(8), 8)
        self.wallet.stock(CPS, NOW)

    def take(self, origin: CpsUrl, now: float) -> Unspent:
        token = self.wallet.take(CPS, now)
        assert token is not None
        return token

    def answered(self, origin: CpsUrl, token: Unspent | None, status: int) -> None:
        assert token is not None


async def test_stores_are_alike(tmp_path: Path) -> None:
    """Method, path, header fields in their order, token, size, connections: nothing tells them."""
    watcher, tokens = Watcher(), Tokens(tmp_path)
    keys = tuple(sealing.public_octets(sealing.new_private_key()) for _ in range(2))
    async with answering_all(watcher.answer) as url:
        directory = FakeDirectory(keys, (url,))
        client = CpsClient(allow_plain=True, tokens=tokens, now=lambda: NOW)
        service = AuthenticationService(
            callers=CALLERS,
            credentials=[credential_for(now=NOW - 100)],
            directory=directory,
            placement=client,
            never=NeverSigned(),
            new_uuid=lambda: "00000000-0000-4000-8000-000000000000",
        )
        cover = Cover(
            CoverPlan(stores=1.0, others=NUMBERS),
            directory=directory,
            stores=client,
            retrievals=client,
            own_cps=directory,
            chance=random.Random(1),
        )
        shapes = []
        peers = []
        for what in ("call", "cover", "call", "cover"):
            watcher.seen.clear()
            if what == "call":
                one = call(Direction.OUTBOUND)
                outcome = await service.authenticate(one, NOW, time.monotonic() + 10)
                assert outcome.reason is Reason.STORED
            else:
                assert await cover.store() == frozenset()
            shapes.append([each.shape for each in watcher.seen])
            peers.append({each.peer for each in watcher.seen})
            authorizations = [dict(each.headers)["Authorization"] for each in watcher.seen]
            assert len({value.partition("randomizer")[0] for value in authorizations}) == 1
            assert all(sealing.looks_sealed(sealing.from_wire(e.body)) for e in watcher.seen)
        await client.close()
        tokens.wallet.close()
    assert len(shapes[0]) == len(keys)
    assert shapes[0] == shapes[1] == shapes[2] == shapes[3]
    assert peers[0] == peers[1] == peers[2] == peers[3]


async def test_retrievals_are_alike() -> None:
    """The same request, over the same connection, whether a call is there or not."""
    watcher, world = Watcher(), World()
    async with answering_all(watcher.answer) as url:
        world.directory.cps = (url,)
        client = CpsClient(allow_plain=True)
        world.service.placement = SubscribedPlacement(client)
        world.service.monotonic = time.monotonic
        cover = Cover(
            CoverPlan(retrievals=1.0, own=NUMBERS),
            directory=world.directory,
            stores=client,
            retrievals=client,
            own_cps=world.directory,
        )
        await world.service.verify(call(), "id", NOW, time.monotonic() + 10)
        await cover.retrieve()
        await client.close()
    real, made_up = watcher.seen
    assert real.path == f"/cps/{BOB}/ppts?expand=1"
    assert real.shape == made_up.shape
    assert real.peer == made_up.peer
