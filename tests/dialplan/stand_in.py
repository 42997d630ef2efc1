"""Runs dialplan/freeswitch's scripts with Debian's Lua against stand_in.lua."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
SCRIPTS = HERE.parents[1] / "dialplan/freeswitch"
LUA = shutil.which("lua5.2")
NOW_MS = 1_795_324_411_000
LISTENER = "0123456789abcdef"
BEAT = f"{LISTENER}:{NOW_MS // 1000 - 1}"
ON = {"stir_heartbeat": BEAT, "stir_in_carrier": "on", "stir_out_carrier": "on"}
PASSED = "|TN-Validation-Passed|verified||12125550100|13105552001|Acme Ltd|0a1b||||"
STORED = "stored||stored|A|12125550100|13105552001|Acme Ltd|0a1b|||"
CALL = {"uuid": "leg-1", "caller_id_number": "+12125550100", "destination_number": "13105552001"}


@dataclass
class Outcome:
    """What a run of a script left behind."""

    variables: dict[str, str] = field(default_factory=dict)
    globals: dict[str, str] = field(default_factory=dict)
    legs: dict[str, dict[str, str]] = field(default_factory=dict)
    events: list[dict[str, str]] = field(default_factory=list)
    logged: list[str] = field(default_factory=list)
    written: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    streamed: list[str] = field(default_factory=list)
    slept: int = 0

    def stir(self) -> dict[str, str]:
        """The variables of the contract, without the mark of where it came in and its heirs."""
        hidden = {"stir_came_in", "stir_came_in_id", "stir_first_id"}
        return {
            name.removeprefix("stir_"): value
            for name, value in self.variables.items()
            if name.startswith("stir_") and name not in hidden
        }


def lua(value: Any) -> str:
    """A value as Lua writes it."""
    if isinstance(value, dict):
        return "{" + "".join(f"[{lua(k)}]={lua(v)}," for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "{" + ",".join(lua(one) for one in value) + "}"
    if isinstance(value, str):
        return '"' + "".join(f"\\{octet:03}" for octet in value.encode()) + '"'
    return str(value).lower() if isinstance(value, bool) else str(value)


def run_script(folder: Path, script: str, argv: tuple[str, ...], **changed: Any) -> Outcome:
    """Run a script in a scenario, whose file goes into a folder."""
    scenario = {
        "argv": list(argv), "clock": NOW_MS, "tick": 20, "channel": CALL, "globals": ON,
        "legs": {}, "state": "CS_ROUTING", "matches": {}, **changed,
    }  # fmt: skip
    file = folder / "scenario.lua"
    file.write_text(f"return {lua(scenario)}\n")
    done = subprocess.run(
        [str(LUA), str(HERE / "stand_in.lua"), str(SCRIPTS / script), str(file)],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    return _read(done.stdout)


def _read(text: str) -> Outcome:
    outcome = Outcome()
    for line in text.splitlines():
        what, *words = line.split(" ")
        values = [bytes.fromhex(word).decode("utf-8", "replace") for word in words]
        match what:
            case "var":
                outcome.variables[values[0]] = values[1]
            case "global":
                outcome.globals[values[0]] = values[1]
            case "leg":
                outcome.legs.setdefault(values[0], {})[values[1]] = values[2]
            case "event":
                outcome.events.append({"Subclass": values[1]})
            case "header":
                outcome.events[-1][values[0]] = values[1]
            case "log":
                outcome.logged.append(values[1])
            case "set":
                outcome.written.append(values[0])
            case "streamed":
                outcome.streamed.append(values[0])
            case "regex":
                outcome.asked.append(values[0])
            case "slept":
                outcome.slept = int(values[0])
    return outcome
