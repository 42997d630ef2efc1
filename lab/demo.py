"""The demo: genuine and false calls between real PBXs, and what their CDRs say of them.

Each row makes its calls, reads verdict, reason and milliseconds from the call detail records of
the PBXs, and prints them beside what was expected. Exit status 0 only if all agree.
"""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from lab.asterisk import Instance, LabError
from lab.networks import Networks, NetworksDemo
from lab.processes import pbx_stir
from lab.stage import Stage, software
from lab.table import COLUMNS, Line, play

Row = dict[str, str]


class Demo:
    """The scenes. Each call has a caller ID or a called number that no other scene uses."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        a, b, m = stage.a, stage.b, stage.m
        self.scenes: tuple[Callable[[], Iterator[Line]], ...] = (
            self.genuine,
            self.spoofed,
            self.replayed,
            self.contested,
            self.moved,
            self.forwarded,
            self.without_cps,
            self.without_listener,
        )
        self._main, self._desk, self._forwarding = a.number(0), b.number(0), a.number(90)
        self._numbers = {"a": a, "b": b, "m": m}

    def genuine(self) -> Iterator[Line]:
        """A calls B."""
        self._office(self.stage.pbx_a, f"{self._desk}*{self._main}")
        yield self._out("genuine", self._main, ("stored", "stored"))
        row = self._b(self._main, self._desk)
        yield self._in("genuine", row, "TN-Validation-Passed", "verified", "rings [V]")

    def spoofed(self) -> Iterator[Line]:
        """A stranger calls B with a number of A, who has not called."""
        orig, dest = self.stage.a.number(10), self.stage.b.number(1)
        self._stranger(f"{dest}*{orig}")
        row = self._b(orig, dest)
        yield self._in("spoofed", row, "No-TN-Validation", "no-passport", "screened")

    def replayed(self) -> Iterator[Line]:
        """A calls B, who answers; at once a stranger calls B with A's number."""
        orig, dest = self.stage.a.number(20), self.stage.b.number(2)
        self._office(self.stage.pbx_a, f"{dest}*{orig}")
        _wait(lambda: "Up" in self.stage.pbx_b.cli("core show channels concise"), "answered")
        self._stranger(f"{dest}*{orig}")
        first, second = self._two(orig, dest)
        yield self._in("genuine, answered", first, "TN-Validation-Passed", "contested", "rings [V]")
        yield self._in("spoofed right after", second, "No-TN-Validation", "replayed", "screened")

    def contested(self) -> Iterator[Line]:
        """A's call is stored, but a stranger with A's number reaches B before it."""
        orig, dest = self.stage.a.number(30), self.stage.b.number(3)
        self._office(self.stage.pbx_a, f"{dest}*{orig}*late")
        time.sleep(0.8)
        self._stranger(f"{dest}*{orig}")
        first, second = self._two(orig, dest)
        yield self._in("spoofer first", first, "TN-Validation-Passed", "contested", "rings [V]")
        yield self._in("genuine second", second, "No-TN-Validation", "replayed", "screened")

    def moved(self) -> Iterator[Line]:
        """A calls M, who opens the PASSporT, seals it again to B, and calls B as A."""
        orig, mallory, dest = (
            self.stage.a.number(40),
            self.stage.m.number(0),
            self.stage.b.number(4),
        )
        self._office(self.stage.pbx_a, f"{mallory}*{orig}")
        yield self._out("genuine to M", orig, ("stored", "stored"))
        self._seal_again(mallory, dest)
        self._stranger(f"{dest}*{orig}")
        row = self._b(orig, dest)
        yield self._in("sealed again", row, "No-TN-Validation", "dest-mismatch", "screened")

    def forwarded(self) -> Iterator[Line]:
        """A stranger calls a forwarding extension of A with A's own main number."""
        orig, dest = self.stage.a.number(50), self.stage.b.number(6)
        self._stranger(f"{self._forwarding}*{orig}")
        yield self._out("forwarded", orig, ("skipped", "caller-not-allowed"))
        row = self._b(orig, dest)
        yield self._in("forwarded", row, "No-TN-Validation", "no-passport", "screened")

    def without_cps(self) -> Iterator[Line]:
        """The CPS is stopped: calls go on."""
        orig, dest = self.stage.a.number(60), self.stage.b.number(7)
        self.stage.cps.stop()
        self._office(self.stage.pbx_a, f"{dest}*{orig}")
        yield self._out("CPS stopped", orig, ("error", "cps-unavailable"), 1550)
        row = self._b(orig, dest)
        yield self._in("CPS stopped", row, "No-TN-Validation", "cps-unavailable", "screened", 2050)
        self.stage.start_cps()

    def without_listener(self) -> Iterator[Line]:
        """A's listener is killed with a call in flight."""
        first, second, dest = (
            self.stage.a.number(70),
            self.stage.a.number(71),
            self.stage.b.number(8),
        )
        self.stage.cps.freeze()
        self._office(self.stage.pbx_a, f"{dest}*{first}")
        time.sleep(0.5)
        self.stage.listener_a.kill()
        self.stage.cps.thaw()
        yield self._out("listener killed", first, ("error", "timeout"), 1550)
        self._office(self.stage.pbx_a, f"{dest}*{second}")
        yield self._out("the next call", second, ("error", "listener-down"), 20)

    def _office(self, pbx: Instance, dialled: str) -> None:
        pbx.cli(f"channel originate Local/{dialled}@office/n application Wait 3")

    def _stranger(self, dialled: str) -> None:
        pbx = self.stage.pbx_m
        pbx.cli(f"channel originate Local/{dialled}@anywhere/n application Wait 3")

    def _out(
        self, call: str, orig: str, expected: tuple[str, str], budget_ms: int | None = None
    ) -> Line:
        row = self.stage.pbx_a.wait_cdr(
            lambda one: one["src"] == orig and one["stir_out_reason"] != ""
        )
        found = (row["stir_status"], row["stir_out_reason"])
        return Line(call, "A out", expected, found, row["stir_out_ms"], budget_ms)

    def _b(self, orig: str, dest: str) -> Row:
        return self.stage.pbx_b.wait_cdr(lambda one: _is(one, orig, dest))

    def _two(self, orig: str, dest: str) -> tuple[Row, Row]:
        """B's rows of two calls, the one that came first first."""

        def rows() -> list[Row]:
            return [one for one in self.stage.pbx_b.cdr_rows() if _is(one, orig, dest)]

        _wait(lambda: len(rows()) >= 2, f"two calls from {orig}", 20)
        first, second = sorted(rows(), key=_born)[:2]
        return first, second

    @staticmethod
    def _in(
        call: str, row: Row, verstat: str, reason: str, treated: str, budget_ms: int | None = None
    ) -> Line:
        rang = "[V]" in row["clid"]
        treatment = "rings [V]" if rang else "screened" if row["dcontext"] == "screening" else "?"
        found = (row["stir_verstat"], row["stir_reason"], treatment)
        return Line(call, "B in", (verstat, reason, treated), found, row["stir_ms"], budget_ms)

    def _seal_again(self, mallory: str, dest: str) -> None:
        """What a dishonest receiver would do, with our own commands."""
        stage = self.stage
        common = ["--cps", stage.cps_url, "--tls-ca", str(stage.cps_ca)]
        config = ["--config", str(stage.m.config)]
        fetched = pbx_stir("fetch", *common, "--dest", mallory, *config)
        token = stage.m.folder / "token.jws"
        token.write_text(fetched)
        chain = stage.a.folder / f"{stage.a.name}.pem"
        sealed = ["--dest", dest, "--certificate", str(chain), str(token)]
        # with a storage token of her own: whom a token was given to does not show
        pbx_stir("store", *common, *config, *sealed)


def _is(row: Row, orig: str, dest: str) -> bool:
    # a PBX's own legs to its phones have a row each as well, without a verdict of their own
    return row["src"] == orig and row["dst"] == dest and row["channel"].startswith("PJSIP/")


def _born(row: Row) -> float:
    return float(row["uniqueid"].rpartition("-")[2])


def _wait(true: Callable[[], bool], what: str, seconds: float = 10) -> None:
    give_up_at = time.monotonic() + seconds
    while not true():
        if time.monotonic() > give_up_at:
            raise LabError(f"not {what} in {seconds} s")
        time.sleep(0.02)


def main() -> int:
    """Run the scenes and print the table."""
    parser = argparse.ArgumentParser(prog="scripts/demo", description=__doc__)
    parser.add_argument(
        "what",
        nargs="?",
        choices=("calls", "networks"),
        default="calls",
        help="genuine and false calls (default), or calls that cross networks and are forwarded",
    )
    parser.add_argument(
        "--wrong-anchor",
        action="store_true",
        help="company B trusts another authority: the demo must notice and exit with 1",
    )
    parser.add_argument("--only", metavar="SCENE", help="play this scene alone, such as genuine")
    parser.add_argument("--keep-logs", metavar="FOLDER", help="copy the logs there")
    args = parser.parse_args()
    # a SystemExit, so that it leaves nothing running either
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    began = time.monotonic()
    agreed = True
    try:
        found = software()
        print(f"Asterisk {found.version}; what was found is read from the PBXs' own CDRs\n")
        print(COLUMNS.format("", "call", "at", "found", "ms"))
        networks = args.what == "networks"
        with Networks(found) if networks else Stage(found, wrong_anchor=args.wrong_anchor) as stage:
            try:
                demo = NetworksDemo(stage) if isinstance(stage, Networks) else Demo(stage)
                scenes = [
                    one for one in demo.scenes if args.only is None or one.__name__ == args.only
                ]
                if not scenes:
                    raise LabError(f"no scene {args.only!r}")
                agreed = play(scenes)
            finally:
                if args.keep_logs:
                    _keep_logs(stage.folder, Path(args.keep_logs))
    except LabError as error:
        print(f"scripts/demo: {error}", file=sys.stderr)
        return 1
    seconds = time.monotonic() - began
    print(f"\n{'all as expected' if agreed else 'NOT as expected'}; {seconds:.0f} s")
    return 0 if agreed else 1


def _keep_logs(folder: Path, to: Path) -> None:
    to.mkdir(parents=True, exist_ok=True)
    for path in [*folder.glob("*.log"), *folder.glob("*/calls.jsonl"), *folder.glob("*/log/full")]:
        with contextlib.suppress(OSError):
            name = "-".join(path.relative_to(folder).parts)
            (to / name).write_bytes(path.read_bytes())


if __name__ == "__main__":
    sys.exit(main())
