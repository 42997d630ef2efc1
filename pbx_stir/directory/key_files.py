"""Our own encryption keys on disk: one small file each, readable by us alone.

Takes a directory, a lifetime and the time; gives ``OwnKey`` values and keeps what must survive a
restart: when a key was made, until when a published record names it, and the last record serial.
It opens nothing and publishes nothing.

Keys live days (RFC 8816 section 11 leaves the lifetime open): who steals one reads the calls of
those days at most, and only what was recorded meanwhile. The private half of a replaced key is
erased one entry lifetime after the last record that names it, when nothing sealed to it can be at
a CPS any more. Erased means overwritten and removed: a journal, a snapshot or a worn-levelled disk
may still hold the octets.
"""

from __future__ import annotations

import base64
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from pbx_stir.errors import ConfigurationError
from pbx_stir.private_files import PrivateFolder
from pbx_stir.stir import sealing

KEY_LIFETIME_SECONDS: Final = 7 * 86_400.0
ENTRY_LIFETIME_SECONDS: Final = 60.0
MOST_KEYS: Final = 16

_SUFFIX = ".key"
_SERIAL = "serial"
_REVOKED = "revoked"
_MOST_OCTETS = 4096
_KEY_OCTETS = 32


@dataclass(frozen=True, slots=True)
class OwnKey:
    """One of our keys. Times are epoch seconds.

    ``name`` is its file's, without the suffix; ``serial`` that of the last record that named it,
    ``published_until`` when the last such record expires; both 0 where it was never published.
    ``order`` grows from key to key, whatever the clock says.
    """

    name: str
    private: X25519PrivateKey
    public: bytes
    created: float
    serial: int = 0
    published_until: float = 0.0
    order: int = 0

    def __repr__(self) -> str:
        return f"OwnKey({self.name})"


class _Stored(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a key file holds, as JSON."""

    version: int
    private: str
    created: float
    serial: int = 0
    published_until: float = 0.0
    order: int = 0


class _Revoked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the note of a revocation holds, as JSON: up to which key, and whether it is in force."""

    order: int
    suspended: bool


class KeyFiles:
    """The directory of our keys. Several processes may use it at the same time."""

    def __init__(self, directory: Path, *, lifetime_seconds: float = KEY_LIFETIME_SECONDS) -> None:
        """Open ``directory``, made with mode 0700 where it is missing.

        Raises ``ConfigurationError`` where others may enter it or it cannot be used.
        """
        self.directory = directory
        self.lifetime_seconds = lifetime_seconds
        self._folder = PrivateFolder(directory, holds="our keys")

    def changed(self) -> int:
        """A number that is another one when keys were added or removed, by whichever process."""
        try:
            return os.stat(self.directory).st_mtime_ns
        except OSError as error:
            raise ConfigurationError(
                f"cannot look into {self.directory}: {error.strerror}"
            ) from error

    def load(self) -> tuple[OwnKey, ...]:
        """Read all keys, newest first.

        Raises ``ConfigurationError`` that names the file where one is readable by others, is not
        ours, or is broken: a key that cannot be read means calls that nobody can open.
        """
        try:
            # a star of pathlib's finds hidden files too, such as one that is half erased
            paths = sorted(self.directory.glob("[!.]*" + _SUFFIX))
        except OSError as error:
            raise ConfigurationError(f"cannot list {self.directory}: {error.strerror}") from error
        if len(paths) > MOST_KEYS:
            raise ConfigurationError(
                f"{self.directory} holds {len(paths)} keys, more than {MOST_KEYS}",
                hint="remove those that no published record names any more",
            )
        keys = [key for path in paths if (key := self._read(path)) is not None]
        return tuple(sorted(keys, key=lambda key: (key.order, key.created, key.name), reverse=True))

    def new(self, now: float) -> OwnKey:
        """Draw a key and write it. Raises ``ConfigurationError``."""
        private = sealing.new_private_key()
        public = sealing.public_octets(private)
        with self._folder.locked():
            keys = self.load()
            # not by the time: of two keys the later one is the newer, also when the clock was set
            order = 1 + max((key.order for key in keys), default=0)
            key = OwnKey(f"{int(now)}-{public.hex()[:16]}", private, public, now, order=order)
            if len(keys) >= MOST_KEYS:
                raise ConfigurationError(
                    f"{self.directory} holds {MOST_KEYS} keys already",
                    hint="older ones go one by one as the records that name them expire",
                )
            self._write(key)
        return key

    def current(self, now: float) -> OwnKey:
        """The key to publish: the newest, or a new one when that has lived its lifetime.

        One that was made in the future, because the clock was set back since, lives at most as long
        again; one that was revoked is never the current one.
        """
        keys = self.load()
        if not keys or keys[0].order <= self._revoked().order:
            return self.new(now)
        return keys[0] if abs(now - keys[0].created) < self.lifetime_seconds else self.new(now)

    def to_publish(self, now: float, overlap_seconds: float) -> tuple[OwnKey, ...]:
        """The keys that a record is to name: the current one first, and the one before it.

        That one for ``overlap_seconds``, the life of a record, as long as others may seal to it by
        a record that they have; never where it was revoked.
        """
        current = self.current(now)
        if abs(now - current.created) >= overlap_seconds:
            return (current,)
        revoked = self._revoked().order
        older = [key for key in self.load() if revoked < key.order < current.order]
        return (current, *[key for key in older[:1] if now < key.published_until])

    def published(self, name: str, serial: int, until: float) -> None:
        """Note that a record with ``serial`` names the key until ``until``; call it before it does.

        Raises ``ConfigurationError``.
        """
        with self._folder.locked():
            key = self._read(self._path(name))
            if key is None:
                raise ConfigurationError(f"no key {name!r} in {self.directory}")
            latest = max(key.published_until, until)
            self._write(replace(key, serial=max(key.serial, serial), published_until=latest))

    def next_serial(self, now: float) -> int:
        """A record serial greater than any before it, also when the clock was set back.

        It is the time in seconds where that is greater. Raises ``ConfigurationError``.
        """
        path = self.directory / _SERIAL
        with self._folder.locked():
            last = 0
            if (octets := self._folder.read(path, _MOST_OCTETS)) is not None:
                try:
                    last = int(octets.decode("ascii"))
                except ValueError as error:
                    raise ConfigurationError(f"{path} does not hold a number") from error
            serial = max(last + 1, int(now))
            self._folder.write(path, str(serial).encode("ascii"))
        return serial

    def suspend(self) -> None:
        """Note that our keys are revoked: a service that runs must not publish them again."""
        with self._folder.locked():
            newest = max((key.order for key in self.load()), default=0)
            # a second time, after a new key was made: that one is not meant
            order = self._revoked().order if self.suspended() else newest
            self._write_revoked(_Revoked(order, suspended=True))

    def resume(self) -> None:
        """Publish again, newer keys alone. Raises ``ConfigurationError``."""
        with self._folder.locked():
            self._write_revoked(_Revoked(self._revoked().order, suspended=False))

    def suspended(self) -> bool:
        """Whether our keys were revoked and not published anew since."""
        return self._revoked().suspended

    def is_revoked(self, key: OwnKey) -> bool:
        """Whether a tombstone revoked it: it opens what it may, and is never published again."""
        return key.order <= self._revoked().order

    def erase_expired(self, now: float) -> tuple[str, ...]:
        """Erase what nothing can be sealed to any more, and give the names.

        The newest key stays. One that no record ever named may have been handed out by hand, and
        stays for its lifetime. Raises ``ConfigurationError``.
        """
        erased = []
        with self._folder.locked():
            self._folder.tidy()
            for key in self.load()[1:]:
                last = key.published_until or key.created + self.lifetime_seconds
                if now >= last + ENTRY_LIFETIME_SECONDS:
                    self._folder.erase(self._path(key.name))
                    erased.append(key.name)
        return tuple(erased)

    def _revoked(self) -> _Revoked:
        path = self.directory / _REVOKED
        octets = self._folder.read(path, _MOST_OCTETS)
        if octets is None:
            return _Revoked(-1, suspended=False)
        try:
            return msgspec.json.decode(octets, type=_Revoked)
        except msgspec.DecodeError as error:
            raise ConfigurationError(
                f"{path} does not say which keys were revoked",
                hint="pbx-stir keys revoke writes it again, once it is removed",
            ) from error

    def _write_revoked(self, note: _Revoked) -> None:
        self._folder.write(self.directory / _REVOKED, msgspec.json.encode(note))

    def _path(self, name: str) -> Path:
        return self.directory / (name + _SUFFIX)

    def _read(self, path: Path) -> OwnKey | None:
        """Read one key; None where another process has erased it meanwhile."""
        octets = self._folder.read(path, _MOST_OCTETS)
        if octets is None:
            return None
        try:
            stored = msgspec.json.decode(octets, type=_Stored)
            raw = base64.b64decode(stored.private, validate=True)
            if stored.version != 1 or len(raw) != _KEY_OCTETS:
                raise ValueError("another form")
            private = X25519PrivateKey.from_private_bytes(raw)
        except ValueError as error:
            raise ConfigurationError(
                f"{path} is not an encryption key",
                hint="remove it; calls sealed to it cannot be opened",
            ) from error
        return OwnKey(
            path.name.removesuffix(_SUFFIX),
            private,
            sealing.public_octets(private),
            stored.created,
            stored.serial,
            stored.published_until,
            stored.order,
        )

    def _write(self, key: OwnKey) -> None:
        private = base64.b64encode(key.private.private_bytes_raw()).decode("ascii")
        stored = _Stored(1, private, key.created, key.serial, key.published_until, key.order)
        self._folder.write(self._path(key.name), msgspec.json.encode(stored))
