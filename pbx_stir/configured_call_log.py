"""``[call_log]`` of the configuration: where calls are logged."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from pbx_stir import configured
from pbx_stir.call_log.file import CallLogFile
from pbx_stir.call_log.keys import hash_key
from pbx_stir.call_log.outputs import LogFile, Output, StandardOutput
from pbx_stir.call_log.rotation import Rotation
from pbx_stir.call_log.system_log import Journal, Syslog
from pbx_stir.config import Loaded


def call_log(
    loaded: Loaded, told: Sequence[Callable[[Mapping[str, object]], None]] = ()
) -> CallLogFile:
    """The call log; each of ``told`` hears of each line.

    Raises:
        ConfigurationError: the key of its hashes cannot be read or made
    """
    section = loaded.values.call_log
    key = b""
    if section.numbers == "hash":
        key = hash_key(configured.state_dir(loaded), make=True)
    return CallLogFile(None, numbers=section.numbers, told=told, key=key, output=_output(loaded))


def _output(loaded: Loaded) -> Output:
    section = loaded.values.call_log
    if section.file == "-":
        return StandardOutput()
    if section.file == "journal":
        return Journal()
    if section.file == "syslog":
        return Syslog()
    rotation = Rotation(section.keep_days, section.most_mebibytes * 1024 * 1024)
    return LogFile(loaded.resolve(section.file), rotation)
