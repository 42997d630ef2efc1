"""``pbx-stir authority``: a certification authority in a folder, for a lab or a closed group.

It certifies whom it is told to, for the numbers it is told: the operator answers for them. What it
takes back is on its revocation list, which everybody must get to know of it.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING

from pbx_stir.cli import authority_join, authority_members
from pbx_stir.cli.authority_register import Authority
from pbx_stir.cli.certificate_files import check_free, pem, pem_key, write
from pbx_stir.errors import ConfigurationError, MalformedCertificate, MalformedNumber, UsageError

if TYPE_CHECKING:
    from pbx_stir.stir.tnauthlist import TnAuthList

ROOT_DAYS = 3650.0
LEAF_DAYS = 30.0

_EPILOG = "Revocation holds for those who have got the new list: give it to everybody, at once."


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
    request = actions.add_parser(
        "request", help="make a key, and a request to send to an authority", allow_abbrev=False
    )
    join = actions.add_parser(
        "join", help="take up the file of a group that has certified us", allow_abbrev=False
    )
    revoke = actions.add_parser(
        "revoke", help="take back somebody's certificates", allow_abbrev=False
    )
    revoke.add_argument("folder", metavar="DIR", help="the authority's folder")
    revoke.add_argument("--name", required=True, help="who was certified")
    for action, days in ((init, ROOT_DAYS), (issue, LEAF_DAYS)):
        action.add_argument("folder", metavar="DIR", help="the authority's folder")
        action.add_argument("--days", type=float, default=days, help=f"else {days:g}")
    init.add_argument("--name", required=True, help="the common name of the authority")
    issue.add_argument("--name", help="the common name of who is certified; else the request's")
    request.add_argument("--name", required=True, help="the name of your company")
    for action in (init, issue, request):
        action.add_argument("--force", action="store_true", help="overwrite what is there")
    for action in (issue, request):
        action.add_argument(
            "--numbers",
            action="append",
            default=[],
            metavar="NUMBERS",
            help='"+12125551234" or "+12125551200-+12125551299", several with commas or again',
        )
    issue.add_argument(
        "--spc", action="append", default=[], metavar="CODE", help="a service provider code"
    )
    issue.add_argument("--out", metavar="PREFIX", help="writes PREFIX.pem and PREFIX.key")
    authority_members.add_arguments(issue, request)
    authority_join.add_arguments(join)


def run(args: argparse.Namespace) -> int:
    """Carry the action out. Raises ``ConfigurationError`` and ``UsageError``."""
    if args.action == "init":
        return _init(args)
    if args.action == "request":
        return authority_members.request(args, tn_auth_list(args.numbers, []))
    if args.action == "join":
        return authority_join.run(args)
    if args.action == "revoke":
        return authority_members.revoke(args.name, _load(Path(args.folder)))
    if args.request:
        if args.spc or args.out:
            raise UsageError("a request is certified for numbers, into the group's file")
        listed = tn_auth_list(args.numbers, [])
        return authority_members.admit(args, listed, _load(Path(args.folder)))
    return _issue(args)


def _init(args: argparse.Namespace) -> int:
    from pbx_stir.certificates import issuing
    from pbx_stir.certificates.group import fingerprint

    authority_members.checked_name(args.name)
    folder = Path(args.folder)
    certificate_file, key_file = folder / "authority.pem", folder / "authority.key"
    check_free(args.force, certificate_file, key_file)
    certificate, key = issuing.new_root(args.name, time.time(), args.days)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(f"cannot make {folder}: {error.strerror}") from error
    write(key_file, pem_key(key), 0o600)
    write(certificate_file, pem(certificate), 0o644)
    Authority(folder, certificate, key).write_list({}, time.time())
    print(f"{certificate_file}: give this to those who are to trust the authority")
    print(f"{key_file}: keep this secret")
    print(f"fingerprint: {fingerprint(certificate)}")
    return 0


def _issue(args: argparse.Namespace) -> int:
    from pbx_stir.certificates import issuing

    if not args.name or not args.out:
        raise UsageError("who is certified?", hint="--request FILE, or --name and --out")
    authority_members.checked_name(args.name)
    folder = Path(args.folder)
    certificate_file, key_file = Path(args.out + ".pem"), Path(args.out + ".key")
    check_free(args.force, certificate_file, key_file)
    listed = tn_auth_list(args.numbers, args.spc)
    authority = _load(folder)
    key = issuing.new_key()
    leaf = issuing.issue_leaf(
        authority.certificate,
        authority.key,
        key.public_key(),
        args.name,
        listed,
        time.time(),
        args.days,
    )
    authority_members.say_others(folder, authority, args.name, listed)
    authority.note(leaf, args.name)
    write(key_file, pem_key(key), 0o600)
    write(certificate_file, pem(leaf), 0o644)
    print(f"{certificate_file}: valid until {leaf.not_valid_after_utc:%Y-%m-%d %H:%M} UTC")
    print(f"{key_file}: give this to {args.name} alone")
    return 0


def tn_auth_list(numbers: list[str], spcs: list[str]) -> TnAuthList:
    """What is to be certified. Raises ``UsageError``."""
    from pbx_stir.stir.number_set import NumberSet
    from pbx_stir.stir.tnauthlist import TnAuthList

    items = [item.strip() for given in numbers for item in given.split(",")]
    try:
        wanted = NumberSet.parse(items)
    except MalformedNumber as error:
        raise UsageError(f"--numbers: {error.message}", hint=error.hint) from error
    if wanted.prefixes:
        raise UsageError("--numbers: a certificate lists ranges, not prefixes")
    for item in items:
        plain = [one for one in item.split("-") if one and not one.startswith("+")]
        for one in plain:
            digits_of_it = "".join(filter(str.isdigit, one))
            print(f"note: {one} is taken as +{digits_of_it}: write the country code, with a +")
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


def _load(folder: Path) -> Authority:
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
    return Authority(folder, certificate, key)
