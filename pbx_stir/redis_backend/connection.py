"""Redis as one thing that has keys: a server, or a cluster whose nodes each have some slots.

Takes commands and the key that says where; gives answers. It follows slots that have moved (MOVED),
that are moving (ASK) and masters that have failed over, and turns every refusal into
``StoreUnavailable``. What is sent again is only what a server has said it did not carry out.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
import logging
from collections.abc import Sequence
from typing import Any, Final

from redis import exceptions
from redis.crc import key_slot

from pbx_stir.errors import ConfigurationError, PbxStirError, StoreUnavailable
from pbx_stir.redis_backend.node import Node
from pbx_stir.redis_backend.settings import Address, RedisSettings

SLOTS: Final = 16_384
LEARN_SECONDS: Final = 0.5
_MOST_NODES: Final = 1000
_MOST_REDIRECTIONS: Final = 3
_log = logging.getLogger(__name__)


class Script:
    """A Lua script that runs at the server, in one step, over keys of one slot."""

    def __init__(self, source: str) -> None:
        self.source = source
        # What the server itself calls a script by.
        self.digest = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()


class Connection:
    """Commands for whichever server has a key; made in the event loop it is used in."""

    def __init__(self, settings: RedisSettings) -> None:
        self.settings = settings
        self._nodes: dict[Address, Node] = {}
        self._owners: list[Address | None] = [None] * SLOTS
        self._learning: asyncio.Task[None] | None = None
        self._asked: asyncio.Task[None] | None = None
        if not settings.is_cluster:
            self._owners = [settings.addresses[0]] * SLOTS
        self._only = None if settings.is_cluster else self._at(settings.addresses[0])

    @property
    def is_lost(self) -> bool:
        """Whether a server of it does not answer."""
        return any(node.is_lost for node in self._nodes.values())

    async def run(self, key: bytes, *command: Any, replicas: int = 0) -> Any:
        """Send a command to the server that has ``key``. Raises ``StoreUnavailable``.

        ``replicas`` is how many of them must have taken what it wrote.
        """
        slot = 0 if self._only is not None else self.slot(key)
        node, asking = self._only or await self._node(slot), False
        for _ in range(_MOST_REDIRECTIONS):
            try:
                return await node.run(*command, asking=asking, replicas=replicas)
            except exceptions.AskError as error:
                node, asking = self._at(Address(error.host or node.address.host, error.port)), True
            except exceptions.MovedError as error:
                moved = Address(error.host or node.address.host, error.port)
                self._owners[slot] = moved
                self._learn_soon()
                node, asking = self._at(moved), False
            except exceptions.NoScriptError:
                raise
            except exceptions.ResponseError as error:
                await self._refused(node, error)
        raise StoreUnavailable("redis sends a command from one node to the next")

    async def script(
        self, script: Script, keys: Sequence[bytes], *arguments: Any, replicas: int = 0
    ) -> Any:
        """Run a script over keys of one slot. Raises ``StoreUnavailable``."""
        rest = (len(keys), *keys, *arguments)
        try:
            return await self.run(keys[0], "EVALSHA", script.digest, *rest, replicas=replicas)
        except exceptions.NoScriptError:
            return await self.run(keys[0], "EVAL", script.source, *rest, replicas=replicas)

    async def wait_for(self, key: bytes, seconds: float, *command: Any) -> Any:
        """Send a command that waits at the server. Raises ``StoreUnavailable``."""
        node = await self._node(self.slot(key))
        try:
            return await node.wait_for(seconds, *command)
        except exceptions.ResponseError as error:
            self._learn_soon()
            raise StoreUnavailable(f"redis at {node.address} refuses to wait") from error

    @staticmethod
    @functools.lru_cache(maxsize=4096)
    def slot(key: bytes) -> int:
        """Say which slot a key has. Source: Redis Cluster specification, key distribution."""
        return int(key_slot(key))

    def neighbours(self, key: bytes, others: Sequence[bytes]) -> list[bytes]:
        """Give those of the other keys that the same server has, as far as is known."""
        owner = self._owners[self.slot(key)]
        return [other for other in others if self._owners[self.slot(other)] == owner]

    async def check(self) -> None:
        """Ask once whether Redis is fit for use.

        Raises:
            ConfigurationError: it refuses the password, or may drop what must not be forgotten
            StoreUnavailable: it does not answer
        """
        await self._check(self.settings.addresses[0])
        if self.settings.is_cluster:
            await self._learn()
            others = {one for one in self._owners if one is not None}
            for address in others - {self.settings.addresses[0]}:
                # one that is lost takes its own keys alone
                with contextlib.suppress(StoreUnavailable):
                    await self._check(address)

    async def close(self) -> None:
        """Close all connections."""
        tasks = [task for task in (self._learning, self._asked) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(node.close() for node in self._nodes.values()))

    async def _check(self, address: Address) -> None:
        """Ask one server, see ``check``."""
        node = self._at(address)
        try:
            told = await node.run("INFO", "memory")
        except (StoreUnavailable, exceptions.ResponseError) as error:
            cause = error if isinstance(error, exceptions.ResponseError) else error.__cause__
            if isinstance(cause, exceptions.AuthenticationError | exceptions.ResponseError):
                raise ConfigurationError(
                    f"redis at {node.address} refuses this user: {cause}",
                    hint="check username and password_file, and what the user may do",
                ) from error
            raise
        memory = _fields(told)
        policy = memory.get("maxmemory_policy", "noeviction")
        if memory.get("maxmemory", "0") != "0" and policy != "noeviction":
            raise ConfigurationError(
                f"redis at {node.address} drops keys when its memory is full ({policy})",
                hint="set maxmemory-policy noeviction: what is spent must not be forgotten",
            )

    async def _refused(self, node: Node, error: exceptions.ResponseError) -> None:
        """Say that a server did not carry out a command, and why."""
        if isinstance(error, exceptions.ReadOnlyError):
            # A former master behind a name that by now may stand for the new one.
            await node.forget_connections()
        self._learn_soon()
        # No more of the message than its first word: the rest may quote what was sent. redis-py
        # takes that word away where it has a class for it.
        is_named = type(error) is not exceptions.ResponseError
        reason = type(error).__name__ if is_named else str(error).split(" ", 1)[0][:40]
        _log.warning("redis at %s refuses a command: %s", node.address, reason)
        raise StoreUnavailable(f"redis at {node.address} refuses: {reason}") from error

    async def _node(self, slot: int) -> Node:
        owner = self._owners[slot]
        if owner is None:
            await self._learn()
            owner = self._owners[slot]
        if owner is None:
            raise StoreUnavailable("no redis node has this slot")
        return self._at(owner)

    def _at(self, address: Address) -> Node:
        node = self._nodes.get(address)
        if node is None:
            if len(self._nodes) >= _MOST_NODES:
                raise StoreUnavailable("too many redis nodes")
            node = self._nodes[address] = Node(address, self.settings, self._learn_soon)
        return node

    def _learn_soon(self) -> None:
        """Begin to ask the cluster which node has which slots, in a task of its own."""
        if self.settings.is_cluster and self._learning is None:
            self._learning = asyncio.ensure_future(self._keep_learning())

    async def _keep_learning(self) -> None:
        """Ask again as long as a node that has slots is lost: its replica may take them over."""
        try:
            while True:
                try:
                    await self._learn()
                except StoreUnavailable:
                    pass
                await asyncio.sleep(LEARN_SECONDS)
                owners = set(self._owners)
                if None not in owners and not any(self._is_lost(one) for one in owners):
                    return
        finally:
            self._learning = None

    def _is_lost(self, address: Address | None) -> bool:
        node = self._nodes.get(address) if address is not None else None
        return node is not None and node.is_lost

    async def _learn(self) -> None:
        """Learn which node has which slots; who comes meanwhile waits for the same answer.

        Raises ``StoreUnavailable``.
        """
        if self._asked is None:
            self._asked = asyncio.ensure_future(self._ask())
            self._asked.add_done_callback(self._told)
        await asyncio.shield(self._asked)

    def _told(self, asked: asyncio.Task[None]) -> None:
        self._asked = None
        if not asked.cancelled():
            # So that nobody misses it where nobody waits any more.
            asked.exception()

    async def _ask(self) -> None:
        """Ask nodes, one after the other, until one tells the slots. Raises StoreUnavailable."""
        last: PbxStirError = StoreUnavailable("no redis node answers")
        for address in dict.fromkeys([*self._nodes, *self.settings.addresses]):
            node = self._at(address)
            try:
                self._owners = _owners(await node.run("CLUSTER", "SLOTS"), address)
            except StoreUnavailable as error:
                last = error
            except (exceptions.ResponseError, TypeError, ValueError, IndexError) as error:
                last = StoreUnavailable(f"redis at {address} tells no slots")
                last.__cause__ = error
            else:
                await self._forget_others()
                return
        raise last

    async def _forget_others(self) -> None:
        """Close the connections to nodes that neither have slots nor are configured."""
        kept = {*self._owners, *self.settings.addresses}
        gone = [address for address in self._nodes if address not in kept]
        for node in [self._nodes.pop(address) for address in gone]:
            await node.close()


def _owners(answer: Any, asked: Address) -> list[Address | None]:
    """Read the answer to CLUSTER SLOTS: first slot, last slot, master, replicas."""
    owners: list[Address | None] = [None] * SLOTS
    for first, last, master, *_ in answer:
        # An empty host is the one that was asked.
        host = master[0].decode("ascii") if master[0] else asked.host
        address = Address(host, int(master[1]))
        if not 0 <= int(first) <= int(last) < SLOTS or not 1 <= address.port <= 65535:
            raise ValueError("no such slot or port")
        owners[int(first) : int(last) + 1] = [address] * (int(last) - int(first) + 1)
    return owners


def _fields(told: Any) -> dict[str, str]:
    """Read the lines of INFO."""
    lines = told.decode("ascii", "replace").splitlines() if isinstance(told, bytes) else []
    return {name: value for name, colon, value in (one.partition(":") for one in lines) if colon}
