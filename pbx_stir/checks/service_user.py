"""Checks, as root, of what the service's user may not read: root itself may read everything.

By owners and modes; where a file has an access control list, nothing is said of it.
"""

from __future__ import annotations

import grp
import os
import pwd
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from pbx_stir.certificates.watching import is_url
from pbx_stir.checks.finding import Finding, error
from pbx_stir.checks.places import place
from pbx_stir.checks.unit import unit_of
from pbx_stir.config import Loaded
from pbx_stir.config.files import file_keys
from pbx_stir.errors import ConfigurationError

USUAL_USER: Final = "pbx-stir"
USUAL_FOLDER: Final = Path("/etc/pbx-stir")
_PATTERNS: Final = frozenset({"trust", "crls", "crl_signers"})
# "signed_by" names a file, or one of these
_WORDS: Final = frozenset({"stir", "nobody"})
_ACL: Final = "system.posix_acl_access"
_MOST: Final = 1_000


@dataclass(frozen=True, slots=True)
class Account:
    """A user as the system knows him: his name, his id, the ids of his groups."""

    name: str
    user: int
    groups: frozenset[int]


def account_of(loaded: Loaded) -> Account | None:
    """Who runs this configuration, where that is somebody else than root.

    The user of its unit; else whose the state folder is; else pbx-stir, where there is such a
    user and the configuration is in /etc/pbx-stir.
    """
    unit = unit_of(loaded.path)
    if unit is not None:
        return _named(unit.user)
    try:
        owner = loaded.resolve(loaded.values.state_dir).stat().st_uid
    except (OSError, ValueError):
        return _named(USUAL_USER) if loaded.path.is_relative_to(USUAL_FOLDER) else None
    return _numbered(owner) if owner else None


def _named(name: str) -> Account | None:
    try:
        return _account(pwd.getpwnam(name)) if name not in {"", "root"} else None
    except KeyError:
        return None


def _numbered(user: int) -> Account:
    try:
        return _account(pwd.getpwuid(user))
    except KeyError:
        return Account(str(user), user, frozenset())


def _account(known: pwd.struct_passwd) -> Account:
    groups = os.getgrouplist(known.pw_name, known.pw_gid)
    return Account(known.pw_name, known.pw_uid, frozenset(groups))


def check_readable(loaded: Loaded) -> Iterator[Finding]:
    """Give the files of the configuration, itself among them, that the service cannot read."""
    account = account_of(loaded) if os.geteuid() == 0 else None
    if account is None:
        return
    unit = unit_of(loaded.path)
    handed_over = unit.credentials if unit else frozenset()
    seen: set[Path] = set()
    for key, path in [("", loaded.path), *_named_files(loaded)]:
        if (key and path.name in handed_over) or path in seen or len(seen) >= _MOST:
            continue
        seen.add(path)
        obstacle = _obstacle(path, account)
        if obstacle is None:
            continue
        may = "enter" if obstacle.is_dir() else "read"
        behind = "" if may == "read" else f", and so not read {path}"
        yield error(
            "file-not-for-service",
            f"user {account.name}, who runs the service, may not {may} {obstacle}{behind}",
            place(loaded, key) if key else str(loaded.path),
            _remedy(obstacle, account),
        )


def _named_files(loaded: Loaded) -> Iterator[tuple[str, Path]]:
    """Key and path of each file that the configuration names."""
    for key, name in _names(loaded.values):
        if key.rpartition(".")[2] not in _PATTERNS:
            yield key, loaded.resolve(name)
            continue
        try:
            found = loaded.matching(key, (name,))
        except (ConfigurationError, OSError, ValueError):
            # has its own finding
            continue
        yield from ((key, path) for path in found)


def _names(section: msgspec.Struct, above: str = "") -> Iterator[tuple[str, str]]:
    files = file_keys(type(section))
    for field in section.__struct_fields__:
        value, key = getattr(section, field), f"{above}{field}"
        if isinstance(value, str):
            if field in files and value not in _WORDS:
                yield key, value
        elif isinstance(value, msgspec.Struct):
            yield from _names(value, f"{key}.")
        elif isinstance(value, tuple) and field in _PATTERNS:
            yield from ((key, one) for one in value if not is_url(one))
        elif isinstance(value, tuple) and field != "route":
            for index, one in enumerate(value):
                if isinstance(one, msgspec.Struct):
                    yield from _names(one, f"{key}[{index}].")


def _obstacle(path: Path, account: Account) -> Path | None:
    """The first folder that the user may not enter, or the file; None: he may read it.

    What is not there has its own finding.
    """
    try:
        led = path.resolve(strict=True)
    except (OSError, ValueError, RuntimeError):
        return None
    every = dict.fromkeys((*reversed(path.absolute().parents), *reversed(led.parents), led))
    for one in every:
        try:
            status = one.stat()
        except OSError:
            return None
        wanted = stat.S_IXOTH if stat.S_ISDIR(status.st_mode) else stat.S_IROTH
        if not _may(status, account, wanted) and not _has_list(one):
            return one
    return None


def _has_list(path: Path) -> bool:
    """Whether there is an access control list: who may read it, the mode does not say then."""
    try:
        return _ACL in os.listxattr(path)
    except OSError:
        return False


def _may(status: os.stat_result, account: Account, wanted: int) -> bool:
    """Whether a user has the right ``wanted``, one of those of others."""
    if status.st_uid == account.user:
        wanted <<= 6
    elif status.st_gid in account.groups:
        wanted <<= 3
    return bool(status.st_mode & wanted)


def _remedy(path: Path, account: Account) -> str:
    right = "g+rx" if path.is_dir() else "g+r"
    try:
        group = grp.getgrnam(account.name).gr_name
    except KeyError:
        return f"chown {account.name} {path}"
    return f"chgrp {group} {path} && chmod {right} {path}"
