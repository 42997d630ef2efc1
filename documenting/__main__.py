"""``python -m documenting``: writes what is made from the code; with ``--site`` also the site."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from documenting import generated, site


def main() -> int:
    """Write, and say what changed. Exit status 1 where ``mkdocs`` found a mistake."""
    parser = argparse.ArgumentParser(prog="python -m documenting", description=__doc__)
    parser.add_argument("--site", metavar="DIR", type=Path, help="build the site there")
    args = parser.parse_args()
    for name in generated.write():
        print(f"written: {name}")
    return site.build(args.site) if args.site else 0


if __name__ == "__main__":
    sys.exit(main())
