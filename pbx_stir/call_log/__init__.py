"""The call log: one JSON object a line, one line a call.

``lines`` makes them of reception's records, ``numbers`` says how telephone numbers stand in them,
``file`` keeps them off the call path, ``outputs``, ``rotation`` and ``system_log`` are where they
go; the rest is for who reads them. Never a call's trouble: what cannot be written is counted.
"""

from pbx_stir.call_log.file import CallLogFile
from pbx_stir.call_log.numbers import shortened

__all__ = ["CallLogFile", "shortened"]
