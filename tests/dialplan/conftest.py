"""What the tests of FreeSWITCH's scripts share: a Lua that runs them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.dialplan.stand_in import LUA, Outcome, run_script


@pytest.fixture
def run(tmp_path: Path) -> Any:
    """Run a script in a scenario."""
    if LUA is None:
        pytest.skip("no lua5.2: install Debian's package lua5.2")

    def running(*argv: str, script: str = "pbx_stir.lua", **changed: Any) -> Outcome:
        return run_script(tmp_path, script, argv, **changed)

    return running
