"""``pbx-stir authority``: a certification authority in a folder, for a lab or a closed group.

It certifies whom it is told to, for the numbers it is told: the operator answers for them. What it
issued cannot be revoked yet; certificates are for days, and are issued again.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from pbx_stir.errors import ConfigurationError, MalformedCertificate, MalformedNumber, UsageError

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec

    from pbx_stir.stir.tnauthlist import TnAuthList

ROOT_DAYS = 3650.0
LEAF_DAYS = 30.0

_EPILOG = "Revocation comes with certificate revocation lists; until then issue for few days."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.epilog = _EPILOG
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    init = actions.add_parser(
        "init", help="make the authority's certificate and key", allow_abbrev=False
    )
    issue = actions.add_parser(
        "issue", help="certify somebody for numbers or a provider code", allow_abbrev=False
    )
    for action, days, whose in (
        (init, ROOT_DAYS, "the authority"),
        (issue, LEAF_DAYS, "who is certified"),
    ):
        action.add_argument("folder", metavar="DIR", help="the authority's folder")
        action.add_argument("--name", required=True, help=f"the common name of {whose}")
        action.add_argument("--days", type=float, default=days, help=f"else {days:g}")
        action.add_argument("--force", action="store_true", help="overwrite what is there")
    issue.add_argument(
        "--numbers",
        action="append",
        default=[],
        metavar="NUMBERS",
        help='"+12125551234" or "+12125551200-+12125551299", several with commas or again',
    )
    issue.add_argument(
        "--spc", action="append", default=[], metavar="CODE", help="a service provider code"
    )
    issue.add_argument(
        "--out", required=True, metavar="PREFIX", help="writes PREFIX.pem and PREFIX.key"
    )


def run(args: argparse.Namespace) -> int:
    """Make or issue. Raises ``ConfigurationError`` and ``UsageError``."""
    return _init(args) if args.action == "init" else _issue(args)


def _init(args: argparse.Namespace) -> int:
    from pbx_stir.certificates import issuing

    folder = Path(args.folder)
    certificate_file, key_file = folder / "authority.pem", folder / "authority.key"
    _check_free(args.force, certificate_file, key_file)
    certificate, key = issuing.new_root(args.name, time.time(), args.days)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(f"cannot make {folder}: {error.strerror}") from error
    _write(key_file, _pem_key(key), 0o600)
    _write(certificate_file, _pem(certificate), 0o644)
    print(f"{certificate_file}: give this to those who are to trust the authority")
    print(f"{key_file}: keep this secret")
    return 0


def _issue(args: argparse.Namespace) -> int:
    from pbx_stir.certificates import issuing

    folder = Path(args.folder)
    certificate_file, key_file = Path(args.out + ".pem"), Path(args.out + ".key")
    _check_free(args.force, certificate_file, key_file)
    listed = _tn_auth_list(args.numbers, args.spc)
    root, root_key = _load(folder)
    key = issuing.new_key()
    leaf = issuing.issue_leaf(
        root, root_key, key.public_key(), args.name, listed, time.time(), args.days
    )
    _write(key_file, _pem_key(key), 0o600)
    _write(certificate_file, _pem(leaf), 0o644)
    print(f"{certificate_file}: valid until {leaf.not_valid_after_utc:%Y-%m-%d %H:%M} UTC")
    print(f"{key_file}: give this to {args.name} alone")
    return 0


def _tn_auth_list(numbers: list[str], spcs: list[str]) -> TnAuthList:
    """What is to be certified."""
    from pbx_stir.stir.number_set import NumberSet
    from pbx_stir.stir.tnauthlist import TnAuthList

    items = [item.strip() for given in numbers for item in given.split(",")]
    try:
        wanted = NumberSet.parse(items)
    except MalformedNumber as error:
        raise UsageError(f"--numbers: {error.message}", hint=error.hint) from error
    if wanted.prefixes:
        raise UsageError("--numbers: a certificate lists ranges, not prefixes")
    spans = [
        (f"{first:0{digits}d}", last - first + 1)
        for digits, row in sorted(wanted.ranges.items())
        for first, last in row
    ]
    if not spans and not spcs:
        raise UsageError("nothing to certify", hint="give --numbers or --spc")
    try:
        return TnAuthList(
            spcs=tuple(spcs),
            ranges=tuple(span for span in spans if span[1] > 1),
            numbers=tuple(start for start, count in spans if count == 1),
        )
    except MalformedCertificate as error:
        raise UsageError(error.message) from error


def _load(folder: Path) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """The authority's certificate and key."""
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    try:
        certificate = x509.load_pem_x509_certificate((folder / "authority.pem").read_bytes())
        key = serialization.load_pem_private_key(
            (folder / "authority.key").read_bytes(), password=None
        )
    except OSError as error:
        raise UsageError(
            f"cannot read {error.filename}: {error.strerror}",
            hint=f"pbx-stir authority init {folder} --name NAME makes an authority",
        ) from error
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise UsageError(f"{folder} holds no authority: {error}") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise UsageError(f"{folder}/authority.key is not an EC key")
    if key.public_key() != certificate.public_key():
        raise UsageError(f"{folder}: authority.key is not the key of authority.pem")
    return certificate, key


def _check_free(force: bool, *paths: Path) -> None:
    for path in paths:
        if path.exists() and not force:
            raise UsageError(f"{path} is there already", hint="--force overwrites it")


def _write(path: Path, octets: bytes, mode: int) -> None:
    """Write a new file, never through a link and never readable by others for a moment."""
    try:
        path.unlink(missing_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        with open(os.open(path, flags, mode), "wb") as file:
            file.write(octets)
    except OSError as error:
        raise ConfigurationError(f"cannot write {path}: {error.strerror}") from error


def _pem(certificate: x509.Certificate) -> bytes:
    from cryptography.hazmat.primitives import serialization

    return certificate.public_bytes(serialization.Encoding.PEM)


def _pem_key(key: ec.EllipticCurvePrivateKey) -> bytes:
    from cryptography.hazmat.primitives import serialization

    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
