"""One Redis server: a bounded pool of connections, bounded time, and a breaker.

Takes commands; gives what the server answers, as octets, integers and lists. A command is sent at
most once: one whose answer is lost may have been carried out, so nobody here sends it again.
Commands of one turn of the event loop are sent together (under load a command costs 12 us instead
of 33 us of this process), each with an answer of its own.

The breaker: a connection that fails, or two commands in a row without an answer in time, and the
server counts as lost. From then on a command fails at once, and a task of its own asks until the
server answers; no request pays to find out.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NamedTuple

import redis.asyncio
from redis import exceptions
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from pbx_stir.errors import StoreUnavailable
from pbx_stir.redis_backend.settings import Address, RedisSettings

PROBE_SECONDS: Final = 0.2
# Which ones are open at a time for commands that wait at the server.
_MOST_WAITING: Final = 16
_MOST_QUEUED: Final = 2048
# A time-out that is noticed so late says that this process stood still, and nothing of the server.
_STALL_SECONDS: Final = 0.1
# As many answers as fit into a few megabytes.
_MOST_TOGETHER: Final = 32
# A script, since a server whose writes are paused holds it back as it would hold back ours.
_PROBE: Final = ("EVAL", "return redis.call('TIME')", 0)
_log = logging.getLogger(__name__)


class _Sent(NamedTuple):
    """Commands that go together on one connection, and who waits for their answers."""

    commands: tuple[tuple[Any, ...], ...]
    answers: asyncio.Future[list[Any]]


class Node:
    """Commands for one server. ``changed`` is called when it is lost, and when it is back."""

    def __init__(
        self, address: Address, settings: RedisSettings, changed: Callable[[], None]
    ) -> None:
        self.address = address
        self._seconds = settings.command_seconds
        self._changed = changed
        # Of any type: redis-py's commands have none that could be checked.
        self._client: Any = _client(address, settings, settings.most_connections + 1)
        self._waiting: Any = _client(address, settings, _MOST_WAITING)
        self._most_senders = settings.most_connections
        self._queue: deque[_Sent] = deque()
        self._senders: set[asyncio.Task[None]] = set()
        self._is_about_to_send = False
        self._in_vain = 0
        self._probing: asyncio.Task[None] | None = None

    @property
    def is_lost(self) -> bool:
        """Whether commands fail at once."""
        return self._probing is not None

    async def run(self, *command: Any, asking: bool = False, replicas: int = 0) -> Any:
        """Send one command, once.

        ``asking`` is for a slot that is on its way to this server; ``replicas`` is how many must
        have taken what the command wrote. Raises ``StoreUnavailable`` where no answer came, or not
        so many have (the command may have been carried out, or not), and redis-py's
        ``ResponseError`` where the server refused (it was not).
        """
        if self._probing is not None or len(self._queue) >= _MOST_QUEUED:
            raise StoreUnavailable(f"redis at {self.address} is lost or has too much to do")
        # ASKING: Redis Cluster specification, ASK redirection. WAIT counts the replicas that have
        # what this connection wrote.
        before = (("ASKING",),) if asking else ()
        after = (("WAIT", replicas, int(self._seconds * 500)),) if replicas else ()
        answers = await self._answers((*before, command, *after))
        answer = answers[len(before)]
        if isinstance(answer, exceptions.ResponseError):
            raise answer
        if isinstance(answer, Exception):
            raise StoreUnavailable(f"redis at {self.address}: {_why(answer)}") from answer
        if replicas and not (isinstance(answers[-1], int) and answers[-1] >= replicas):
            raise StoreUnavailable(f"fewer than {replicas} replicas of redis at {self.address}")
        return answer

    async def _answers(self, commands: tuple[tuple[Any, ...], ...]) -> list[Any]:
        """Queue commands; all that come before the next turn of the event loop go together."""
        loop = asyncio.get_running_loop()
        sent = _Sent(commands, loop.create_future())
        self._queue.append(sent)
        if not self._is_about_to_send and len(self._senders) < self._most_senders:
            self._is_about_to_send = True
            task = loop.create_task(self._send())
            self._senders.add(task)
            task.add_done_callback(self._senders.discard)
        return await sent.answers

    async def _send(self) -> None:
        """Send what is queued, as long as there is something."""
        self._is_about_to_send = False
        while self._queue:
            together = [self._queue.popleft() for _ in range(min(len(self._queue), _MOST_TOGETHER))]
            # Nobody waits for what was cancelled before it was sent.
            await self._exchange([sent for sent in together if not sent.answers.done()])

    async def _exchange(self, together: Sequence[_Sent]) -> None:
        """Send commands on one connection, and give each its answer or the reason for none."""
        pipeline = self._client.pipeline(transaction=False)
        for sent in together:
            for command in sent.commands:
                pipeline.execute_command(*command)
        loop = asyncio.get_running_loop()
        until = loop.time() + self._seconds
        try:
            async with asyncio.timeout_at(until):
                answers = await pipeline.execute(raise_on_error=False)
        except TimeoutError as error:
            if loop.time() < until + _STALL_SECONDS:
                self._in_vain += 1
            _fail(together, f"redis at {self.address} gave no answer in time", error)
            if self._in_vain > 1:
                self._lose(f"no answer in {self._seconds} s")
        except (exceptions.RedisError, OSError) as error:
            _fail(together, f"redis at {self.address}: {_why(error)}", error)
            self._lose(_why(error))
        except BaseException as error:
            _fail(together, f"redis at {self.address} is closed", error)
            raise
        else:
            self._in_vain = 0
            for sent in together:
                if not sent.answers.done():
                    sent.answers.set_result(answers[: len(sent.commands)])
                del answers[: len(sent.commands)]

    async def wait_for(self, seconds: float, *command: Any) -> Any:
        """Send a command that the server answers within ``seconds``, when there is something.

        Raises as ``run``; the breaker takes no part in it.
        """
        try:
            async with asyncio.timeout(seconds + self._seconds):
                return await self._waiting.execute_command(*command)
        except TimeoutError as error:
            raise StoreUnavailable(f"redis at {self.address} gave no answer in time") from error
        except exceptions.ResponseError:
            raise
        except (exceptions.RedisError, OSError) as error:
            raise StoreUnavailable(f"redis at {self.address}: {_why(error)}") from error

    async def forget_connections(self) -> None:
        """Close the connections that nobody uses: behind the name there may be another server."""
        await self._client.connection_pool.disconnect(inuse_connections=False)

    async def close(self) -> None:
        """Close all connections."""
        tasks = [*self._senders, *([self._probing] if self._probing is not None else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        _fail(self._queue, f"redis at {self.address} is closed", None)
        self._queue.clear()
        for client in (self._client, self._waiting):
            with contextlib.suppress(exceptions.RedisError, OSError, TimeoutError):
                async with asyncio.timeout(self._seconds):
                    await client.aclose()

    def _lose(self, why: str) -> None:
        if self._probing is None:
            _log.error("redis at %s is lost: %s", self.address, why)
            self._probing = asyncio.ensure_future(self._probe())
            _fail(self._queue, f"redis at {self.address} is lost", None)
            self._queue.clear()
            self._changed()

    async def _probe(self) -> None:
        """Ask until the server answers."""
        while True:
            try:
                async with asyncio.timeout(self._seconds):
                    await self._client.execute_command(*_PROBE)
                break
            except exceptions.NoPermissionError:
                break
            except (exceptions.RedisError, OSError, TimeoutError):
                await asyncio.sleep(PROBE_SECONDS)
        _log.warning("redis at %s answers again", self.address)
        self._in_vain = 0
        self._probing = None
        self._changed()


def _client(address: Address, settings: RedisSettings, most: int) -> redis.asyncio.Redis:
    """Make a client that neither tries again nor reads answers as anything but what they are."""
    tls: dict[str, Any] = {}
    if settings.tls:
        tls = {
            "connection_class": redis.asyncio.SSLConnection,
            "ssl_cert_reqs": "required",
            "ssl_check_hostname": True,
            "ssl_ca_certs": settings.tls_ca or None,
        }
    pool = redis.asyncio.ConnectionPool(
        host=address.host,
        port=address.port,
        db=settings.database,
        username=settings.username or None,
        password=settings.password or None,
        max_connections=most,
        protocol=2,
        # its time-outs are ours, around the whole command
        socket_timeout=None,
        socket_connect_timeout=settings.command_seconds,
        retry=Retry(NoBackoff(), 0),
        **tls,
    )
    client = redis.asyncio.Redis.from_pool(pool)
    client.response_callbacks.clear()
    return client


def _fail(together: Iterable[_Sent], why: str, error: BaseException | None) -> None:
    """Tell who waits that there will be no answer."""
    for sent in together:
        if not sent.answers.done():
            failure = StoreUnavailable(why)
            failure.__cause__ = error
            sent.answers.set_exception(failure)


def _why(error: Exception) -> str:
    """What went wrong, in a few printable characters: a server's words may be anybody's."""
    text = str(error) or type(error).__name__
    return "".join(each if each.isprintable() else " " for each in text)[:200]
