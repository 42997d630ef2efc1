"""The files of a running ``pbx-stir cps``: revocation lists, and records that it keeps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pbx_stir.errors import ConfigurationError

if TYPE_CHECKING:
    import contextlib

    from pbx_stir.certificates.anchors import AnchorFiles
    from pbx_stir.certificates.revocation import RevocationWatch
    from pbx_stir.config import Loaded
    from pbx_stir.cps.settings import CpsSettings

RECORDS = "records.sqlite"


def revocation(loaded: Loaded, anchors: AnchorFiles) -> RevocationWatch | None:
    """Who knows which signers of records are revoked, from files alone; None without files.

    Raises ``ConfigurationError``.
    """
    from pbx_stir.certificates.watching import is_url, watching

    section = loaded.values.cps
    policy = loaded.values.verification.revocation
    for one in section.crls:
        if is_url(one):
            hint = "a CPS fetches nothing: have a timer fetch it, and send SIGHUP"
            raise loaded.wrong("cps.crls", f"{one[:200]!r} is not a file", hint)
    if not section.crls or policy == "off":
        return None
    try:
        watch, _ = watching(
            anchors=anchors.current,
            policy=policy,
            crls=[loaded.pattern(one) for one in section.crls],
            signers=[loaded.pattern(one) for one in section.crl_signers],
            fetch=False,
        )
    except ConfigurationError as error:
        raise loaded.wrong("cps.crls", error.message, error.hint) from error
    return watch


def with_records(running: contextlib.AsyncExitStack, settings: CpsSettings) -> CpsSettings:
    """Keep records in ``state_dir``, where there is one, until ``running`` ends.

    To be called in the process that serves. Raises ``ConfigurationError``.
    """
    if settings.anchors is None or not settings.state_dir or settings.shelf is not None:
        return settings
    from pbx_stir.record_database import RecordDatabase

    shelf = RecordDatabase(Path(settings.state_dir) / RECORDS)
    running.callback(shelf.close)
    return replace(settings, shelf=shelf)
