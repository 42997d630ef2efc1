"""Reads a configuration file, and the files and secrets that it names."""

from __future__ import annotations

import glob
import os
import re
import stat
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import msgspec
from msgspec import Struct

from pbx_stir.config.lines import Lines
from pbx_stir.config.mistakes import converted, mistakes
from pbx_stir.config.sections import Configuration
from pbx_stir.errors import ConfigurationError, together

LARGEST_FILE: Final = 1 << 20
LONGEST_SECRET: Final = 500
Made = TypeVar("Made")


class Loaded(Struct, frozen=True):
    """A configuration with the file it came from, which its paths are relative to.

    ``lines``: by key, for messages. ``made``: see ``once``.
    """

    path: Path
    values: Configuration
    lines: Lines = msgspec.field(default_factory=Lines)
    made: dict[Callable[[Any], object], object] = {}

    def once(self, make: Callable[[Loaded], Made]) -> Made:
        """What ``make`` makes of this configuration, made the first time only.

        So that a thread can do what the event loop has no time for. ``made.clear()`` forgets it.
        """
        if make not in self.made:
            self.made[make] = make(self)
        return cast(Made, self.made[make])

    def resolve(self, name: str) -> Path:
        """``name`` as a path, relative to the configuration file's folder."""
        return self.path.parent / _expanded(name)

    def pattern(self, name: str) -> str:
        """``name`` as a glob pattern; what the folder's own name has of ``[`` or ``*`` is plain."""
        return str(Path(glob.escape(str(self.path.parent))) / _expanded(name))

    def wrong(self, key: str, message: str, hint: str = "") -> ConfigurationError:
        """The error for ``key`` of this file."""
        return ConfigurationError(f"{self.path}{_at(self.lines, key)}: {key}: {message}", hint=hint)

    def read(self, key: str, name: str) -> bytes:
        """The octets of the file that ``key`` names."""
        path = self.resolve(name)
        try:
            octets = octets_of(path)
        except (OSError, ValueError) as error:
            hint = "check the path, and that the service's user may read it"
            raise self.wrong(key, f"cannot read {path}: {_why(error)}", hint) from error
        if octets is None:
            raise self.wrong(key, f"{path} is larger than {LARGEST_FILE} octets")
        return octets

    def read_private(self, key: str, name: str) -> bytes:
        """As ``read``, for a secret: refused where others than owner and group may read it.

        Where the service manager has handed over a credential of the file's name, that is read.
        """
        path = _handed_over(self.resolve(name))
        octets = self.read(key, str(path))
        try:
            mode = path.stat().st_mode
        except OSError as error:
            raise self.wrong(key, f"cannot read {path}: {_why(error)}") from error
        if mode & stat.S_IRWXO:
            raise self.wrong(key, f"{path} is open to everyone", f"chmod o= {path}")
        return octets

    def secret(self, key: str, name: str) -> str:
        """A one-line secret, without the line's end."""
        octets = self.read_private(key, name)
        try:
            text = octets.decode("ascii").rstrip("\r\n")
        except UnicodeDecodeError:
            # not its cause, which quotes the secret
            text = ""
        if not text or len(text) > LONGEST_SECRET or not text.isprintable():
            where = self.resolve(name)
            hint = "put the secret alone on one line, in ASCII"
            raise self.wrong(key, f"{where} is not one line of text", hint)
        return text

    def matching(self, key: str, patterns: tuple[str, ...]) -> tuple[Path, ...]:
        """The files that ``patterns`` match; one that matches none is an error."""
        found: dict[Path, None] = {}
        for pattern in patterns:
            names = sorted(glob.glob(self.pattern(pattern)))
            if not names:
                raise self.wrong(key, f"no file matches {pattern}", "check the path")
            found.update((Path(name), None) for name in names)
        return tuple(found)


def _handed_over(path: Path) -> Path:
    """The credential of that file's name (systemd's LoadCredential), else the file itself."""
    folder = os.environ.get("CREDENTIALS_DIRECTORY", "")
    credential = Path(folder) / path.name
    return credential if folder.startswith("/") and credential.is_file() else path


def _expanded(name: str) -> Path:
    try:
        return Path(name).expanduser()
    except RuntimeError:
        # "~nobody": no such home, so it is a file's name like any other
        return Path(name)


def _why(error: OSError | ValueError) -> str:
    """What the system says, or (a name with a zero octet) what Python does."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def octets_of(path: Path) -> bytes | None:
    """What is in a file; None where that is too much. Raises OSError, ValueError."""
    with path.open("rb") as stream:
        octets = stream.read(LARGEST_FILE + 1)
    return octets if len(octets) <= LARGEST_FILE else None


def load(path: Path) -> Loaded:
    """Read ``path``.

    Raises:
        ConfigurationError: naming file, line, key and remedy of every mistake
    """
    try:
        octets = octets_of(path)
    except (OSError, ValueError) as error:
        hint = "name it with --config"
        if isinstance(error, PermissionError):
            hint = "as root, or as the service's user (pbx-stir)"
        raise ConfigurationError(f"cannot read {path}: {_why(error)}", hint=hint) from error
    if octets is None:
        raise ConfigurationError(f"{path} is larger than {LARGEST_FILE} octets")
    try:
        text = octets.decode()
        raw = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"{path}{_line_in(error)}: not TOML: {error}") from error
    lines = Lines(text)
    try:
        return Loaded(path.absolute(), converted(raw, Configuration), lines)
    except msgspec.ValidationError as error:
        wrong = mistakes(raw, Configuration)
        wrong.sort(key=lambda one: lines.line(one.key) or 0)
        raise together(
            ConfigurationError(f"{path}{_at(lines, one.key)}: {one.key}: {one.what}", hint=one.hint)
            for one in wrong
        ) from error


def _at(lines: Lines, key: str) -> str:
    line = lines.line(key)
    return "" if line is None else f":{line}"


def _line_in(error: Exception) -> str:
    """Where the text ends to be TOML, as far as the reader says so."""
    if isinstance(error, UnicodeDecodeError):
        return f":{error.object[: error.start].count(10) + 1}"
    found = re.search(r"at line (\d+)", str(error))
    return f":{found[1]}" if found else ""
