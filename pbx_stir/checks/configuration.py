"""Checks of the configuration's sections, each by making what the service makes of it.

Nothing is connected to.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Final

from pbx_stir import configured, configured_callers, configured_pbxs, configured_retrieval
from pbx_stir.certificates.allowed import origin_of
from pbx_stir.checks.finding import Finding, error, note, warning
from pbx_stir.checks.places import findings_of, place
from pbx_stir.config import CpsSection, Loaded
from pbx_stir.errors import ConfigurationError, PbxStirError, UsageError
from pbx_stir.stir.certificate import Anchors
from pbx_stir.stir.number import NumberSet

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


def _outgoing(loaded: Loaded) -> None:
    configured.tls_of(loaded, "outgoing.tls_ca", loaded.values.outgoing.tls_ca)


def _bare_certificate(loaded: Loaded) -> None:
    outgoing = loaded.values.outgoing
    if not (outgoing.bare_certificate or outgoing.bare_key):
        return
    try:
        _outgoing(loaded)
    except ConfigurationError:
        # has its own finding
        return
    configured.bare_tls(loaded)


def _advertisements(loaded: Loaded) -> None:
    configured.advertisements(loaded, lambda: Anchors.of([]))


def x5u_settings(loaded: Loaded) -> None:
    """What names the servers of certificates. Raises ConfigurationError."""
    section = loaded.values.verification
    try:
        for one in section.x5u_allow:
            origin_of(one)
    except UsageError as wrong:
        raise loaded.wrong("verification.x5u_allow", wrong.message, wrong.hint) from wrong
    configured.tls_of(loaded, "verification.x5u_tls_ca", section.x5u_tls_ca)


def _call_log(loaded: Loaded) -> None:
    name = loaded.values.call_log.file
    path = loaded.resolve(name)
    if name in {"-", "journal", "syslog"} or (path.is_file() and os.access(path, os.W_OK)):
        return
    if path.exists() or not os.access(path.parent, os.W_OK | os.X_OK):
        hint = "a file in a folder that the service's user may write"
        raise loaded.wrong("call_log.file", f"{path} cannot be written", hint)


PARTS: Final[tuple[tuple[str, Part], ...]] = (
    ("trunks and who calls by them", ("trunk-wrong", configured_callers.callers)),
    ("routes", ("route-wrong", configured.routes)),
    ("emergency and excluded numbers", ("numbers-wrong", configured.never_signed)),
    ("cover", ("cover-wrong", configured_retrieval.cover)),
    ("Asterisk's secrets", ("pbx-wrong", configured_pbxs.asterisks)),
    ("FreeSWITCH's passwords", ("pbx-wrong", configured_pbxs.freeswitches)),
    ("CAs of CPSs", ("tls-ca-wrong", _outgoing)),
    ("TLS certificate to show", ("tls-certificate-wrong", _bare_certificate)),
    ("advertisements", ("advertisement-wrong", _advertisements)),
    ("ENUM", ("enum-wrong", configured.enum)),
    ("where certificates are fetched", ("x5u-wrong", x5u_settings)),
    ("call log", ("call-log-wrong", _call_log)),
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
