"""A listener that answers at once, for tests that freeze or kill it: HOST:PORT, $SECRET."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time

from pbx_stir.pbx.asterisk import AsteriskPbx, AsteriskSettings
from pbx_stir.services.call import Call


class _Answers:
    async def receive(self, call: Call, pbx: AsteriskPbx) -> None:
        verdict = ("STIR_VERSTAT", "TN-Validation-Passed")
        await pbx.answer(call, [verdict, ("STIR_REASON", "verified")], time.monotonic() + 1)

    async def ended(self, pbx: str, unique_id: str, answered: bool) -> None:
        pass


async def _main() -> None:
    host, _, port = sys.argv[1].partition(":")
    secret = os.environ["SECRET"]
    pbx = AsteriskPbx(AsteriskSettings("pbx", host, int(port), "pbx-stir", secret), _Answers())
    running = asyncio.create_task(pbx.run())
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await stop.wait()
    await pbx.stop()
    await running


asyncio.run(_main())
