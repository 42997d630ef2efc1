"""``pbx-stir advertise``: write our own advertisement of CPSs (RFC 9888 section 4).

It says at which CPS others find the numbers of ``[publish]``. Signed, it is one line for each
``[[credential]]`` that has some of them, and whoever reads it believes each for what its
certificate lists; it ends after ``--days``, so write it anew before that, from a timer. Unsigned it
is the bare JSON object of the RFC.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from pbx_stir.cli.run import DEFAULT_CONFIG
from pbx_stir.errors import ConfigurationError, Malformed, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pbx_stir.config import Loaded
    from pbx_stir.stir.advertisement import Advertisement
    from pbx_stir.stir.credential import Credential

DEFAULT_DAYS = 7
MOST_DAYS = 31


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument(
        "--config", default=DEFAULT_CONFIG, metavar="FILE", help="the configuration"
    )
    parser.add_argument("--out", metavar="FILE", help="write there instead of standard output")
    parser.add_argument(
        "--unsigned", action="store_true", help="the bare object, for readers who configured that"
    )
    parser.add_argument(
        "--bare", action="store_true", help="name publish.bare_cps, where nothing is sealed"
    )
    parser.add_argument(
        "--codes",
        action="store_true",
        help='add the provider codes of our certificates ("0-"); without it numbers alone',
    )
    parser.add_argument(
        "--days", type=int, default=DEFAULT_DAYS, metavar="N", help="it ends then; 1 to 31, else 7"
    )


def run(args: argparse.Namespace) -> int:
    """Write it. Raises ``ConfigurationError`` where nothing can be advertised."""
    from pbx_stir import config

    if not 1 <= args.days <= MOST_DAYS:
        raise UsageError(f"{args.days} days", hint=f"1 to {MOST_DAYS}")
    loaded = config.load(Path(args.config))
    url = _cps(loaded, bare=args.bare)
    text = _unsigned(loaded, url, args) if args.unsigned else _signed(loaded, url, args)
    if args.out is None:
        sys.stdout.write(text)
    else:
        _replace(Path(args.out), text)
    return 0


def _cps(loaded: Loaded, *, bare: bool) -> str:
    """The first of the configured CPSs: an advertisement names one for each key."""
    section = loaded.values.publish
    key, urls = ("bare_cps", section.bare_cps) if bare else ("cps", section.cps)
    if not urls:
        raise loaded.wrong(f"publish.{key}", "names no CPS to advertise")
    return urls[0]


def _signed(loaded: Loaded, url: str, args: argparse.Namespace) -> str:
    """One token a credential, a line each."""
    from pbx_stir.stir.advertisement import sign_advertisement

    now = int(time.time())
    lines = []
    for credential, named in _named(loaded):
        codes = credential.tn_auth_list.spcs if args.codes else ()
        pairs = _advertisement(loaded, named, codes, url)
        try:
            # of one signer the highest serial counts, and the time grows by itself
            exp = now + args.days * 86_400
            lines.append(sign_advertisement(pairs, credential, iat=now, exp=exp, serial=now))
        except Malformed as error:
            raise loaded.wrong("publish", error.message, error.hint) from error
    return "".join(f"{line}\n" for line in lines)


def _unsigned(loaded: Loaded, url: str, args: argparse.Namespace) -> str:
    """All numbers in one object."""
    numbers: dict[str, None] = {}
    codes: dict[str, None] = {}
    for credential, named in _named(loaded):
        numbers.update(dict.fromkeys(named))
        codes.update(dict.fromkeys(credential.tn_auth_list.spcs if args.codes else ()))
    return _advertisement(loaded, numbers, codes, url).encode().decode("utf-8") + "\n"


def _named(loaded: Loaded) -> list[tuple[Credential, list[str]]]:
    """Which of our numbers each credential covers, as records name them."""
    from pbx_stir import configured
    from pbx_stir.directory.publisher import publications

    section = loaded.values.publish
    if not section.numbers:
        raise loaded.wrong("publish.numbers", "names no number to advertise")
    numbers = configured.number_set(loaded, "publish.numbers", section.numbers)
    credentials = configured.credentials(loaded)
    try:
        found = publications(credentials, numbers, section.cps or section.bare_cps)
    except ConfigurationError as error:
        raise loaded.wrong("publish", error.message, error.hint) from error
    # a record names few numbers, so that one credential may have several; not so here
    return [
        (one, named)
        for one in credentials
        if (named := [number for each in found if each.credential is one for number in each.named])
    ]


def _advertisement(
    loaded: Loaded, numbers: Iterable[str], codes: Iterable[str], url: str
) -> Advertisement:
    from pbx_stir.stir.advertisement import Advertisement, code_key, number_key

    pairs = {code_key(code): url for code in codes}
    for named in numbers:
        first, _, last = named.partition("-")
        pairs[number_key(first, last or first)] = url
    try:
        return Advertisement(pairs)
    except Malformed as error:
        raise loaded.wrong("publish", error.message, error.hint) from error


def _replace(path: Path, text: str) -> None:
    """Put a file in place at once: whoever serves it never serves half of it."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_text(text, encoding="utf-8")
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise UsageError(f"cannot write {path}: {error.strerror or error}") from error
