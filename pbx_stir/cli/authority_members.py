"""``pbx-stir authority request``, ``issue --request`` and ``revoke``: members of a closed group.

A company makes its key and sends a request; the group's operator checks who has which numbers,
certifies, and gives everybody the group's file. The key never leaves its machine.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING

from pbx_stir.cli.certificate_files import check_free, open_to_group, pem_key, write
from pbx_stir.cli.files import octets_of
from pbx_stir.errors import ConfigurationError, MalformedCertificate, UrlRefused, UsageError

if TYPE_CHECKING:
    from cryptography import x509

    from pbx_stir.certificates.group import Group, Member
    from pbx_stir.certificates.requests import CertificateRequest
    from pbx_stir.cli.authority_register import Authority
    from pbx_stir.stir.tnauthlist import TnAuthList

GROUP_FILE = "group.toml"


def add_arguments(issue: argparse.ArgumentParser, request: argparse.ArgumentParser) -> None:
    """Declare what requests need."""
    request.add_argument(
        "--out", required=True, metavar="PREFIX", help="writes PREFIX.key and PREFIX.request"
    )
    issue.add_argument(
        "--request",
        metavar="FILE",
        help="certify the key of this request, for --numbers, and name its owner in the group's "
        "file, DIR/group.toml, which everybody gets",
    )
    issue.add_argument(
        "--cps",
        action="append",
        default=[],
        metavar="URL",
        help="where calls to the numbers are announced; else as before",
    )
    issue.add_argument(
        "--replace",
        action="store_true",
        help="with --request: in the place of the member of that name, who has another key",
    )
    issue.add_argument(
        "--tls-ca", metavar="PEM", help="CAs of the group's CPSs, where they are no public ones"
    )


def request(args: argparse.Namespace, asked: TnAuthList) -> int:
    """Make a key and a request. Raises ``UsageError``, ``ConfigurationError``."""
    from pbx_stir.certificates import issuing
    from pbx_stir.certificates.requests import new_request

    checked_name(args.name)
    key_file, request_file = Path(args.out + ".key"), Path(args.out + ".request")
    check_free(args.force, key_file, request_file)
    key = issuing.new_key()
    text = new_request(args.name, asked, key)
    try:
        key_file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(f"cannot make {key_file.parent}: {error.strerror}") from error
    write(key_file, pem_key(key), 0o600)
    write(request_file, text, 0o644)
    print(f"{request_file}: send this to the group's operator; it holds no secret")
    group = open_to_group(key_file)
    print(f"{key_file}: stays here" + (f"; the group {group} may read it" if group else ""))
    return 0


def admit(
    args: argparse.Namespace,
    listed: TnAuthList,
    authority: Authority,
) -> int:
    """Certify a request and write the group's file. Raises ``UsageError``."""
    from msgspec.structs import replace

    from pbx_stir.certificates import group as groups
    from pbx_stir.certificates import issuing
    from pbx_stir.certificates.requests import parse_request

    now = time.time()
    try:
        asked = parse_request(octets_of(args.request))
    except MalformedCertificate as error:
        raise UsageError(f"{args.request}: {error.message}") from error
    file = Path(args.folder) / GROUP_FILE
    group = _group(file, authority.certificate)
    if args.tls_ca:
        group = _with_tls_ca(group, octets_of(args.tls_ca).decode("ascii", "replace"))
    name = checked_name(args.name or asked.name)
    before = [one for one in group.member if _is_replaced(one, name, asked)]
    root, key = authority.certificate, authority.key
    leaf = issuing.issue_leaf(root, key, asked.public_key, name, listed, now, args.days)
    member = groups.Member(
        name, groups.numbers_of(listed), _cps(args, group, asked), groups.pem_of(leaf)
    )
    try:
        changed = groups.with_member(group, member, int(now), instead=args.replace)
        text = groups.format_group(replace(changed, crl=authority.revocation_list()), key)
    except (MalformedCertificate, UrlRefused) as error:
        raise UsageError(error.message, hint=error.hint) from error
    authority.note(leaf, name)
    write(file, text, 0o644)
    _say(file, member, asked, leaf, root)
    for one in before:
        _say_replaced(one, member)
    return 0


def say_others(folder: Path, authority: Authority, name: str, listed: TnAuthList) -> None:
    """Say which members of the group have numbers that somebody else is certified for now."""
    from pbx_stir.certificates import group as groups
    from pbx_stir.stir.number_set import NumberSet

    wanted = NumberSet.parse(groups.numbers_of(listed)).ranges
    for one in _group(folder / GROUP_FILE, authority.certificate).member:
        theirs = NumberSet.parse(one.numbers).ranges
        shared = any(
            first <= end and begin <= last
            for digits, row in wanted.items()
            for first, last in row
            for begin, end in theirs.get(digits, ())
        )
        if shared and one.name != name:
            print(f"note: {one.name} has some of these numbers: {', '.join(one.numbers)}")


def checked_name(name: str) -> str:
    """A name that messages, files and lists show as it is. Raises ``UsageError``."""
    from pbx_stir.certificates.group import is_name

    if not is_name(name):
        raise UsageError(f"not a name: {name!r}", hint="up to 64 characters that are seen")
    return name


def _is_replaced(one: Member, name: str, asked: CertificateRequest) -> bool:
    """Whether a member is in the way of who asks: by its key, or by its name."""
    from pbx_stir.certificates.group import key_of

    return one.name == name or key_of(one) == asked.public_key


def _say_replaced(before: Member, member: Member) -> None:
    """What stays good of whom a new certificate has taken the place of."""
    from pbx_stir.certificates.group import key_fingerprint, key_of
    from pbx_stir.stir.number_set import NumberSet

    fingerprint = key_fingerprint(before)
    if before.name != member.name or key_of(before) != key_of(member):
        print(f"note: this takes the place of {before.name}, key {fingerprint}")
    left = NumberSet.parse(before.numbers).ranges
    now = NumberSet.parse(member.numbers).ranges
    if left != now or key_of(before) != key_of(member):
        print(
            f"note: what was issued for {', '.join(before.numbers)} with key {fingerprint} stays "
            "good until its end: pbx-stir authority revoke takes it back"
        )


def revoke(name: str, authority: Authority) -> int:
    """Take back all that was issued to a name, or for a key that the name has had, and name it no
    more in the group's file. Exit status 1 where there was nothing to take back."""
    from msgspec.structs import replace

    from pbx_stir.certificates import group as groups

    now = time.time()
    file = authority.folder / GROUP_FILE
    group = _group(file, authority.certificate)
    members = [one for one in group.member if one.name == name]
    found = authority.revoke(name, now, [groups.key_fingerprint(one) for one in members])
    if not found and not members:
        raise UsageError(f"nothing that is still good was issued to {name!r}")
    print(f"{authority.revoked}: {len(found)} certificates of {name} are revoked")
    for other in sorted(set(found) - {name}):
        print(f"among them, for the same key: {other}")
    if file.exists():
        left = groups.without_member(group, name, int(now))
        text = groups.format_group(replace(left, crl=authority.revocation_list()), authority.key)
        write(file, text, 0o644)
        print(f"{file}: give this to every member, at once")
    return 0 if found else 1


def _say(
    file: Path,
    member: object,
    asked: CertificateRequest,
    leaf: x509.Certificate,
    authority: x509.Certificate,
) -> None:
    from pbx_stir.certificates import group as groups

    assert isinstance(member, groups.Member)
    end = f"{leaf.not_valid_after_utc:%Y-%m-%d %H:%M} UTC"
    print(f"{member.name}: {', '.join(member.numbers)} at {', '.join(member.cps)}, until {end}")
    wanted = groups.numbers_of(asked.asked)
    if set(wanted) != set(member.numbers):
        print(f"note: asked for were {', '.join(wanted)}")
    print(f"{file}: give this to every member, now and whenever it changes")
    print(f"fingerprint: {groups.fingerprint(authority)}")


def _group(file: Path, authority: x509.Certificate) -> Group:
    """The group as it is, or a new one. Raises ``UsageError`` where it is another authority's."""
    from pbx_stir.certificates import group as groups
    from pbx_stir.stir.profile import name_of

    if not file.exists():
        return groups.Group(name=name_of(authority), made=0, authority=groups.pem_of(authority))
    try:
        read = groups.parse_group(octets_of(str(file)))
    except MalformedCertificate as error:
        raise UsageError(f"{file}: {error.message}") from error
    if read.authority != authority:
        raise UsageError(f"{file} is another authority's", hint="move it away to begin anew")
    return read.group


def _with_tls_ca(group: Group, pem: str) -> Group:
    from msgspec.structs import replace

    known = group.tls_ca
    return group if pem in known else replace(group, tls_ca=known + pem)


def _cps(args: argparse.Namespace, group: Group, asked: CertificateRequest) -> tuple[str, ...]:
    """What is said now, else what this member had, else what the first other one has."""
    from pbx_stir.certificates import group as groups

    known = groups.member_of(group, asked.public_key)
    found = (
        tuple(args.cps)
        or (known.cps if known else ())
        or next((one.cps for one in group.member), ())
    )
    if not found:
        raise UsageError(
            "at which CPS are calls to these numbers announced?",
            hint="--cps https://cps.example.com, the address of whoever runs one for the group",
        )
    return found
