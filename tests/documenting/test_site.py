"""The site of the pages."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

from documenting import site

WITHOUT = importlib.util.find_spec("material") is None


def test_every_page_is_in_the_navigation_once() -> None:
    """mkdocs.yml names each, and none that there is not."""
    named = re.findall(r"^ +- (?:[^:\n]+: )?(\S+\.md)$", site.SETTINGS.read_text(), re.MULTILINE)
    assert sorted(named) == [str(page) for page in site.pages()]


def test_pages_are_laid_out_with_what_they_show(tmp_path: Path) -> None:
    """Pages, images and example files where links look for them; no link to what the site lacks."""
    site.lay_out(tmp_path)
    assert (tmp_path / "docs/images/architecture.svg").is_file()
    for page in site.pages():
        for found in site.LINK.finditer((tmp_path / page).read_text()):
            link = found[3]
            assert re.match(r"[a-z]+:", link) or (tmp_path / page.parent / link).is_file(), link


@pytest.mark.skipif(WITHOUT, reason="mkdocs-material is not installed: the extra docs has it")
def test_the_site_is_built_strictly_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    """A link that leads nowhere is an error; scripts, styles, fonts and images are its own."""
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            f"from pathlib import Path; from documenting import site; "
            f"raise SystemExit(site.build(Path({str(tmp_path)!r})))",
        ],
        cwd=site.REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    pages = list(tmp_path.rglob("*.html"))
    assert len(pages) >= len(site.pages())
    for page in pages:
        text = page.read_text()
        assert not re.search(r"<(?:script|img|iframe)[^>]+src=.?(?:https?:)?//", text), page.name
        assert not re.search(r"<link[^>]+(?:stylesheet|preconnect|icon)[^>]+//", text), page.name
    for style in tmp_path.rglob("*.css"):
        assert not re.search(r"url\(.?https?://", style.read_text()), style.name
