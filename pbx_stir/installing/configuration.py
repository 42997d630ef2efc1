"""A configuration to start with, as TOML. Pure: wishes in, text out."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import takewhile
from typing import Final

from pbx_stir.installing.wishes import X5U_NOWHERE, Wishes

_CPS_HERE: Final = "http://127.0.0.1:8480"


@dataclass(frozen=True, slots=True)
class Pbx:
    """A PBX in the configuration: its table's name, and where its secret is."""

    table: str
    secret_key: str
    secret_file: str

    def section(self) -> str:
        """Its table."""
        return f'{self.table}\n{self.secret_key} = "{self.secret_file}"\n'


ASTERISK: Final = Pbx("[[asterisk]]", "secret_file", "/etc/pbx-stir/ami.secret")
FREESWITCH: Final = Pbx("[[freeswitch]]", "password_file", "/etc/pbx-stir/event-socket.password")


def starting_configuration(wishes: Wishes, pbx: Pbx) -> str:
    """``pbx-stir.toml`` with what is known; what is not is a comment that says what is wanted."""
    numbers = ", ".join(f'"{one}"' for one in wishes.numbers)
    parts = [
        "# pbx_stir's configuration. Look at it with: pbx-stir check\n",
        'state_dir = "/var/lib/pbx-stir"\n',
        pbx.section(),
        _credential(wishes),
        *(
            trunk_table(name, numbers, wishes.country_code)
            for name in wishes.trunks or ("carrier-1",)
        ),
        _verification(wishes),
        _directory(wishes, numbers),
        '[call_log]\nfile = "/var/log/pbx-stir/calls.jsonl"\n',
    ]
    return "\n".join(parts)


def cps_configuration(wishes: Wishes) -> str:
    """``cps.toml``: a call placement service on this machine, for itself alone.

    Without tokens, which nobody else could use up here: the first of them take some seconds.
    """
    listen = _CPS_HERE.removeprefix("http://")
    return "\n".join(
        [
            "# A call placement service that only this machine reaches. For others: leave tls and\n"
            "# tokens out, give it a certificate and a key, and listen on 0.0.0.0:8443.\n",
            'state_dir = "/var/lib/pbx-stir-cps"\n',
            f'[cps]\nlisten = "{listen}"\ntls = false\ntokens = false\n{_trust(wishes)}',
        ]
    )


def _credential(wishes: Wishes) -> str:
    x5u = f'x5u = "{wishes.x5u}"'
    if wishes.x5u == X5U_NOWHERE:
        x5u = f"{x5u}    # published nowhere: it travels sealed with each PASSporT"
    lines = [
        "[[credential]]",
        'certificate = "/etc/pbx-stir/company.pem"',
        'key = "/etc/pbx-stir/company.key"',
        x5u,
    ]
    if wishes.certificate is None:
        lines = ["# what calls are signed with, and where its certificate is published", *lines]
        lines = [lines[0], *(f"#{line}" for line in lines[1:])]
    return "\n".join(lines) + "\n"


def trunk_table(name: str, numbers: str, country_code: str) -> str:
    """One ``[[trunk]]``; ``numbers`` are as TOML has them, without brackets."""
    said = f"numbers = [{numbers}]" if numbers else 'numbers = []  # "+12125551200-+12125551299"'
    lines = ["[[trunk]]", f'name = "{name}"', f'country_code = "{country_code}"', said]
    return "\n".join(lines) + "\n"


def _trust(wishes: Wishes) -> str:
    if wishes.trust:
        return 'trust = ["/etc/pbx-stir/anchors/*.pem"]\n'
    return '#trust = ["/etc/pbx-stir/anchors/*.pem"]\n'


def _verification(wishes: Wishes) -> str:
    return f"[verification]\n{_trust(wishes)}"


def _directory(wishes: Wishes, numbers: str) -> str:
    """Where the CPSs of others and of ourselves are."""
    if not wishes.with_cps:
        return (
            "# where to store for the numbers that you call\n"
            "#[[route]]\n"
            '#prefix = "+1646"\n'
            '#cps = ["https://cps.partner.example:8443"]\n\n'
            "# your own numbers, and where others store for them\n"
            "#[publish]\n"
            f"#numbers = [{numbers}]\n"
            '#cps = ["https://cps.example.com:8443"]\n'
        )
    prefixes = dict.fromkeys(_prefix(one) for one in wishes.numbers)
    routes = [f'[[route]]\nprefix = "{one}"\ncps = ["{_CPS_HERE}"]\n' for one in prefixes]
    return "\n".join(
        [
            *routes,
            f'[publish]\nnumbers = [{numbers}]\ncps = ["{_CPS_HERE}"]\n',
            "# a CPS on this machine needs no TLS\n[outgoing]\nplain_loopback = true\n",
        ]
    )


def _prefix(numbers: str) -> str:
    """What all numbers of a range begin with."""
    first, _, last = numbers.rstrip("*").partition("-")
    pairs = zip(first, last or first, strict=False)
    return "".join(a for a, _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
