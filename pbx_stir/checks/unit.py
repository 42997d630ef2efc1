"""The systemd unit that runs a configuration: its user, what it hands over, the folders it makes.

Read from the units' files, as far as they say it plainly: nothing is asked of systemd.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

# an earlier one hides those of the same name in a later one, as in systemd.unit(5)
FOLDERS: tuple[Path, ...] = tuple(
    Path(one)
    for one in (
        "/etc/systemd/system",
        "/run/systemd/system",
        "/usr/local/lib/systemd/system",
        "/usr/lib/systemd/system",
    )
)
_NAMES: Final = ("pbx-stir", "pbx-stir-cps")
_USUAL: Final = {"pbx-stir": "/etc/pbx-stir/pbx-stir.toml", "pbx-stir-cps": ""}
_LARGEST: Final = 1 << 16
# the settings that name folders which systemd makes, and where those are
MADE: Mapping[str, str] = {"StateDirectory": "/var/lib", "LogsDirectory": "/var/log"}


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit by its name without ``.service``.

    ``credentials`` are the names of files that it hands over (LoadCredential), ``makes`` the
    folders that systemd makes for its user when it starts.
    """

    name: str
    user: str
    credentials: frozenset[str]
    makes: tuple[Path, ...]

    def makes_room_for(self, path: Path) -> bool:
        """Whether systemd makes the folder ``path``, or one above it."""
        return any(path.is_relative_to(one) for one in self.makes)


def unit_of(path: Path) -> Unit | None:
    """The unit that runs the configuration ``path``; None where no unit says that it does."""
    for name in _NAMES:
        settings = _settings(name)
        if settings and _configuration(name, settings) == path.resolve():
            return Unit(
                name,
                (settings.get("User") or [""])[-1],
                frozenset(one.partition(":")[0] for one in settings.get("LoadCredential", ())),
                tuple(
                    Path(above, folder)
                    for key, above in MADE.items()
                    for line in settings.get(key, ())
                    for folder in line.split()
                ),
            )
    return None


def start_hint(path: Path, otherwise: str) -> str:
    """How to start what runs the configuration ``path``; ``otherwise`` where it has no unit."""
    unit = unit_of(path)
    return f"systemctl start {unit.name}" if unit else otherwise


def _configuration(name: str, settings: Mapping[str, list[str]]) -> Path | None:
    """The configuration that the unit's command names."""
    try:
        words = shlex.split((settings.get("ExecStart") or [""])[-1])
    except ValueError:
        return None
    named = _USUAL[name]
    for word, following in zip(words, [*words[1:], ""], strict=True):
        if word == "--config":
            named = following
        elif word.startswith("--config="):
            named = word.partition("=")[2]
    return Path(named).resolve() if named.startswith("/") else None


def _settings(name: str) -> dict[str, list[str]]:
    """What a unit and its drop-ins set, in order; an empty value forgets those before it."""
    found: dict[str, list[str]] = {}
    for path in _files(f"{name}.service"):
        try:
            with path.open(errors="replace") as file:
                text = file.read(_LARGEST)
        except (OSError, ValueError):
            continue
        for line in text.replace("\\\n", " ").splitlines():
            key, equals, value = line.partition("=")
            if not equals or line.startswith(("#", ";")):
                continue
            values = found.setdefault(key.strip(), [])
            if value.strip():
                values.append(value.strip())
            else:
                values.clear()
    return found


def _files(name: str) -> Iterator[Path]:
    first = next((path for folder in FOLDERS if (path := folder / name).is_file()), None)
    if first is None:
        return
    yield first
    drop_ins: dict[str, Path] = {}
    for folder in reversed(FOLDERS):
        drop_ins |= {path.name: path for path in (folder / f"{name}.d").glob("*.conf")}
    yield from (drop_ins[one] for one in sorted(drop_ins))
