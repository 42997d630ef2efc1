"""``pbx-stir verify``: judges tokens for one call, each by itself.

A token is valid whatever its attestation, and how often it was used is not asked. Exit status 0 if
one of them is valid for the call, 1 if none is, 2 for wrong use or a file that cannot be read.
"""

from __future__ import annotations

import argparse
import asyncio
import glob
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from pbx_stir.cli.files import octets_of
from pbx_stir.errors import Malformed, MalformedNumber, UsageError

if TYPE_CHECKING:
    from pbx_stir.certificates.revocation import RevocationWatch
    from pbx_stir.cli.verify_output import Finding
    from pbx_stir.services.call import Rejection
    from pbx_stir.services.candidates import Candidate, Numbers
    from pbx_stir.services.judgement import CertificateSource
    from pbx_stir.stir.certificate import Anchors

MOST_TOKENS: Final = 64
WORK_SECONDS: Final = 10.0
# a certificate is there within 3 s or not at all, the start of the command among them
FETCH_SECONDS: Final = 2.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument(
        "--identity-file",
        required=True,
        metavar="FILE",
        help='Identity header values or bare PASSporTs, one a line; "-" is standard input',
    )
    parser.add_argument("--orig", required=True, metavar="NUMBER", help="the calling number")
    parser.add_argument("--dest", required=True, metavar="NUMBER", help="the called number")
    parser.add_argument("--trust", required=True, metavar="PEM", help="the trust anchors")
    parser.add_argument(
        "--certificates",
        metavar="MAP.json",
        help="x5u URLs and the PEM files to take for them; then nothing is fetched",
    )
    parser.add_argument(
        "--x5u-allow",
        action="append",
        default=[],
        metavar="HOST:PORT",
        help="fetch from this host and port whatever its address",
    )
    parser.add_argument("--tls-ca", metavar="PEM", help="CAs of the --x5u-allow servers")
    parser.add_argument(
        "--crl",
        action="append",
        default=[],
        metavar="FILE",
        help="a revocation list, DER or PEM; repeatable",
    )
    parser.add_argument(
        "--crl-signer",
        action="append",
        default=[],
        metavar="PEM",
        help="who signs the lists, where neither issuer nor anchor does",
    )
    parser.add_argument(
        "--revocation",
        choices=("off", "soft", "hard"),
        default="soft",
        help="soft: refuse what is known to be revoked (default); hard: also what is unknown",
    )
    parser.add_argument("--country-code", metavar="CC", help="numbers may be national ones of CC")
    parser.add_argument("--at", type=_moment, metavar="EPOCH", help="judge as at this time")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--explain", action="store_true", help="say step by step what was checked")


def _moment(text: str) -> float:
    try:
        moment = float(text)
    except ValueError:
        moment = -1.0
    # "nan" would be neither too old nor too new for any check
    if not 0 <= moment < 1 << 53:
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is no time in seconds since 1970")
    return moment


def run(args: argparse.Namespace) -> int:
    """Judge and print. Raises UsageError as the module says."""
    from pbx_stir.cli.verify_output import Finding, Verdict, print_steps, print_verdict
    from pbx_stir.services.call import Reason, Rejection
    from pbx_stir.stir.number import is_anonymous

    lines = _lines(args.identity_file)
    withheld = is_anonymous(args.orig)
    numbers = _numbers(args, withheld)
    anchors = _anchors(args.trust)
    judged = [Finding("the call", Rejection("orig", Reason.ANONYMOUS_CALLER))]
    if not withheld:
        judged = asyncio.run(_judge(args, lines, numbers, anchors))
    verdict = Verdict.of([one.result for one in judged], numbers)
    print_verdict(verdict, as_json=args.json, stream=sys.stdout, brief=args.explain)
    if args.explain and not args.json:
        print_steps(judged, sys.stdout)
    return 0 if verdict.valid else 1


def _lines(name: str) -> list[str]:
    # what is longer than that is no token, whatever comes after
    octets = octets_of(name, cut=True)
    # a header may be folded (RFC 8224): a line that begins with a blank continues the one before
    text = octets.decode("utf-8", "replace").replace("\r\n", "\n")
    unfolded = text.replace("\n ", " ").replace("\n\t", " ")
    lines = [line.strip(" \t") for line in unfolded.split("\n")]
    return [line for line in lines if line]


def _numbers(args: argparse.Namespace, withheld: bool) -> Numbers:
    from pbx_stir.cli.numbers import rules
    from pbx_stir.services.candidates import Numbers
    from pbx_stir.stir import number
    from pbx_stir.stir.sip_uri import sip_uri

    by = rules(args.country_code)
    try:
        calling = ("",) if withheld else number.candidates(args.orig, by)
    except MalformedNumber as error:
        raise UsageError(f"--orig: {error}") from error
    uri = sip_uri(args.dest)
    if uri:
        return Numbers(calling, (), uri)
    try:
        return Numbers(calling, number.candidates(args.dest, by))
    except MalformedNumber as error:
        raise UsageError(f"--dest: {error}") from error


def _anchors(name: str) -> Anchors:
    from pbx_stir.certificates import anchors
    from pbx_stir.errors import ConfigurationError

    octets_of(name)
    try:
        # whom nobody should trust is not trusted: a verdict on the token, not on the file
        return anchors.load([glob.escape(name)], leave_out_others=True)
    except ConfigurationError as error:
        raise UsageError(f"--trust: {error}") from error


async def _judge(
    args: argparse.Namespace, lines: Sequence[str], numbers: Numbers, anchors: Anchors
) -> list[Finding]:
    from pbx_stir.cli.verify_output import Finding, way
    from pbx_stir.services.judgement import Fetches, Judge, VerificationPolicy

    source, close = _source(args)
    policy = VerificationPolicy(lambda: anchors, passed_attest=frozenset({"A", "B", "C"}))
    revocation, close_revocation = _revocation(args, lambda: anchors)
    judge = Judge(policy, source, revocation)
    now = args.at if args.at is not None else time.time()
    give_up_at = time.monotonic() + WORK_SECONDS
    candidates, rejections = _candidates(lines, numbers)
    fetches = Fetches(MOST_TOKENS)

    async def judged() -> list[Finding]:
        return [
            Finding(
                _named(one),
                await judge.judge(one, numbers, now, give_up_at, fetches),
                way(one.diverted),
            )
            for one in candidates
        ]

    try:
        results = await judged()
        # a command may wait for what a call must not wait for
        if await revocation.settle(give_up_at):
            results = await judged()
        return [*(Finding("a line of the file", one) for one in rejections), *results]
    finally:
        await close()
        await close_revocation()


def _named(candidate: Candidate) -> str:
    """A token in a few words: what it says of which call."""
    token = candidate.passport
    dest = ", ".join([*token.dest, *token.dest_uri])
    said = (
        f"{token.ppt or 'base'} PASSporT, {token.orig or token.orig_uri} to {dest}, iat {token.iat}"
    )
    if candidate.diverted is not None:
        return f"{said}, after {len(candidate.diverted.all) - 1} other PASSporTs"
    return said


def _candidates(lines: Sequence[str], numbers: Numbers) -> tuple[list[Candidate], list[Rejection]]:
    """All lines of a file are one call's, as Identity headers side by side are."""
    from pbx_stir.services.call import Reason, Rejection
    from pbx_stir.services.candidates import Found, of_set
    from pbx_stir.stir import passport

    found: list[Found] = []
    broken: list[Rejection] = []
    for line in lines[:MOST_TOKENS]:
        try:
            read = passport.parse_identity if ";" in line else passport.parse
            found.append((read(line, max_digits=numbers.max_digits), ()))
        except Malformed as error:
            broken.append(Rejection("parse", Reason.MALFORMED, error.message))
    if len(lines) > MOST_TOKENS:
        detail = f"only the first {MOST_TOKENS} of {len(lines)} lines are looked at"
        broken.append(Rejection("judge", Reason.OVERLOADED, detail))
    candidates, rejections = of_set(found, in_band=True, max_digits=numbers.max_digits)
    return candidates, [*broken, *rejections]


def _revocation(
    args: argparse.Namespace, anchors: Callable[[], Anchors]
) -> tuple[RevocationWatch, Callable[[], Awaitable[None]]]:
    """What is revoked, by files and, where certificates are fetched, by what they name."""
    from pbx_stir.certificates.watching import watching
    from pbx_stir.errors import ConfigurationError

    try:
        return watching(
            anchors=anchors,
            policy=args.revocation,
            crls=[glob.escape(name) for name in args.crl],
            signers=[glob.escape(name) for name in args.crl_signer],
            fetch=not args.certificates,
            allow=args.x5u_allow,
            tls_ca=args.tls_ca,
        )
    except ConfigurationError as error:
        raise UsageError(f"--crl: {error.message}", hint=error.hint) from error


def _source(args: argparse.Namespace) -> tuple[CertificateSource, Any]:
    """Where certificates come from, and how to close it."""
    from pbx_stir.certificates.mapped import MappedCertificates

    if args.certificates:
        if args.x5u_allow or args.tls_ca:
            raise UsageError("with --certificates nothing is fetched: leave out --x5u-allow")
        mapped = MappedCertificates.load(args.certificates)
        return mapped, mapped.close
    from pbx_stir.certificates.allowed import fetching

    return fetching(args.x5u_allow, args.tls_ca, hosts=None, seconds=FETCH_SECONDS)
