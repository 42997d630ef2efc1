"""``python -m fuzz TARGET --seconds N``: one target under atheris (libFuzzer).

It needs the extra ``fuzz``. What makes a target fail is written to a file, whose name is printed;
``--again FILE`` runs that one input. Exit status 0 where nothing was found.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import tempfile
from pathlib import Path
from typing import Any

TARGETS = (
    "token",
    "identity",
    "chain",
    "sealed",
    "record",
    "advertisement",
    "storage_token",
    "number",
    "announcement",
    "event_socket",
    "cps_answer",
    "config",
)


def main() -> int:
    """Run what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--again", type=Path, metavar="FILE", help="run this one input")
    args = parser.parse_args()
    if args.again is not None:
        importlib.import_module(f"fuzz.{args.target}").one(args.again.read_bytes())
        return 0
    try:
        atheris: Any = importlib.import_module("atheris")
    except ImportError:
        print("atheris is not installed: pip install -e '.[fuzz]'", file=sys.stderr)
        return 2
    with atheris.instrument_imports(include=["pbx_stir"]):
        target = importlib.import_module(f"fuzz.{args.target}")
    with tempfile.TemporaryDirectory() as folder:
        corpus = Path(folder, "corpus")
        corpus.mkdir()
        for at, seed in enumerate(target.SEEDS):
            (corpus / f"seed{at}").write_bytes(seed)
        kept = tempfile.mkdtemp(prefix=f"fuzz-{args.target}-")
        print(f"fuzz {args.target}: {args.seconds} s, findings to {kept}", flush=True)
        options = [
            f"-max_total_time={args.seconds}",
            "-max_len=20000",
            "-timeout=5",
            f"-artifact_prefix={kept}/",
            "-print_final_stats=1",
        ]
        atheris.Setup([sys.argv[0], *options, str(corpus)], target.one)
        # ends the process itself, with libFuzzer's exit status
        atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())
