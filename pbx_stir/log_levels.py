"""How much is said in the service's own log, and changing that while it runs.

Takes the level that the configuration names; a signal raises it to debug and lowers it again. Only
the service's own modules are ever heard at debug: libraries would write what they read and send.
"""

from __future__ import annotations

import logging
from typing import Final

log = logging.getLogger(__name__)

# whose debug lines are looked at for secrets, keys and numbers: those of this package
OURS: Final = "pbx_stir"
FORMAT: Final = "%(levelname)s %(name)s: %(message)s"


class LogLevels:
    """The level in force: the configured one, or debug while that is asked for."""

    def __init__(self, configured: str) -> None:
        """``configured``: debug, info, warning or error."""
        self._configured = configured
        self._is_raised = False
        logging.basicConfig(format=FORMAT)
        self._apply()

    def configure(self, level: str) -> None:
        """Take up the level of a configuration that was read again; debug, if asked for, ends."""
        self._configured, self._is_raised = level, False
        self._apply()

    def toggle(self) -> None:
        """Raise the level to debug; or go back to the configured one."""
        self._is_raised = not self._is_raised
        self._apply()
        self._say("log level: %s", "debug" if self._is_raised else self._configured)

    def _apply(self) -> None:
        level = logging.getLevelName(self._configured.upper())
        logging.getLogger().setLevel(max(level, logging.INFO))
        logging.getLogger(OURS).setLevel(logging.DEBUG if self._is_raised else level)

    def _say(self, message: str, *values: object) -> None:
        """Who sends a signal waits for a word, whatever the level."""
        log.log(max(logging.INFO, log.getEffectiveLevel()), message, *values)
