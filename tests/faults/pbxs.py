"""PBXs between which faults are made: Asterisk, and FreeSWITCH where one is installed.

A FreeSWITCH is not in Debian: PBX_STIR_FREESWITCH names the program ``freeswitch`` or the folder
that it was installed into, else it is sought in PATH. It must have mod_sofia, mod_lua,
mod_event_socket and mod_cdr_csv, as every stock build has.
"""

from __future__ import annotations

import csv
import os
import random
import secrets
import shutil
import signal
import socket
import subprocess
import time
from io import BufferedIOBase
from pathlib import Path
from typing import Final

from lab.asterisk import DIALPLAN, Instance
from lab.debian import LabError
from lab.stage import free_port, heard

SCRIPTS: Final = DIALPLAN.parent.parent / "freeswitch"
MODULES: Final = (
    *("mod_logfile", "mod_event_socket", "mod_sofia", "mod_commands", "mod_dptools"),
    *("mod_dialplan_xml", "mod_lua", "mod_cdr_csv"),
)
COLUMNS: Final = (
    *("caller_id_name", "src", "dst", "channel", "answer_epoch", "faults_began", "faults_ended"),
    *("stir_verstat", "stir_reason", "stir_id"),
)
START_SECONDS: Final = 60.0


_DIALPLAN: Final = r"""<section name="dialplan"><context name="public">
<extension name="began" continue="true"><condition>
<action application="set" data="faults_began=${strmicroepoch()}" inline="true"/>
</condition></extension>
<X-PRE-PROCESS cmd="include" data="inbound.xml"/>
<extension name="ended" continue="true"><condition>
<action application="set" data="faults_ended=${strmicroepoch()}" inline="true"/>
</condition></extension>
<extension name="desk"><condition field="${faults_phone}" expression="^([\d.:]+)$">
<action application="bridge" data="sofia/trunk/phone@$1"/></condition></extension>
<extension name="phone"><condition field="destination_number" expression="^\d+$">
<action application="answer"/><action application="sleep" data="500"/>
<action application="hangup"/></condition></extension>
</context></section>
<section name="directory"></section></document>
"""


class Asterisk(Instance):
    """An Asterisk that can be asked what a FreeSWITCH can be asked as well."""

    @property
    def heard(self) -> bool:
        """Whether it knows that its listener is there."""
        return heard(self)

    @property
    def idle(self) -> bool:
        """Whether it has no call."""
        return "0 active channels" in self.cli("core show channels")

    def table(self, host: str, port: int, folder: Path) -> str:
        """What the listener's configuration says of it; the secret is a file in ``folder``."""
        secret = _secret(folder / f"{self.name}.secret", self.ami_secret)
        return (
            f'\n[[asterisk]]\nname = "{self.name}"\nhost = "{host}"\nport = {port}\n'
            f'username = "{self.ami_user}"\nsecret_file = "{secret}"\n'
        )


def freeswitch() -> Path | None:
    """The program; None where there is none. Raises LabError: what is named is none."""
    named = os.environ.get("PBX_STIR_FREESWITCH")
    if not named:
        found = shutil.which("freeswitch")
        return Path(found).resolve() if found else None
    for path in (Path(named), Path(named) / "bin/freeswitch"):
        if path.is_file():
            return path.resolve()
    raise LabError(f"PBX_STIR_FREESWITCH: no freeswitch at {named}")


class FreeSwitch:
    """A FreeSWITCH that answers calls from a trunk, with the hook as inbound.xml has it.

    ``host`` is an address of its own; ``ami_port`` is its event socket's. While its global
    ``faults_phone`` is an address, a phone there is called instead.
    """

    def __init__(self, program: Path, directory: Path, name: str) -> None:
        self.name = name
        self.host = f"127.{random.randint(2, 250)}.{random.randint(1, 250)}.2"
        self.sip_port, self.ami_port = free_port(), free_port()
        self._program = program
        self._directory = directory.resolve()
        self._password = secrets.token_hex(16)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def heard(self) -> bool:
        """Whether it knows that its listener is there."""
        return ":" in self.cli("global_getvar stir_heartbeat")

    @property
    def idle(self) -> bool:
        """Whether it has no call."""
        return self.cli("show channels count").startswith("0 total")

    def table(self, host: str, port: int, folder: Path) -> str:
        """As that of ``Asterisk``."""
        secret = _secret(folder / f"{self.name}.secret", self._password)
        return (
            f'\n[[freeswitch]]\nname = "{self.name}"\nhost = "{host}"\nport = {port}\n'
            f'password_file = "{secret}"\n'
        )

    def start(self) -> None:
        """Write the configuration and start the process."""
        names = ("conf", "log", "db", "run", "temp", "scripts")
        options = {name: self._directory / name for name in names}
        for place in (*options.values(), self._directory / "cdr"):
            place.mkdir(parents=True, exist_ok=True)
        for script in SCRIPTS.glob("*.lua"):
            shutil.copy(script, options["scripts"])
        inbound = (SCRIPTS / "inbound.xml").read_text().replace("carrier-1", "carrier")
        (options["conf"] / "inbound.xml").write_text(inbound)
        (options["conf"] / "freeswitch.xml").write_text(self._configuration())
        prefix = self._program.parent.parent
        modules = [prefix / "lib/freeswitch/mod", prefix / "mod", Path("/usr/lib/freeswitch/mod")]
        options["mod"] = next((one for one in modules if one.is_dir()), modules[0])
        words = [word for option, path in options.items() for word in (f"-{option}", str(path))]
        libraries = os.environ.get("LD_LIBRARY_PATH", "")
        with (options["log"] / "said").open("ab") as said:
            self._process = subprocess.Popen(
                [str(self._program), "-nf", "-nonat", "-nocal", "-nc", *words],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, "LD_LIBRARY_PATH": f"{libraries}:{prefix / 'lib'}"},
            )

    def wait_ready(self) -> None:
        """Return once it takes calls. Raises LabError."""
        give_up_at = time.monotonic() + START_SECONDS
        while "is ready" not in self.cli("status") or "RUNNING" not in self.cli("sofia status"):
            if self._process is None or self._process.poll() is not None:
                raise LabError(f"freeswitch ended: {self._last_words()}")
            if time.monotonic() > give_up_at:
                raise LabError(f"freeswitch is not ready: {self._last_words()}")
            time.sleep(0.1)

    def stop(self, *, kill: bool = False) -> None:
        """End the process that ``start`` started (``kill``: at once)."""
        process, self._process = self._process, None
        if process is not None and process.poll() is None:
            process.send_signal(signal.SIGKILL if kill else signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)

    def cli(self, command: str) -> str:
        """What it says to a command of its API; nothing where it does not answer."""
        try:
            with socket.create_connection((self.host, self.ami_port), 5) as connection:
                stream = connection.makefile("rwb")
                _frame(stream)
                for line in (f"auth {self._password}", f"api {command}"):
                    stream.write(f"{line}\n\n".encode())
                    stream.flush()
                    said = _frame(stream)
                return said
        except (OSError, EOFError):
            return ""

    def cdr_rows(self) -> list[dict[str, str]]:
        """Its call detail records so far, with the names that Asterisk's have."""
        file = self._directory / "cdr/cdr-csv/Master.csv"
        if not file.exists():
            return []
        with file.open(newline="", errors="replace") as lines:
            rows = [dict(zip(COLUMNS, row, strict=False)) for row in csv.reader(lines)]
        for row in rows:
            row["clid"] = f'"{row["caller_id_name"]}" <{row["src"]}>'
            row["disposition"] = "NO ANSWER" if row["answer_epoch"] in ("", "0") else "ANSWERED"
            began, ended = row["faults_began"], row["faults_ended"]
            row["userfield"] = str((int(ended) - int(began)) // 1000) if began and ended else ""
            row.update(dict.fromkeys(("stir_status", "stir_out_reason", "stir_out_id"), ""))
        return rows

    def _last_words(self) -> str:
        path = self._directory / "log/said"
        return path.read_text(errors="replace")[-1500:] if path.exists() else ""

    def _configuration(self) -> str:
        end = "</configuration>\n"
        profile = _settings(
            "x",
            context="public",
            dialplan="XML",
            sip_ip=self.host,
            rtp_ip=self.host,
            sip_port=self.sip_port,
            auth_calls="false",
            manage_presence="false",
            inbound_codec_prefs="PCMU",
            rtp_timer_name="soft",
        ).removeprefix('<configuration name="x.conf">')
        loads = "".join(f'<load module="{one}"/>' for one in MODULES)
        names = {"src": "caller_id_number", "dst": "destination_number", "channel": "channel_name"}
        template = ",".join(f'"${{{names.get(one, one)}}}"' for one in COLUMNS)
        event_socket = _settings(
            "event_socket",
            nat_map="false",
            listen_ip=self.host,
            listen_port=self.ami_port,
            password=self._password,
        )
        log = self._directory / "log/freeswitch.log"
        return f"""<document type="freeswitch/xml">
<X-PRE-PROCESS cmd="set" data="stir_in_carrier=on"/>
<section name="configuration">
{_settings("switch", max_sessions=1000, sessions_per_second=500, loglevel="warning")}{end}
<configuration name="modules.conf"><modules>{loads}</modules>{end}
{_settings("logfile")}<profiles><profile name="default">
<settings><param name="logfile" value="{log}"/></settings>
<mappings><map name="all" value="warning,err,crit,alert"/></mappings>
</profile></profiles>{end}
{event_socket}{end}
{_settings("lua")}{end}
<configuration name="timezones.conf"><timezones/>{end}
<configuration name="acl.conf"><network-lists/>{end}
{_settings("cdr_csv", default_template="faults", legs="a", log_base=self._directory / "cdr")}
<templates><template name="faults">{template}
</template></templates>{end}
<configuration name="sofia.conf"><global_settings/><profiles>
<profile name="trunk">{profile}</profile></profiles>{end}
</section>
{_DIALPLAN}"""


def _settings(name: str, **values: object) -> str:
    """The beginning of a module's configuration."""
    lines = "".join(
        f'<param name="{key.replace("_", "-")}" value="{value}"/>' for key, value in values.items()
    )
    return f'<configuration name="{name}.conf"><settings>{lines}</settings>'


def _secret(path: Path, secret: str) -> str:
    path.touch(mode=0o600)
    path.write_text(secret)
    return path.name


def _frame(stream: BufferedIOBase) -> str:
    """The body of what an event socket sends next, or its reply."""
    reply, length = "", 0
    while (line := stream.readline()) != b"\n":
        if not line:
            raise EOFError
        name, _, value = line.decode(errors="replace").partition(":")
        if name == "Content-Length":
            length = int(value)
        elif name == "Reply-Text":
            reply = value.strip()
    body: bytes = stream.read(length)
    return body.decode(errors="replace").strip() or reply
