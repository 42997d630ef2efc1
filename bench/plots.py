"""Draws what the measurements gave: ``python -m bench.plots RESULTS PICTURES``.

RESULTS is a folder with what ``scripts/bench NAME --json RESULTS/NAME.json`` wrote; each that is
there gives pictures as SVG in PICTURES. Needs the extra ``docs``.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Final

import msgspec

# of the paper on Sidecar (arXiv 2509.12582): calls a second and vCPU at 100 and 99 % success
PAPER: Final = {"OOB-SHAKEN,\ncleartext": 14.0, "Sidecar": 7.0}
COLOURS: Final = ("#0b7a53", "#1f5fbf", "#b25d00", "#7a3d9c")


def _figure(columns: int = 1) -> tuple[Any, Any]:
    import matplotlib as mpl

    mpl.use("svg")
    # the same figures give the same file
    mpl.rcParams.update({"svg.hashsalt": "pbx-stir", "font.size": 9, "svg.fonttype": "none"})
    from matplotlib import pyplot as plt

    return plt.subplots(1, columns, figsize=(4.2 * columns, 3.0), layout="constrained")


def _save(figure: Any, path: Path) -> None:
    figure.savefig(path, metadata={"Date": None})
    print(path)


def cycles(found: dict[str, Any], folder: Path) -> None:
    """Success and latency against virtual callers, and cycles a core beside the paper's."""
    figure, (success, latency, core) = _figure(3)
    ways = list(dict.fromkeys(one["way"] for one in found["levels"]))
    for way, colour in zip(ways, COLOURS, strict=False):
        levels = [one for one in found["levels"] if one["way"] == way]
        callers = [one["callers"] for one in levels]
        share = [100 * one["done"] / max(1, one["sent"]) for one in levels]
        success.plot(callers, share, "o-", color=colour, label=way)
        latency.plot(callers, [one["p95"] for one in levels], "o-", color=colour)
    success.set(xlabel="virtual callers", ylabel="calls done within 3 s, %", ylim=(0, 105))
    success.legend(fontsize=7)
    latency.set(xlabel="virtual callers", ylabel="added to a call, p95, ms", ylim=(0, None))
    bars = {
        "K_temp reused": found["cycles_per_second_per_core"],
        "one K_temp\na call": found["cycles_per_second_per_core_one_a_call"],
        "cleartext,\nsigned": found["cycles_per_second_per_core_cleartext"],
        **PAPER,
    }
    drawn = core.bar(list(bars), list(bars.values()), color=[*COLOURS[:3], "#888888", "#888888"])
    core.bar_label(drawn, fmt="%.0f")
    core.set(ylabel="cycles a second and core")
    core.margins(y=0.15)
    core.tick_params(axis="x", labelsize=7)
    _save(figure, folder / "cycles.svg")


def calls(found: dict[str, Any], folder: Path) -> None:
    """Calls a second through one core of Asterisk, with audio and without."""
    figure, (spoken, alone) = _figure(2)
    for plot, rows, what, digits in (
        (spoken, [(one, one["audio"]) for one in found["rows"] if one["audio"]], "with audio", 1),
        (alone, [(one, one) for one in found["rows"]], "signalling alone", 0),
    ):
        names = [one["way"].replace(": ", ":\n").replace(", ", ",\n") for one, _ in rows]
        drawn = plot.barh(names, [kind["carried"] for _, kind in rows], color=COLOURS[0])
        plot.bar_label(drawn, fmt=f"%.{digits}f")
        plot.set(xlabel=f"calls a second, {what},\nAsterisk on one core")
        plot.tick_params(axis="y", labelsize=7)
        plot.invert_yaxis()
        plot.margins(x=0.15)
    _save(figure, folder / "calls.svg")


def growth(found: dict[str, Any], folder: Path) -> None:
    """One operation's time against how many there are, by axis."""
    figure, (time, memory) = _figure(2)
    axes = list(dict.fromkeys(one["axis"] for one in found["points"]))
    for index, axis in enumerate(axes):
        points = [one for one in found["points"] if one["axis"] == axis]
        values = [max(1, one["value"]) for one in points]
        style = "o-" if index < len(COLOURS) else "s--"
        colour = COLOURS[index % len(COLOURS)]
        times = [max(1e-4, one["latency"]["p50"]) for one in points]
        time.plot(values, times, style, color=colour, label=axis)
        memory.plot(values, [max(0.1, one["mb"]) for one in points], style, color=colour)
    for plot, what in (
        (time, "one operation, p50, ms"),
        (memory, "memory, MB (0.1 and less: 0.1)"),
    ):
        plot.set(xlabel="how many", ylabel=what, xscale="log", yscale="log")
    time.legend(fontsize=7)
    _save(figure, folder / "growth.svg")


DRAWN: Final = {"cycles": cycles, "calls": calls, "growth": growth}


def main() -> int:
    """Draw what is there; exit status 2 where nothing is."""
    if len(sys.argv) != 3:
        print(__doc__, file=sys.stderr)
        return 2
    results, pictures = map(Path, sys.argv[1:])
    pictures.mkdir(parents=True, exist_ok=True)
    there = [name for name in DRAWN if (results / f"{name}.json").is_file()]
    for name in there:
        DRAWN[name](msgspec.json.decode((results / f"{name}.json").read_bytes()), pictures)
    return 0 if there else 2


if __name__ == "__main__":
    sys.exit(main())
