"""Our signer and our verifier behind HTTP, for nothing but to be measured beside a peer's.

The product verifies in its daemon and has no such service; the server is the one that its CPS has,
aiohttp's without an application, on uvloop. ``/nothing`` is answered without any work: what HTTP
takes by itself, the client's part included.

``python -m bench.http_front FOLDER``: prints its port, serves until it is ended. FOLDER holds
``company.pem``, ``company.key``, ``anchor.pem``.
"""

from __future__ import annotations

import asyncio
import sys
import time
import uuid
from pathlib import Path

from aiohttp import web

from bench.tokens import X5U, Bench
from pbx_stir.stir import passport


async def serve(folder: Path) -> None:
    """Listen on a free port of loopback, and print it."""
    bench = Bench.of(folder)

    async def sign(asked: str) -> str:
        orig, dest = asked.split(",")
        token = passport.sign(
            orig=orig,
            dest=[dest],
            iat=int(time.time()),
            x5u=X5U,
            key=bench.key,
            attest="A",
            origid=str(uuid.uuid4()),
        )
        return passport.identity_header(token)

    async def check(asked: str) -> str:
        header, orig, dest = asked.rsplit("\n", 2)
        return await bench.check(header, orig, dest)

    async def nothing(asked: str) -> str:
        return asked[:8]

    answers = {"/sign": sign, "/check": check, "/nothing": nothing}

    async def answer(request: web.BaseRequest) -> web.Response:
        return web.Response(text=await answers[request.path](await request.text()))

    runner = web.ServerRunner(web.Server(answer, access_log=None))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


def main() -> None:
    """Serve, on uvloop where it is installed as the daemon would."""
    work = serve(Path(sys.argv[1]))
    try:
        import uvloop
    except ImportError:
        asyncio.run(work)
    else:
        uvloop.run(work)


if __name__ == "__main__":
    main()
