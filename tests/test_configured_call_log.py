"""``[call_log]``: what each of its settings makes."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import date
from pathlib import Path

import pytest

from pbx_stir import config, configured_call_log
from pbx_stir.call_log import CallLogFile, shortened
from pbx_stir.call_log.numbers import style
from pbx_stir.call_log.outputs import LogFile, StandardOutput
from pbx_stir.call_log.system_log import Journal, Syslog
from pbx_stir.errors import ConfigurationError
from tests.call_log.records import lines, passed, record
from tests.services.world import ALICE


def made(folder: Path, text: str, told: tuple[object, ...] = ()) -> CallLogFile:
    """The call log of a configuration whose state is in ``folder``."""
    path = folder / "pbx-stir.toml"
    path.write_text(f'state_dir = "{folder}/state"\n[call_log]\n{text}')
    return configured_call_log.call_log(config.load(path), told)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("file", "kind"),
    [("-", StandardOutput), ("journal", Journal), ("syslog", Syslog), ("./journal", LogFile)],
)
def test_where_it_goes(tmp_path: Path, file: str, kind: type) -> None:
    """A file of one of these names is written with its folder."""
    log = made(tmp_path, f'file = "{file}"')
    assert isinstance(log._output, kind)
    log.close()


def test_a_file_is_rotated_unless_told_otherwise(tmp_path: Path) -> None:
    """By default each day; keep_days = 0 leaves it to logrotate."""
    for days, moved in (("", True), ("keep_days = 0", False)):
        path = tmp_path / "calls.jsonl"
        path.write_text("{}\n")
        yesterday = 1_795_200_000
        os.utime(path, (yesterday, yesterday))
        log = made(tmp_path, f'file = "calls.jsonl"\n{days}')
        log.record(record(passed()))
        log.close()
        assert (len(path.read_text().splitlines()) == 1) is moved
        path.unlink()
    day = date.fromtimestamp(yesterday)
    assert list(tmp_path.glob(f"calls.jsonl-{day:%Y%m%d}*"))


def test_numbers_are_hashed_with_a_key_that_stays(tmp_path: Path) -> None:
    """The key is in the state folder, for the next start and for who reads."""
    for _ in range(2):
        log = made(tmp_path, 'file = "calls.jsonl"\nnumbers = "hash"')
        log.record(record(passed()))
        log.close()
    key = (tmp_path / "state/call_log/key").read_bytes()
    first, second = lines(tmp_path / "calls.jsonl")
    assert first["orig"] == second["orig"] == style("hash", key).number(ALICE)


def test_readers_hear_of_numbers_as_configured(tmp_path: Path) -> None:
    """A board on a screen shows no more than the log."""
    heard: list[Mapping[str, object]] = []
    log = made(tmp_path, 'file = "calls.jsonl"\nnumbers = "short"', (heard.append,))
    log.record(record(passed()))
    log.close()
    assert json.loads((tmp_path / "calls.jsonl").read_text()) == heard[0]
    assert heard[0]["orig"] == shortened(ALICE)


def test_a_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    """Before any call is logged with it."""
    made(tmp_path, 'file = "calls.jsonl"\nnumbers = "hash"').close()
    (tmp_path / "state/call_log/key").chmod(0o644)
    with pytest.raises(ConfigurationError, match="others may read"):
        made(tmp_path, 'file = "calls.jsonl"\nnumbers = "hash"')
