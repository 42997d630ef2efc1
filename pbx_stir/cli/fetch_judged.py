"""What ``pbx-stir fetch --orig`` says of what it opened: as the service would judge it.

By the anchors, the policy on provider's codes and the hosts for certificates of the configuration.
A PASSporT is valid whatever its attestation, and neither single use nor revocation is looked at.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pbx_stir.errors import Malformed

if TYPE_CHECKING:
    from pbx_stir.services.call import Rejection
    from pbx_stir.services.candidates import Numbers
    from pbx_stir.services.judgement import Judged
    from pbx_stir.stir.sealing import Opened

WORK_SECONDS: Final = 10.0


def judged(args: argparse.Namespace, opened: Sequence[Opened], dest: str) -> int:
    """Judge and print. Exit status 0 where one is valid for the call, else 1."""
    from pbx_stir.cli.numbers import canonical
    from pbx_stir.cli.verify_output import Verdict, print_verdict
    from pbx_stir.services.candidates import Numbers

    numbers = Numbers((canonical("--orig", args.orig, None),), (dest,))
    results = asyncio.run(_judge(args, opened, numbers))
    verdict = Verdict.of(results, numbers)
    print_verdict(verdict, as_json=False, stream=sys.stdout, brief=False)
    return 0 if verdict.valid else 1


async def _judge(
    args: argparse.Namespace, opened: Sequence[Opened], numbers: Numbers
) -> list[Judged | Rejection]:
    from pbx_stir import config, configured
    from pbx_stir.certificates.allowed import fetching
    from pbx_stir.services.call import Reason, Rejection
    from pbx_stir.services.candidates import Found, of_set
    from pbx_stir.services.judgement import Fetches, Judge, VerificationPolicy
    from pbx_stir.stir import passport

    loaded = config.load(Path(args.config))
    section = loaded.values.verification
    anchors = configured.anchors(loaded, "verification.trust", section.trust)
    hosts = None if section.x5u_hosts == "any" else frozenset(map(str.lower, section.x5u_hosts))
    tls_ca = None if section.x5u_tls_ca is None else loaded.resolve(section.x5u_tls_ca)
    source, close = fetching(section.x5u_allow, tls_ca, hosts)
    policy = VerificationPolicy(
        anchors.current, configured.spc_policy(loaded), frozenset({"A", "B", "C"})
    )
    judge = Judge(policy, source)
    found: list[Found] = []
    results: list[Judged | Rejection] = []
    for one in opened:
        try:
            found.append((passport.parse(one.passport), one.chain))
        except Malformed as error:
            results.append(Rejection("parse", Reason.MALFORMED, error.message))
    candidates, rejections = of_set(found, in_band=False, max_digits=numbers.max_digits)
    now, give_up_at = time.time(), time.monotonic() + WORK_SECONDS
    try:
        verdicts = [
            await judge.judge(one, numbers, now, give_up_at, Fetches()) for one in candidates
        ]
    finally:
        await close()
    return [*verdicts, *results, *rejections]
