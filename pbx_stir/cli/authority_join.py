"""``pbx-stir authority join``: take up a group's file: whom to trust, our certificate, the routes.

It writes the anchor, the revocation list, our certificate and, between two marks in the
configuration, our credential and the routes to the others; carried out again with a newer file it
replaces these. It also adds tables and keys that a configuration needs and this one has not. All
else in that file stays as it is, octet for octet, but for blank lines at its end. Our key is only
looked at.
"""

from __future__ import annotations

import argparse
import re
import time
import tomllib
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pbx_stir.cli.certificate_files import write
from pbx_stir.cli.files import octets_of
from pbx_stir.errors import ConfigurationError, MalformedCertificate, Refused, UsageError

if TYPE_CHECKING:
    from pbx_stir.certificates.group import Group, Member, Read

CONFIGURATION = "pbx-stir.toml"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a group is taken up: the folder of the configuration, and names of files in it."""

    folder: Path
    key: Path
    slug: str

    @property
    def anchor(self) -> Path:
        """The authority's certificate."""
        return self.folder / "anchors" / f"{self.slug}.pem"

    @property
    def certificate(self) -> Path:
        """Ours, beside its key."""
        end = "-certificate.pem" if self.key.suffix == ".pem" else ".pem"
        return self.key.with_name(self.key.stem + end)

    @property
    def revoked(self) -> Path:
        """Whom the authority has revoked."""
        return self.folder / "anchors" / f"{self.slug}.crl"

    @property
    def tls_ca(self) -> Path:
        """The CAs of the group's CPSs."""
        return self.folder / f"{self.slug}-tls.pem"

    def relative(self, path: Path) -> str:
        """A path as the configuration has it."""
        try:
            return str(path.relative_to(self.folder))
        except ValueError:
            return str(path.absolute())


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the action's options."""
    parser.add_argument("group", metavar="GROUP_FILE", help="what the group's operator gave you")
    parser.add_argument("folder", metavar="DIR", help="the folder of pbx-stir.toml")
    parser.add_argument(
        "--fingerprint",
        metavar="HEX",
        help="of the group's authority, learnt by another way than the file; needed once",
    )
    parser.add_argument("--key", metavar="FILE", help="of our request; else DIR/company.key")
    parser.add_argument("--x5u", metavar="URL", help="where you publish the certificate, if you do")
    parser.add_argument("--state-dir", metavar="DIR", help="for a configuration that is made new")
    parser.add_argument("--force", action="store_true", help="take up an older file, too")


def run(args: argparse.Namespace) -> int:
    """Take the file up. Raises ``UsageError``, ``ConfigurationError``."""
    from pbx_stir.certificates.group import parse_group
    from pbx_stir.checks.unit import unit_of

    try:
        read = parse_group(octets_of(args.group))
    except MalformedCertificate as error:
        raise UsageError(f"{args.group}: {error.message}") from error
    folder = Path(args.folder)
    key = Path(args.key) if args.key else folder / "company.key"
    place = Place(folder, key, _slug(read.group.name))
    _check_trust(args, read, place)
    member = _ours(read, place)
    configuration = (folder / CONFIGURATION).resolve()
    before = _before(args, configuration)
    _check_group(read.group, before, configuration)
    _check_age(args, read.group, before)
    outside = _outside(before, configuration)
    block = _block_of(args, read.group, member, place, outside)
    text = _completed(before, outside, _wanted(read.group, member, place))
    if _block().search(text):
        text = _block().sub(lambda _: block, text, count=1)
    else:
        text = f"{text.rstrip()}\n\n{block}".lstrip("\n")
    _write(read, member, place, configuration, text)
    others = ", ".join(one.name for one in read.group.member if one != member) or "nobody yet"
    print(f"{configuration}: calls to {others} will be signed")
    if "trunk" not in outside:
        print("to do: [[trunk]]: its name in the dialplan, country_code, how it writes numbers")
    for note in _notes(read.group, member, place, _outside(text, configuration)):
        print(f"to do: {note}")
    unit = unit_of(configuration)
    if unit is not None:
        print(f"to do: systemctl reload-or-restart {unit.name}")
    return 0


def _before(args: argparse.Namespace, path: Path) -> str:
    """The configuration as it is, or what a new one begins with."""
    if not path.exists():
        return f'state_dir = "{args.state_dir}"\n' if args.state_dir else ""
    try:
        return octets_of(str(path)).decode()
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path}: not TOML: {error}") from error


def _check_trust(args: argparse.Namespace, read: Read, place: Place) -> None:
    """Whose file is it? The authority that we know, or one whose fingerprint we were told."""
    from pbx_stir.certificates.group import fingerprint, has_fingerprint, pem_of

    if args.fingerprint is not None:
        if not has_fingerprint(read.authority, args.fingerprint):
            raise UsageError(
                f"the authority in this file is another one: {fingerprint(read.authority)}",
                hint="do not use the file; ask whom you have it from",
            )
    elif not place.anchor.exists() or place.anchor.read_text() != pem_of(read.authority):
        raise UsageError(
            f"the authority of this file is not known here: {fingerprint(read.authority)}",
            hint="have the operator read its fingerprint to you, over the telephone say, and give "
            "that as --fingerprint",
        )


def _check_group(group: Group, before: str, path: Path) -> None:
    """One configuration holds one group: its certificate and its routes would be lost."""
    found = re.search(r'(?m)^# group "([^"\n]*)": written by pbx-stir authority join', before)
    if found and found[1] != group.name:
        raise UsageError(
            f"{path} has joined {found[1]!r}, and this file is of {group.name!r}",
            hint="a configuration of its own for each group, with its own state_dir; or take the "
            "lines between '# group' and '# end of the group' out first",
        )


def _check_age(args: argparse.Namespace, group: Group, before: str) -> None:
    found = re.search(r"(?m)^# made = ([0-9]{1,16})$", before)
    if found and int(found[1]) > group.made and not args.force:
        raise UsageError("this file is older than the one before", hint="--force takes it up")


def _ours(read: Read, place: Place) -> Member:
    """Our own entry: its certificate is for our key, and holds now."""
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    from pbx_stir.certificates.group import member_of
    from pbx_stir.stir.certificate import Anchors, find_path

    try:
        key = load_pem_private_key(octets_of(str(place.key)), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise UsageError(f"{place.key} holds no unencrypted private key in PEM") from error
    found = None
    if isinstance(key, ec.EllipticCurvePrivateKey):
        found = member_of(read.group, key.public_key())
    if found is None:
        raise UsageError(
            f"{read.group.name} has no certificate for the key {place.key}",
            hint="send the request that was made with it to the operator",
        )
    leaf = x509.load_pem_x509_certificate(found.certificate.encode())
    try:
        find_path([leaf], Anchors.of([read.authority]), time.time())
    except (Refused, MalformedCertificate) as error:
        raise UsageError(f"our certificate in this file: {error.message}") from error
    return found


def _outside(text: str, path: Path) -> dict[str, Any]:
    """What stands in the configuration but for what an earlier join wrote."""
    try:
        return tomllib.loads(_block().sub("", text))
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{path}: not TOML: {error}") from error


def _wanted(group: Group, member: Member, place: Place) -> dict[str, dict[str, str]]:
    """Tables that the configuration needs, with the keys that these need, as TOML."""
    found = {
        "verification": {"trust": f'["{place.relative(place.anchor)}"]'},
        "publish": {"numbers": _list(member.numbers), "cps": _list(member.cps)},
        "[trunk]": {"name": '"carrier-1"', "numbers": _list(member.numbers)},
    }
    if group.crl:
        found["verification"]["crls"] = f'["{place.relative(place.revoked)}"]'
    if group.tls_ca:
        found["outgoing"] = {"tls_ca": f'"{place.relative(place.tls_ca)}"'}
    return found


def _completed(text: str, outside: dict[str, Any], wanted: dict[str, dict[str, str]]) -> str:
    """``text`` with what is missing of ``wanted``; what is there stays as it is."""
    appended = []
    for name, keys in wanted.items():
        known = outside.get(name.strip("[]"))
        if known is None:
            lines = [f"{key} = {value}" for key, value in keys.items()]
            if name == "[trunk]":
                lines.append('# country_code = "1"     # yours: how the trunk writes numbers')
            appended.append("\n".join([f"[{name}]", *lines]))
        elif isinstance(known, dict):
            lines = [f"{key} = {value}\n" for key, value in keys.items() if key not in known]
            text = _below(text, name, "".join(lines))
    block = _block().search(text)
    before, after = (text[: block.start()], text[block.start() :]) if block else (text, "")
    if not appended:
        return text
    return "\n\n".join([*filter(None, [before.rstrip()]), *appended]) + "\n\n" + after


def _below(text: str, table: str, lines: str) -> str:
    """``text`` with lines below a table's heading; as it was where that is written otherwise."""
    found = re.search(rf"^\[{table}\][ \t]*(?:#[^\n]*)?\r?\n", text, re.MULTILINE)
    return text if found is None else text[: found.end()] + lines + text[found.end() :]


def _block_of(
    args: argparse.Namespace, group: Group, member: Member, place: Place, outside: dict[str, Any]
) -> str:
    """What each join replaces: our credential, and the routes to the others."""
    from pbx_stir.certificates.group import prefixes

    x5u = args.x5u or f"https://{place.slug}.invalid/{place.certificate.name}"
    ours, key = place.relative(place.certificate), place.relative(place.key)
    credential = f'[[credential]]\ncertificate = "{ours}"\nkey = "{key}"\nx5u = "{x5u}"'
    known = [place.folder / one.get("key", "") for one in outside.get("credential", ())]
    tables = [] if place.folder / key in known else [credential]
    tables += [
        f'# {other.name}\n[[route]]\nprefix = "{prefix}"\ncps = {_list(other.cps)}'
        for other in group.member
        if other != member
        for prefix in prefixes(other.numbers)
    ]
    begin = f'# group "{group.name}": written by pbx-stir authority join, which replaces it'
    return "\n\n".join([f"{begin}\n# made = {group.made}", *tables, "# end of the group\n"])


def _notes(group: Group, member: Member, place: Place, outside: dict[str, Any]) -> list[str]:
    """What is left to do by hand, and what tables that were there already may lack."""
    notes = []
    ca = place.relative(place.tls_ca)
    section = outside.get("verification", {})
    files = {"trust": place.anchor} | ({"crls": place.revoked} if group.crl else {})
    for key, file in files.items():
        if "verification" in outside and not _names(place, section.get(key, ()), file):
            notes.append(f'[verification] {key} must name "{place.relative(file)}"')
    publish = outside.get("publish", {})
    for key, wanted in (("numbers", member.numbers), ("cps", member.cps)):
        if "publish" in outside and list(publish.get(key, ())) != list(wanted):
            notes.append(f"[publish] {key} = {_list(wanted)} is what the group knows")
    if group.tls_ca and "outgoing" in outside and outside["outgoing"].get("tls_ca") != ca:
        notes.append(f'[outgoing] tls_ca must have the certificates in "{ca}"')
    if not {"asterisk", "freeswitch"} & set(outside):
        notes.append("[[asterisk]] or [[freeswitch]]: how your PBX is reached")
    return notes


def _names(place: Place, patterns: Any, file: Path) -> bool:
    """Whether a name or a pattern in a list of the configuration is that of a file."""
    path = str(file.absolute())
    return any(fnmatch(path, str(place.folder.absolute() / str(one))) for one in patterns)


def _write(read: Read, member: Member, place: Place, path: Path, text: str) -> None:
    """Write all; the configuration last, and only where it can be read then."""
    from pbx_stir import config
    from pbx_stir.certificates.group import pem_of

    group = read.group
    try:
        place.anchor.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(f"cannot make {place.anchor.parent}: {error.strerror}") from error
    tried = path.with_name(f".{path.name}.tried")
    write(tried, text.encode(), 0o600)
    try:
        config.load(tried)
    finally:
        tried.unlink(missing_ok=True)
    write(place.anchor, pem_of(read.authority).encode(), 0o644)
    if group.crl:
        write(place.revoked, group.crl.encode(), 0o644)
    write(place.certificate, member.certificate.encode(), 0o644)
    if group.tls_ca:
        write(place.tls_ca, group.tls_ca.encode(), 0o644)
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o644
    write(path, text.encode(), mode)


def _block() -> re.Pattern[str]:
    return re.compile(
        r'^# group "[^"\n]*": written by pbx-stir authority join[^\n]*\n.*?^# end of the group\n',
        re.MULTILINE | re.DOTALL,
    )


def _slug(name: str) -> str:
    """A group's name as that of files."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "group"


def _list(items: tuple[str, ...]) -> str:
    return "[" + ", ".join(f'"{one}"' for one in items) + "]"
