"""``[cps.bare]``: the listener of ``pbx-stir cps`` for unsealed PASSporTs (RFC 9888)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from pbx_stir.cps.bare import BareSettings
    from pbx_stir.cps.settings import CpsSettings


def bare_settings(
    config_file: str | None, common: CpsSettings, parse_listen: Callable[[str], tuple[str, int]]
) -> BareSettings | None:
    """Settings of the second listener, None where none is configured.

    ``common`` are those of the first, from which come its limits, anchors and the table of codes.
    Raises ``ConfigurationError`` and ``UsageError``.
    """
    if config_file is None:
        return None
    from pbx_stir import config
    from pbx_stir.cps.bare import BareSettings
    from pbx_stir.errors import ConfigurationError

    loaded = config.load(Path(config_file))
    section = loaded.values.cps.bare
    if section.listen is None:
        return None
    host, port = parse_listen(section.listen)
    shared = replace(
        common,
        host=host,
        port=port,
        tls=section.tls,
        certificate=str(loaded.resolve(section.certificate))
        if section.certificate
        else common.certificate,
        key=str(loaded.resolve(section.key)) if section.key else common.key,
        names=section.names,
        client_certificates=section.client_certificates,
        shared_port=False,
    )
    try:
        return BareSettings(
            shared,
            section.submitters,
            section.retrieval,
            float(section.submissions_per_second),
            float(section.submissions_per_second_of_a_signer),
        )
    except ConfigurationError as error:
        raise loaded.wrong("cps.bare", error.message, error.hint) from error
