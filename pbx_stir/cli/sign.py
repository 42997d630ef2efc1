"""``pbx-stir sign``: one PASSporT for one call, as an Identity header value or bare."""

from __future__ import annotations

import argparse
import re
import time
import uuid
from typing import Final

from pbx_stir.cli.files import octets_of
from pbx_stir.errors import ConfigurationError, Malformed, UsageError

# as a configuration's credential.x5u is
_X5U: Final = re.compile(r"https?://[!-~]{1,2000}")
_UUID: Final = re.compile(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("--orig", required=True, metavar="NUMBER", help="the calling number")
    parser.add_argument("--dest", required=True, metavar="NUMBER", help="the called number")
    parser.add_argument("--key", required=True, metavar="FILE", help="P-256 private key, PEM")
    parser.add_argument(
        "--x5u", required=True, metavar="URL", help="where the certificate is published"
    )
    parser.add_argument(
        "--certificate",
        metavar="FILE",
        help="the certificate: the key must be its key, and orig one of its numbers",
    )
    parser.add_argument(
        "--attest", choices=("A", "B", "C"), help="make it shaken, attested so (RFC 8588)"
    )
    parser.add_argument("--origid", metavar="UUID", help="shaken: the origid, else a fresh one")
    parser.add_argument("--country-code", metavar="CC", help="numbers may be national ones of CC")
    parser.add_argument("--at", type=int, metavar="EPOCH", help="the iat, else now")
    parser.add_argument(
        "--passport", action="store_true", help="print the bare PASSporT, not an Identity header"
    )


def run(args: argparse.Namespace) -> int:
    """Print what was asked for. Raises UsageError for a file, number or key that will not do."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    from pbx_stir.cli.numbers import canonical
    from pbx_stir.stir import passport

    if args.origid and not args.attest:
        raise UsageError("--origid goes with --attest")
    if args.origid and not _UUID.fullmatch(args.origid):
        raise UsageError(f"--origid: {args.origid[:40]!r} is no UUID")
    if not _X5U.fullmatch(args.x5u):
        raise UsageError(f"--x5u: {args.x5u[:80]!r} is no http or https URL")
    orig = canonical("--orig", args.orig, args.country_code)
    dest = canonical("--dest", args.dest, args.country_code)
    key_pem = octets_of(args.key)
    try:
        key = serialization.load_pem_private_key(key_pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise UsageError(f"{args.key} holds no unencrypted private key in PEM form") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name != "secp256r1":
        raise UsageError(f"{args.key}: not a P-256 key", hint="ES256 signs with P-256 alone")
    if args.certificate:
        _check_certificate(args, octets_of(args.certificate), key_pem, orig)
    fresh = str(uuid.uuid4())
    try:
        token = passport.sign(
            orig=orig,
            dest=[dest],
            iat=args.at if args.at is not None else int(time.time()),
            x5u=args.x5u,
            key=key,
            attest=args.attest or "",
            origid=(args.origid or fresh) if args.attest else "",
            jti="" if args.attest else fresh,
        )
    except Malformed as error:
        raise UsageError(str(error)) from error
    print(token.token if args.passport else passport.identity_header(token))
    return 0


def _check_certificate(
    args: argparse.Namespace, certificate_pem: bytes, key_pem: bytes, orig: str
) -> None:
    from pbx_stir.stir import credential

    try:
        loaded = credential.load(certificate_pem, key_pem, x5u=args.x5u)
    except ConfigurationError as error:
        raise UsageError(f"{args.certificate}: {error}") from error
    if loaded.tn_auth_list.has_numbers and not loaded.covers(orig):
        raise UsageError(f"{args.certificate} does not cover {orig}")
