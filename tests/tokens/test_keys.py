"""Token keys in use: what is published, and what stands for numbers and tokens in the ledger."""

from __future__ import annotations

import pytest

from pbx_stir.errors import ConfigurationError
from pbx_stir.tokens.epochs import EPOCH_SECONDS, parse_key_list
from pbx_stir.tokens.key_files import GRACE_SECONDS, SecretKey
from pbx_stir.tokens.keys import TokenKeys
from tests.tokens.spending import EPOCH, NOW, FixedKeys, token_keys

MIDNIGHT = float((EPOCH + 1) * EPOCH_SECONDS)


def test_this_epoch_and_the_next_are_published() -> None:
    """Under the CPS's name; an epoch that is over is not, though its last stores still count."""
    keys = token_keys(NOW)
    listed = parse_key_list(keys.listed(NOW))
    assert listed.issuer == "localhost"
    assert [key.epoch for key in listed.keys] == [EPOCH, EPOCH + 1]
    keys.prepare(MIDNIGHT + 1)
    assert keys.of(EPOCH) is not None
    listed = parse_key_list(keys.listed(MIDNIGHT + 1))
    assert [key.epoch for key in listed.keys] == [EPOCH + 1, EPOCH + 2]
    keys.prepare(MIDNIGHT + GRACE_SECONDS)
    assert keys.of(EPOCH) is None


def test_a_key_in_use_stays_the_same() -> None:
    """Looking again makes no new signer."""
    keys = token_keys(NOW)
    before = keys.of(EPOCH)
    keys.prepare(NOW + 60)
    assert keys.of(EPOCH) is before


def test_what_is_there_stays_where_the_source_fails() -> None:
    """A disk that fails at noon is no reason to refuse tokens that were good before."""

    class Failing(FixedKeys):
        def prepare(self, now: float) -> tuple[SecretKey, ...]:
            if self.asked:
                raise ConfigurationError("the disk is gone")
            return super().prepare(now)

    keys = TokenKeys(Failing(), "localhost")
    keys.prepare(NOW)
    with pytest.raises(ConfigurationError):
        keys.prepare(NOW + 60)
    assert keys.of(EPOCH) is not None


def test_what_is_hidden_differs_by_everything() -> None:
    """Purpose, each part and the epoch; what is moved between two parts is something else."""
    keys = token_keys(NOW)
    one, other = keys.of(EPOCH), keys.of(EPOCH + 1)
    assert one is not None
    assert other is not None
    found = [
        one.hidden("stores", b"ab", b"c"),
        one.hidden("stores", b"a", b"bc"),
        one.hidden("stores", b"abc"),
        one.hidden("number", b"ab", b"c"),
        other.hidden("stores", b"ab", b"c"),
    ]
    assert len(set(found)) == 5
    assert {len(each) for each in found} == {16}
    assert len(one.hidden("token", b"a", octets=48)) == 48
    assert one.hidden("stores", b"ab", b"c") == found[0]
