"""Finds what comes with pbx_stir for an administrator: dialplan files, units, a configuration.

They lie in ``installing/shipped``: in the repository that has links to its top-level folders, in
an installed package the files themselves. No other module knows where they are.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Final

_FOLDER: Final = "shipped"


def shipped(name: str) -> bytes:
    """The octets of a shipped file, such as ``dialplan/asterisk/pbx-stir.conf``.

    Raises FileNotFoundError where nothing of that name is shipped, which is a fault of ours.
    """
    return files("pbx_stir.installing").joinpath(_FOLDER, *name.split("/")).read_bytes()
