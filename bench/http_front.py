"""Our signer and our verifier behind HTTP, for nothing but to be measured beside a peer's.

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

    async def sign(request: web.Request) -> web.Response:
        orig, dest = (await request.text()).split(",")
        token = passport.sign(
            orig=orig,
            dest=[dest],
            iat=int(time.time()),
            x5u=X5U,
            key=bench.key,
            attest="A",
            origid=str(uuid.uuid4()),
        )
        return web.Response(text=passport.identity_header(token))

    async def check(request: web.Request) -> web.Response:
        header, orig, dest = (await request.text()).rsplit("\n", 2)
        return web.Response(text=await bench.check(header, orig, dest))

    application = web.Application()
    application.router.add_post("/sign", sign)
    application.router.add_post("/check", check)
    runner = web.AppRunner(application, access_log=None)
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
