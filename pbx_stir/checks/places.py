"""Where in a configuration a finding is: file, line and key, as its messages write them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pbx_stir.checks.finding import Finding, error, note
from pbx_stir.checks.unit import unit_of
from pbx_stir.config import Loaded
from pbx_stir.errors import ConfigurationError, PbxStirError

# how a part says that it was given a file which a check of who may read it names
OPEN_TO_EVERYONE: Final = "is open to everyone"
OTHERS_MAY_READ: Final = "others may read"
_DENIED: Final = re.compile(r"cannot read (.+): Permission denied")
_USUAL_HINT: Final = "docs/configuration.md has every key, and an example"
_PLACE: Final = re.compile(
    r"(?P<line>:[0-9]+)?(?:: (?P<key>[a-z_]+(?:[\w.\[\]-]|\b and \b)*))?: (?P<what>.+)", re.DOTALL
)


def place(loaded: Loaded, key: str) -> str:
    """The place of ``key``: its file, the line where it is known, and itself."""
    line = loaded.lines.line(key)
    return f"{loaded.path}{'' if line is None else f':{line}'}: {key}"


def findings_of(code: str, path: Path, wrong: PbxStirError) -> Iterator[Finding]:
    """Give what an error says as findings, one a mistake, its place taken out of its message.

    Left out is that everybody may read a secret, which has a finding of its own. A secret that
    systemd hands over to the service is nobody else's to read: that is no error of the service.
    """
    for one in wrong.each if isinstance(wrong, ConfigurationError) else (wrong,):
        if OPEN_TO_EVERYONE in one.message:
            continue
        what, where = one.message, str(path)
        if what.startswith(where):
            found = _PLACE.fullmatch(what, len(where))
            if found is not None:
                key = f": {found['key']}" if found["key"] else ""
                what, where = found["what"], f"{where}{found['line'] or ''}{key}"
        denied = _DENIED.fullmatch(what)
        unit = unit_of(path) if denied else None
        if denied and unit and Path(denied[1]).name in unit.credentials:
            what = f"{denied[1]} is not ours to read: systemd hands it to {unit.name}"
            hint = "what needs it was not looked at: as root everything is"
            yield note("secret-handed-over", what, where, hint)
            continue
        yield error(code, what, where, one.hint or _USUAL_HINT)
