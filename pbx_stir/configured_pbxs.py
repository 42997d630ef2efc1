"""The PBXs of a configuration and their secrets: what ``[[asterisk]]`` and ``[[freeswitch]]`` say.

Takes a ``config.Loaded``, gives settings; names file and key of what is wrong. Connects to nothing.
"""

from __future__ import annotations

from pbx_stir import configured
from pbx_stir.config import AsteriskSection, FreeSwitchSection, Loaded
from pbx_stir.errors import Mistakes
from pbx_stir.pbx.ami import AsteriskSettings
from pbx_stir.pbx.event_socket import FreeSwitchSettings


def check_names(loaded: Loaded) -> None:
    """Refuse two PBXs of one name: a call's id says where it is. Raises ConfigurationError."""
    seen: set[str] = set()
    asterisks_named = [(f"asterisk[{n}]", _name(s)) for n, s in enumerate(loaded.values.asterisk)]
    others = [(f"freeswitch[{n}]", _name(s)) for n, s in enumerate(loaded.values.freeswitch)]
    for key, name in asterisks_named + others:
        if name in seen:
            raise loaded.wrong(f"{key}.name", f"a second PBX {name!r}")
        seen.add(name)


def asterisks(loaded: Loaded) -> list[AsteriskSettings]:
    """What each ``[[asterisk]]`` says, with its secret. Raises ConfigurationError."""
    check_names(loaded)
    found = []
    mistakes = Mistakes()
    for index, section in enumerate(loaded.values.asterisk):
        with mistakes.gathered():
            found.append(_asterisk(loaded, f"asterisk[{index}]", section))
    mistakes.settle()
    return found


def _asterisk(loaded: Loaded, key: str, section: AsteriskSection) -> AsteriskSettings:
    tls = None
    if section.tls:
        tls = configured.tls_of(loaded, f"{key}.tls_ca", section.tls_ca)
    return AsteriskSettings(
        name=_name(section),
        host=section.host,
        port=section.port,
        username=section.username,
        secret=loaded.secret(f"{key}.secret_file", section.secret_file),
        tls=tls,
    )


def freeswitches(loaded: Loaded) -> list[FreeSwitchSettings]:
    """What each ``[[freeswitch]]`` says, with its password. Raises ConfigurationError."""
    check_names(loaded)
    found = []
    mistakes = Mistakes()
    for index, section in enumerate(loaded.values.freeswitch):
        key = f"freeswitch[{index}].password_file"
        with mistakes.gathered():
            password = loaded.secret(key, section.password_file)
            found.append(FreeSwitchSettings(_name(section), section.host, section.port, password))
    mistakes.settle()
    return found


def _name(section: AsteriskSection | FreeSwitchSection) -> str:
    return section.name or f"{section.host}:{section.port}"
