"""``[board]`` of the configuration: where the call board listens, and who may look.

Takes a ``config.Loaded``, gives ``BoardSettings``; names file and key of what is wrong. Listens on
nothing.
"""

from __future__ import annotations

import ssl

from pbx_stir.board.settings import BoardSettings
from pbx_stir.config import Loaded
from pbx_stir.cps.server_tls import tls_context
from pbx_stir.errors import ConfigurationError, UsageError
from pbx_stir.listen_address import parse_listen


def settings(loaded: Loaded) -> BoardSettings | None:
    """What ``[board]`` says, with its token; None where no board is wanted.

    Raises:
        ConfigurationError: naming file, key and remedy
    """
    section = loaded.values.board
    if not section.listen:
        return None
    try:
        host, port = parse_listen(section.listen)
    except UsageError as error:
        raise loaded.wrong("board.listen", error.message, error.hint) from error
    if section.token_file is None:
        hint = "openssl rand -hex 24 > board.token; chmod 600 board.token, then name it here"
        raise loaded.wrong("board.token_file", "the board needs an access token", hint)
    token = loaded.secret("board.token_file", section.token_file)
    tls = _tls(loaded)
    try:
        return BoardSettings(
            host=host,
            port=port,
            token=token,
            names=frozenset(section.names),
            tls=tls,
            behind_proxy=section.behind_proxy,
            session_seconds=section.session_hours * 3_600,
        )
    except ConfigurationError as error:
        key = "board.token_file" if "token" in error.message else "board.listen"
        raise loaded.wrong(key, error.message, error.hint) from error


def _tls(loaded: Loaded) -> ssl.SSLContext | None:
    section = loaded.values.board
    if section.certificate is None and section.key is None:
        return None
    if section.certificate is None or section.key is None:
        missing = "certificate" if section.certificate is None else "key"
        hint = "a certificate and its key belong together"
        raise loaded.wrong(f"board.{missing}", "is missing", hint)
    # refused where everybody may read it
    loaded.read_private("board.key", section.key)
    files = (str(loaded.resolve(section.certificate)), str(loaded.resolve(section.key)))
    try:
        return tls_context(*files)
    except ConfigurationError as error:
        raise loaded.wrong("board.certificate", error.message, error.hint) from error
