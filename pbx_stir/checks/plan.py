"""What is looked at for a configuration: its files, then what they name on the network.

Takes a ``config.Loaded``, gives ``Check``s. Files come first and connect to nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Final, TypeVar

from pbx_stir import configured, configured_metrics, configured_pbxs
from pbx_stir.checks import configuration, credentials
from pbx_stir.checks.anchors import check_anchors
from pbx_stir.checks.asterisk import check_asterisk
from pbx_stir.checks.cps import check_cps, check_records, every_cps
from pbx_stir.checks.cps_section import (
    check_cps_listeners,
    check_cps_running,
    check_cps_state,
    check_cps_trust,
)
from pbx_stir.checks.elsewhere import check_advertisements, check_bare_cps
from pbx_stir.checks.event_socket import check_event_socket
from pbx_stir.checks.presented import check_presented
from pbx_stir.checks.private import check_private_files, check_state_files
from pbx_stir.checks.redis import check_redis, check_redis_running, wants_redis
from pbx_stir.checks.retrieval import check_retrieval
from pbx_stir.checks.running import Check
from pbx_stir.checks.service_user import check_readable
from pbx_stir.checks.state import check_state
from pbx_stir.checks.wallet import check_wallet
from pbx_stir.checks.x5u import check_x5u
from pbx_stir.config import Loaded
from pbx_stir.errors import ConfigurationError

Part = TypeVar("Part")
_CPS_METRICS: Final = ("metrics-wrong", configured_metrics.listen_of_cps)


def files(loaded: Loaded, now: float) -> list[Check]:
    """What is looked at without connecting to anything; ``now`` is epoch seconds."""
    checks = [
        Check("who may read private files", partial(check_private_files, loaded)),
        Check("who may read the state folder", partial(check_state_files, loaded)),
        Check("what the service's user may read", partial(check_readable, loaded)),
    ]
    if configuration.serves_calls(loaded):
        checks += _of_calls(loaded, now)
    if configuration.serves_cps(loaded):
        checks += [
            Check("[cps]: addresses and TLS", partial(check_cps_listeners, loaded, now)),
            Check("[cps]: whom it trusts", partial(check_cps_trust, loaded, now)),
            Check("[cps]: its state folder", partial(check_cps_state, loaded)),
            Check("[cps]: metrics", partial(configuration.check_part, loaded, _CPS_METRICS)),
        ]
    if wants_redis(loaded):
        checks.append(Check("Redis: as configured", partial(check_redis, loaded)))
    return checks


def _of_calls(loaded: Loaded, now: float) -> Iterator[Check]:
    for about, part in configuration.PARTS:
        yield Check(about, partial(configuration.check_part, loaded, part))
    yield Check("what has to be there", partial(configuration.check_choices, loaded))
    yield Check("trust anchors and revocation lists", partial(check_anchors, loaded, now))
    for index in range(len(loaded.values.credential)):
        about = f"credential[{index}]: key, dates, chain"
        yield Check(about, partial(credentials.check_credential, loaded, index, now))
    yield Check("something to sign with", partial(credentials.check_none, loaded))
    yield Check("the call log's folder", partial(configuration.check_call_log_folder, loaded))
    yield Check("country codes", partial(configuration.check_country_codes, loaded))
    for index, trunk in enumerate(loaded.values.trunk):
        about = f"trunk {trunk.name}: are its numbers ours"
        yield Check(about, partial(credentials.check_coverage, loaded, index, now))
    yield Check("what recent calls presented", partial(check_presented, loaded, now))
    yield Check("records that we can sign", partial(credentials.check_published, loaded))
    yield Check("state folder and its keys", partial(check_state, loaded))
    yield Check("proxies and storage tokens", partial(check_wallet, loaded, now))


def connections(loaded: Loaded) -> list[Check]:
    """What is looked at over the network: PBXs, CPSs, Redis, our own x5u."""
    checks: list[Check] = []
    if configuration.serves_calls(loaded):
        checks += _pbxs(loaded)
        for cps in every_cps(loaded):
            about = f"{cps}: health, clock, a PASSporT there and back"
            checks.append(Check(about, partial(check_cps, loaded, cps)))
        checks += [
            Check("our records at our CPSs", partial(check_records, loaded)),
            Check("retrieval as configured", partial(check_retrieval, loaded)),
        ]
        if loaded.values.advertisement:
            checks.append(Check("advertisements of others", partial(check_advertisements, loaded)))
        for cps in _bare(loaded):
            checks.append(Check(f"{cps}: health", partial(check_bare_cps, loaded, cps)))
        for index, section in enumerate(loaded.values.credential):
            checks.append(Check(section.x5u, partial(check_x5u, loaded, index)))
    if configuration.serves_cps(loaded):
        checks.append(Check("[cps]: does it answer", partial(check_cps_running, loaded)))
    if wants_redis(loaded):
        checks.append(Check("Redis: does it answer", partial(check_redis_running, loaded)))
    return checks


def _pbxs(loaded: Loaded) -> Iterator[Check]:
    """What is wrong with their secrets has its own finding."""
    for asterisk in _usable(lambda: configured_pbxs.asterisks(loaded)):
        about = f"Asterisk {asterisk.name}: login, rights, dialplan"
        yield Check(about, partial(check_asterisk, loaded, asterisk))
    for freeswitch in _usable(lambda: configured_pbxs.freeswitches(loaded)):
        about = f"FreeSWITCH {freeswitch.name}: login, events, script"
        yield Check(about, partial(check_event_socket, loaded, freeswitch))


def _bare(loaded: Loaded) -> list[str]:
    return _usable(lambda: sorted(configured.routes(loaded).bare_cps))


def _usable(make: Callable[[], list[Part]]) -> list[Part]:
    try:
        return make()
    except ConfigurationError:
        return []
