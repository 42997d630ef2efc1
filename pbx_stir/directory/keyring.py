"""Opens what is sealed to us, with all of our keys that something may still be sealed to.

Takes blobs that anybody may have stored, gives those that open. Opening costs about 0.1 ms a blob
and key, and a CPS may return a thousand that are not ours: more than a handful are opened in
threads, until the moment to give up at, and what was found not ours is remembered by a hash, so
that it costs nothing when it is seen again. A handful, as most calls have, is opened at once: a
thread would only take longer to begin. It judges nothing that it opens.

Keys are read from their files again when the directory changed, so a key made by another process
(``pbx-stir keys rotate``) opens the next call.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from pbx_stir.directory.key_files import KeyFiles, OwnKey
from pbx_stir.directory.not_ours import NotOurs
from pbx_stir.errors import ConfigurationError, Malformed, MalformedSealed
from pbx_stir.services.sealed_opener import OpenedSet
from pbx_stir.stir import sealing
from pbx_stir.stir.sealing import Opened

MOST_REMEMBERED: Final = 32_768
# so many times a key is tried without a thread: less than a millisecond
HANDFUL: Final = 8

_THREADS = 2
# blobs that a thread opens in one go, some 0.2 ms: a sleep of nothing takes longer than a blob
_BETWEEN_YIELDS = 4
_HASH_OCTETS = 16
# the threads look at the clock themselves; this is for one that has not begun
_GRACE_SECONDS = 0.02
_log = logging.getLogger(__name__)


class Keyring:
    """Our keys, and the memory of what is not ours. Implements services' SealedOpener."""

    def __init__(self, files: KeyFiles, *, clock: Callable[[], float] = time.monotonic) -> None:
        """``clock`` is that of every ``give_up_at``. Raises ``ConfigurationError``."""
        self._files = files
        self._clock = clock
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="open-sealed")
        self._lock = threading.Lock()
        self._changed = files.changed()
        self._keys = files.load()
        self._not_ours = NotOurs(MOST_REMEMBERED)
        self._closed = False
        # keyed, so that nobody can make two blobs that we take for one
        self._hash_key = secrets.token_bytes(32)

    @property
    def keys(self) -> tuple[OwnKey, ...]:
        """The keys that are tried, newest first."""
        return self._keys

    def reload(self) -> None:
        """Read the keys again. Raises ``ConfigurationError``; the old keys then stay in use."""
        changed = self._files.changed()
        keys = self._files.load()
        with self._lock:
            if {key.name for key in keys} != {key.name for key in self._keys}:
                # what no key opened may be sealed to the new one
                self._not_ours.clear()
            self._keys = keys
            self._changed = changed

    async def open_sealed(
        self, number: str, blobs: Sequence[bytes], give_up_at: float
    ) -> OpenedSet:
        """Open what is sealed to us and to ``number``, in order, until ``give_up_at``.

        Never raises. What was left when the time was over is counted as unread.
        """
        if not blobs:
            return OpenedSet()
        if self._closed:
            return OpenedSet(unread=len(blobs))
        if self._is_handful(blobs):
            try:
                return self._open_all(number, blobs, give_up_at)
            except Exception as mistake:
                return _failed(mistake, blobs)
        loop = asyncio.get_running_loop()
        work = loop.run_in_executor(
            self._threads, self._open_all, number, tuple(blobs), give_up_at, True
        )
        seconds = max(0.0, give_up_at - self._clock()) + _GRACE_SECONDS
        done, _ = await asyncio.wait({work}, timeout=seconds)
        if not done:
            work.cancel()
            return OpenedSet(unread=len(blobs))
        error = work.exception()
        return work.result() if error is None else _failed(error, blobs)

    def _is_handful(self, blobs: Sequence[bytes]) -> bool:
        """Whether it is little work, without files to be read."""
        if len(blobs) * len(self._keys) > HANDFUL:
            return False
        try:
            return self._files.changed() == self._changed
        except ConfigurationError:
            return False

    def close(self) -> None:
        """Let go of the threads."""
        self._closed = True
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _open_all(
        self, number: str, blobs: Sequence[bytes], give_up_at: float, in_thread: bool = False
    ) -> OpenedSet:
        """The work itself, in a thread or at once."""
        self._reload_if_changed()
        keys = self._keys
        opened: list[Opened] = []
        malformed = 0
        for done, blob in enumerate(blobs):
            now = self._clock()
            if now >= give_up_at:
                return OpenedSet(tuple(opened), malformed, len(blobs) - done)
            if not sealing.looks_sealed(blob):
                continue
            digest = self._digest(number, blob)
            broken = self._remembered(digest, now)
            if broken is None:
                found = _open_one(blob, keys, number)
                if isinstance(found, Opened):
                    opened.append(found)
                    continue
                broken = found
                self._remember(digest, broken, now)
                if in_thread and done % _BETWEEN_YIELDS == 0:
                    # let the event loop have the interpreter
                    time.sleep(0)
            malformed += broken
        return OpenedSet(tuple(opened), malformed, 0)

    def _reload_if_changed(self) -> None:
        try:
            if self._files.changed() != self._changed:
                self.reload()
        except ConfigurationError as error:
            _log.error("the encryption keys cannot be read again, the old ones stay: %s", error)

    def _digest(self, number: str, blob: bytes) -> bytes:
        digest = hashlib.blake2b(blob, digest_size=_HASH_OCTETS, key=self._hash_key)
        digest.update(number.encode("ascii", "replace"))
        return digest.digest()

    def _remembered(self, digest: bytes, now: float) -> bool | None:
        with self._lock:
            return self._not_ours.find(digest, now)

    def _remember(self, digest: bytes, broken: bool, now: float) -> None:
        with self._lock:
            self._not_ours.put(digest, broken, now)


def _failed(error: BaseException, blobs: Sequence[bytes]) -> OpenedSet:
    _log.error("opening failed: %s", type(error).__name__)
    return OpenedSet(unread=len(blobs))


def _open_one(blob: bytes, keys: Sequence[OwnKey], number: str) -> Opened | bool:
    """Try every key; True where it opened but was not of the form, False where it is not ours."""
    try:
        for key in keys:
            opened = sealing.open_sealed(blob, key.private, number)
            if opened is not None:
                return opened
    except MalformedSealed:
        return True
    except Malformed:
        # not a canonical number: nothing can be sealed to it
        return False
    return False
