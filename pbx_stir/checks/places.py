"""Where in a configuration a finding is: file, line and key, as its messages write them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pbx_stir.checks.finding import Finding, error
from pbx_stir.config import Loaded
from pbx_stir.config.lines import line_of
from pbx_stir.errors import ConfigurationError, PbxStirError

# how a part says that it was given a file which a check of who may read it names
OPEN_TO_EVERYONE: Final = "is open to everyone"
OTHERS_MAY_READ: Final = "others may read"
_USUAL_HINT: Final = "docs/configuration.md says what the key takes"
_KEY_AND_WHAT: Final = re.compile(
    r"(:[0-9]+)?: ([a-z_]+(?:[\w.\[\]-]|\b and \b)*): (.+)", re.DOTALL
)


def place(loaded: Loaded, key: str) -> str:
    """The place of ``key``: its file, the line where it is known, and itself."""
    line = line_of(loaded.lines, key)
    return f"{loaded.path}{'' if line is None else f':{line}'}: {key}"


def findings_of(code: str, path: Path, wrong: PbxStirError) -> Iterator[Finding]:
    """Give what an error says as findings, one a mistake, its place taken out of its message.

    Left out is that everybody may read a secret, which has a finding of its own.
    """
    for one in wrong.each if isinstance(wrong, ConfigurationError) else (wrong,):
        if OPEN_TO_EVERYONE in one.message:
            continue
        found = None
        if one.message.startswith(str(path)):
            found = _KEY_AND_WHAT.fullmatch(one.message, len(str(path)))
        hint = one.hint or _USUAL_HINT
        if found is None:
            yield error(code, one.message, str(path), hint)
        else:
            yield error(code, found[3], f"{path}{found[1] or ''}: {found[2]}", hint)
