"""The site: the repository's pages as they are, laid out for mkdocs, and built strictly.

Pages keep their folders, so that links between them hold. What they link to besides (examples,
dashboards, units) is put beside them as files; a link to a folder, or to a file of another kind,
becomes the name alone, since a site has no page for it.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final

REPOSITORY: Final = Path(__file__).resolve().parent.parent
SETTINGS: Final = REPOSITORY / "mkdocs.yml"
LINK: Final = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s#]+)(#[^)\s]*)?\)")
IMAGES: Final = {".png", ".svg"}
# what a reader of the site may want to have, as it is
FILES: Final = {".yaml", ".json", ".conf", ".sample", ".service", ".xml", ".lua"}


def pages() -> list[Path]:
    """Every page, relative to the repository; README.md is the first."""
    found = [*REPOSITORY.glob("*.md")]
    for folder in ("docs", "dialplan"):
        found += (REPOSITORY / folder).rglob("*.md")
    return sorted(path.relative_to(REPOSITORY) for path in found)


def lay_out(folder: Path) -> None:
    """Put the pages, and the files that they show or link to, into an empty folder."""
    for page in pages():
        target = folder / page
        target.parent.mkdir(parents=True, exist_ok=True)
        text = (REPOSITORY / page).read_text()
        target.write_text(LINK.sub(partial(_link, page), text))
        for name in _beside(page, text):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(REPOSITORY / name, folder / name)


def _resolved(page: Path, link: str) -> Path | None:
    """What of the repository a link names; None where it is no file of it."""
    if re.match(r"[a-z]+:", link):
        return None
    path = Path(os.path.normpath(page.parent / link))
    return path if (REPOSITORY / path).is_file() else None


def _beside(page: Path, text: str) -> Iterator[Path]:
    for _, _, link, _ in LINK.findall(text):
        path = _resolved(page, link)
        if path and path.suffix in IMAGES | FILES:
            yield path


def _link(page: Path, found: re.Match[str]) -> str:
    link = found[3]
    path = _resolved(page, link)
    if re.match(r"[a-z]+:", link) or (path and path.suffix in {".md"} | IMAGES | FILES):
        return found[0]
    return found[2]


def build(target: Path) -> int:
    """Build the site there with ``mkdocs build --strict``; gives its exit status."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet"]
    command += ["--config-file", str(SETTINGS), "--site-dir", str(target.absolute())]
    with tempfile.TemporaryDirectory() as folder:
        lay_out(Path(folder))
        # what its makers say of their next version is in docs/dependencies.md
        told = {"PBX_STIR_PAGES": folder, "NO_MKDOCS_2_WARNING": "1"}
        environment = os.environ | told
        return subprocess.run(command, cwd=REPOSITORY, env=environment, check=False).returncode
