"""Checks of the configuration's sections, each by making what the service makes of it.

Nothing is connected to.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from pbx_stir import (
    configured,
    configured_board,
    configured_callers,
    configured_metrics,
    configured_mistakes,
    configured_pbxs,
    configured_retrieval,
)
from pbx_stir.checks.finding import Finding, error, note, warning
from pbx_stir.checks.places import findings_of, place
from pbx_stir.checks.private import may_write, owner_of
from pbx_stir.checks.unit import start_hint, unit_of
from pbx_stir.config import CpsSection, Loaded
from pbx_stir.errors import ConfigurationError, PbxStirError, UsageError
from pbx_stir.stir.number import NumberSet

_NO_FILES: Final = frozenset({"-", "journal", "syslog"})
Part = tuple[str, Callable[[Loaded], object]]


def serves_calls(loaded: Loaded) -> bool:
    """Whether the file is one of ``pbx-stir run``: not where ``[cps]`` is all that it says."""
    values = loaded.values
    named = (values.asterisk, values.freeswitch, values.credential, values.trunk, values.route)
    return any(named) or bool(values.publish.numbers) or not serves_cps(loaded)


def serves_cps(loaded: Loaded) -> bool:
    """Whether the file is one of ``pbx-stir cps``: it has something in ``[cps]``."""
    return loaded.values.cps != CpsSection()


def check_part(loaded: Loaded, part: Part) -> Iterator[Finding]:
    """Give what is wrong with one section, if the service could not be made of it."""
    code, make = part
    try:
        make(loaded)
    except (ConfigurationError, UsageError) as wrong:
        yield from findings_of(code, loaded.path, wrong)


def _bare_certificate(loaded: Loaded) -> None:
    outgoing = loaded.values.outgoing
    if not (outgoing.bare_certificate or outgoing.bare_key):
        return
    try:
        configured_mistakes.check_tls(loaded)
    except ConfigurationError:
        # has its own finding
        return
    configured.bare_tls(loaded)


def _call_log(loaded: Loaded) -> None:
    """Whether the service may write it: by root's rights everything can be written."""
    name = loaded.values.call_log.file
    path = loaded.resolve(name)
    if name not in _NO_FILES and _is_made_at_start(loaded, path.parent):
        # has a note of its own
        return
    configured_mistakes.check_call_log(loaded)
    owner = owner_of(loaded.resolve(loaded.values.state_dir))
    if name in _NO_FILES or os.geteuid() or not owner:
        return
    path = path if path.exists() else path.parent
    if not may_write(path, owner):
        hint = "a file in a folder that the service's user may write"
        raise loaded.wrong("call_log.file", f"{path} is not for user {owner} to write", hint)


def _is_made_at_start(loaded: Loaded, folder: Path) -> bool:
    """Whether a folder that is not there is made by systemd when it starts the service."""
    unit = unit_of(loaded.path)
    return unit is not None and not folder.exists() and unit.makes_room_for(folder)


def check_call_log_folder(loaded: Loaded) -> Iterator[Finding]:
    """Say that the call log's folder will be made."""
    name = loaded.values.call_log.file
    folder = loaded.resolve(name).parent
    if name not in _NO_FILES and _is_made_at_start(loaded, folder):
        what = f"{folder} is not there yet: systemd makes it when the service starts"
        hint = start_hint(loaded.path, "start the service")
        yield note("call-log-not-yet", what, place(loaded, "call_log.file"), hint)


PARTS: Final[tuple[tuple[str, Part], ...]] = (
    ("trunks and who calls by them", ("trunk-wrong", configured_callers.callers)),
    ("routes", ("route-wrong", configured.routes)),
    ("emergency and excluded numbers", ("numbers-wrong", configured.never_signed)),
    ("cover", ("cover-wrong", configured_retrieval.cover)),
    ("Asterisk's secrets", ("pbx-wrong", configured_pbxs.asterisks)),
    ("FreeSWITCH's passwords", ("pbx-wrong", configured_pbxs.freeswitches)),
    ("CAs of CPSs", ("tls-ca-wrong", configured_mistakes.check_tls)),
    ("TLS certificate to show", ("tls-certificate-wrong", _bare_certificate)),
    ("advertisements", ("advertisement-wrong", configured_mistakes.check_advertisements)),
    ("ENUM", ("enum-wrong", configured.enum)),
    ("where certificates are fetched", ("x5u-wrong", configured_mistakes.check_x5u)),
    ("call log", ("call-log-wrong", _call_log)),
    ("call board", ("board-wrong", configured_board.settings)),
    ("metrics", ("metrics-wrong", configured_metrics.listen)),
)


def check_choices(loaded: Loaded) -> Iterator[Finding]:
    """Give settings that are missing, or work and may not have been meant."""
    values = loaded.values
    if not values.asterisk and not values.freeswitch:
        hint = "a table [[asterisk]] or [[freeswitch]]"
        yield error("no-pbx", "no PBX is configured", place(loaded, "asterisk"), hint)
    if not values.trunk:
        hint = "a table [[trunk]] with the name that the dialplan gives it"
        yield error("no-trunk", "no trunk is configured", place(loaded, "trunk"), hint)
    if not (values.route or values.advertisement or values.enum.suffix):
        yield warning(
            "no-route",
            "no route to any CPS: no call can be signed",
            place(loaded, "route"),
            "one [[route]] a prefix, with the CPSs of its numbers",
        )
    if not values.verification.x5u_hosts and not values.verification.x5u_allow:
        yield note(
            "x5u-not-fetched",
            "certificates are not fetched: an Identity header in a call, or a PASSporT without "
            "its certificates inside, cannot be verified",
            place(loaded, "verification.x5u_hosts"),
            "name the hosts you trust not to learn of your calls",
        )


def check_country_codes(loaded: Loaded) -> Iterator[Finding]:
    """Give trunks whose country code cannot be that of their numbers."""
    for index, section in enumerate(loaded.values.trunk):
        code = section.country_code
        try:
            numbers = NumberSet.parse(section.numbers, max_digits=section.max_digits)
        except PbxStirError:
            # has its own finding
            continue
        listed = [one.removeprefix("+") for one in section.numbers]
        others = [one for one in listed if not one.startswith(code)]
        if not (code and numbers and len(others) == len(listed)):
            continue
        yield warning(
            "country-code-wrong",
            f"country_code is {code!r}, and none of the numbers begins with it: "
            f"{', '.join(others)[:80]}",
            place(loaded, f"trunk[{index}].country_code"),
            "write numbers with their country code, and country_code as that of the trunk",
        )
