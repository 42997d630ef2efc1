"""Tests of pbx_stir.tokens.wallet_files: what lies on the disk, and who gets it."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbx_stir.errors import ConfigurationError, TokenRefused
from pbx_stir.tokens import wallet_files
from pbx_stir.tokens.epochs import EPOCH_SECONDS, KeyList
from pbx_stir.tokens.wallet_files import RECORD_OCTETS, Left, WalletFiles

from .minting import CPS, EPOCH, NOW, Mint, key_list


def records(count: int, first: int = 1) -> list[bytes]:
    """Octets of the right size, no two alike."""
    return [index.to_bytes(RECORD_OCTETS, "big") for index in range(first, first + count)]


@pytest.fixture
def files(tmp_path: Path) -> WalletFiles:
    """A directory that was not there before."""
    return WalletFiles(tmp_path / "state" / "wallet")


def everything(files: WalletFiles) -> bytes:
    """All octets in the directory."""
    return b"".join(path.read_bytes() for path in files.directory.rglob("*") if path.is_file())


def test_what_is_added_is_taken_once(files: WalletFiles) -> None:
    """Each record comes out exactly once, and is gone from the disk by then."""
    given_in = records(10)
    assert files.add(CPS, EPOCH, given_in, 100) == 10
    assert files.count(CPS, EPOCH) == 10
    first = files.check_out(CPS, EPOCH, 4)
    assert not any(record in everything(files) for record in first)
    rest = files.check_out(CPS, EPOCH, 100)
    assert sorted(first + rest) == given_in
    assert (len(first), len(rest)) == (4, 6)
    assert files.check_out(CPS, EPOCH, 100) == []
    assert files.count(CPS, EPOCH) == 0


def test_they_survive_a_restart(files: WalletFiles) -> None:
    """What was not taken is there for the next process, and what was taken is not."""
    files.add(CPS, EPOCH, records(5), 100)
    taken = files.check_out(CPS, EPOCH, 2)
    again = WalletFiles(files.directory)
    assert sorted(taken + again.check_out(CPS, EPOCH, 9)) == records(5)


def test_cps_and_epochs_are_apart(files: WalletFiles) -> None:
    """A token of one CPS or epoch never comes out as another's."""
    files.add(CPS, EPOCH, records(2), 100)
    files.add(CPS, EPOCH + 1, records(2, 10), 100)
    files.add(CPS + ":8443", EPOCH, records(2, 20), 100)
    assert sorted(files.check_out(CPS, EPOCH + 1, 9)) == records(2, 10)
    assert sorted(files.check_out(CPS + ":8443", EPOCH, 9)) == records(2, 20)
    assert files.check_out("https://other.example", EPOCH, 9) == []
    assert files.left() == sorted(
        [Left(CPS, EPOCH, 2), Left(CPS, EPOCH + 1, 0), Left(CPS + ":8443", EPOCH, 0)],
        key=lambda one: (files._folder(one.cps), one.epoch),
    )
    assert files.known() == [CPS, CPS + ":8443"]


def test_it_is_bounded(files: WalletFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    """No more than the most for an epoch, and no more CPSs than there may be."""
    assert files.add(CPS, EPOCH, records(10), 8) == 8
    assert files.add(CPS, EPOCH, records(10, 20), 8) == 0
    monkeypatch.setattr(wallet_files, "MOST_CPS", 2)
    files.add("https://two.example", EPOCH, records(1), 8)
    with pytest.raises(ConfigurationError, match="2 CPSs"):
        files.add("https://three.example", EPOCH, records(1), 8)


def test_nobody_else_may_read_it(files: WalletFiles) -> None:
    """Directories are 0700 and files 0600; a directory that is open to others is refused."""
    files.add(CPS, EPOCH, records(1), 8)
    files.pin(CPS, Mint().listed, NOW)
    for path in [files.directory, *files.directory.rglob("*")]:
        allowed = 0o700 if path.is_dir() else 0o600
        assert stat.S_IMODE(path.stat().st_mode) == allowed, path
    files.directory.chmod(0o750)
    with pytest.raises(ConfigurationError, match="mode 750") as refused:
        WalletFiles(files.directory)
    assert refused.value.hint == f"chmod 700 {files.directory}"


def test_what_a_crash_leaves_is_no_token(files: WalletFiles) -> None:
    """Half a record is left out and written over; zeros, from a crash while taking, are too."""
    files.add(CPS, EPOCH, records(2), 8)
    [path] = files.directory.rglob("*.tokens")
    with path.open("ab") as file:
        file.write(b"x" * 100)
    assert files.count(CPS, EPOCH) == 2
    files.add(CPS, EPOCH, records(1, 9), 8)
    with path.open("ab") as file:
        file.write(bytes(RECORD_OCTETS) + b"y")
    assert sorted(files.check_out(CPS, EPOCH, 9)) == [*records(2), *records(1, 9)]


def test_it_is_wiped_with_its_epoch(files: WalletFiles) -> None:
    """Records of an epoch that is over are overwritten and removed, later ones stay."""
    files.pin(CPS, key_list(Mint(), Mint(EPOCH + 1, 1)), NOW)
    files.add(CPS, EPOCH, records(3), 8)
    files.add(CPS, EPOCH + 1, records(3, 10), 8)
    assert files.wipe(NOW) == 0
    assert files.wipe(NOW + EPOCH_SECONDS) == 1
    assert files.count(CPS, EPOCH) == 0
    assert files.count(CPS, EPOCH + 1) == 3
    assert files.wipe(NOW + 2 * EPOCH_SECONDS) == 1
    # nothing is left of a CPS that has neither tokens nor keys
    assert [path.name for path in files.directory.iterdir()] == ["lock"]


def test_a_folder_in_use_stays(files: WalletFiles) -> None:
    """Wiping does not forget keys that are good now or later."""
    files.pin(CPS, key_list(Mint(), Mint(EPOCH + 1, 1)), NOW)
    files.wipe(NOW + EPOCH_SECONDS)
    assert files.pinned(CPS) is not None


def test_the_first_key_of_an_epoch_stays(files: WalletFiles) -> None:
    """Another key for an epoch is refused, after a restart too, and so is another issuer."""
    listed = key_list(Mint(), Mint(EPOCH + 1, 1))
    assert files.pin(CPS, listed, NOW) == listed
    again = WalletFiles(files.directory)
    assert again.pin(CPS, Mint().listed, NOW) == listed
    with pytest.raises(TokenRefused, match=f"another token key for epoch {EPOCH + 1}"):
        again.pin(CPS, key_list(Mint(), Mint(EPOCH + 1, 0)), NOW)
    with pytest.raises(TokenRefused, match="calls itself"):
        again.pin(CPS, Mint(issuer="other.example.net").listed, NOW)
    assert again.pinned(CPS) == listed
    # another CPS is another matter
    assert files.pin("https://other.example", Mint(which=1).listed, NOW) == Mint(which=1).listed


def test_keys_come_and_go_with_their_epochs(files: WalletFiles) -> None:
    """Past epochs are forgotten, new ones are added, far ones are left for later."""
    files.pin(CPS, key_list(Mint(EPOCH - 1, 0), Mint(), Mint(EPOCH + 8, 1)), NOW)
    assert files.pinned(CPS) == Mint().listed
    later = key_list(Mint(EPOCH + 1, 1), Mint(EPOCH + 2, 0))
    assert files.pin(CPS, later, NOW + EPOCH_SECONDS) == later
    # the issuer may change where no key of it is left
    renamed = KeyList("new.example.net", Mint(EPOCH + 9, 0).listed.keys)
    assert files.pin(CPS, renamed, NOW + 9 * EPOCH_SECONDS) == renamed


def test_damaged_keys_are_said(files: WalletFiles) -> None:
    """A list on the disk that cannot be read names its file."""
    files.pin(CPS, Mint().listed, NOW)
    [path] = files.directory.rglob("keys")
    path.write_bytes(b"junk")
    with pytest.raises(ConfigurationError, match="/keys: not a list"):
        files.pinned(CPS)


def test_one_fills_at_a_time(files: WalletFiles) -> None:
    """Of several processes one obtains tokens of a CPS; the others are told at once."""
    mine = files.begin_filling(CPS)
    assert mine is not None
    other = WalletFiles(files.directory)
    assert other.begin_filling(CPS) is None
    elsewhere = other.begin_filling("https://other.example")
    assert elsewhere is not None
    files.end_filling(mine)
    again = other.begin_filling(CPS)
    assert again is not None
    for descriptor in (elsewhere, again):
        other.end_filling(descriptor)


def test_a_turn_that_ended_before_it_began_lasts_not(files: WalletFiles) -> None:
    """Who was cancelled while a thread began it keeps nobody waiting; nor who ends it twice."""
    turn = files.filling(CPS)
    turn.end()
    assert not turn.begin()
    ours, other = files.filling(CPS), WalletFiles(files.directory).filling(CPS)
    assert ours.begin()
    assert not other.begin()
    ours.end()
    ours.end()
    assert other.begin()
    other.end()


def test_several_processes_share_it(files: WalletFiles) -> None:
    """Three processes that take until nothing is left have every record once among them."""
    given_in = records(300)
    files.add(CPS, EPOCH, given_in, 1000)
    program = f"""
import sys
from pathlib import Path
from pbx_stir.tokens.wallet_files import WalletFiles
files = WalletFiles(Path({str(files.directory)!r}))
while taken := files.check_out({CPS!r}, {EPOCH}, 7):
    for record in taken:
        print(record.hex())
"""
    takers = [
        subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    lines = [line for taker in takers for line in taker.communicate()[0].split()]
    assert [taker.returncode for taker in takers] == [0, 0, 0]
    assert sorted(map(bytes.fromhex, lines)) == given_in


@pytest.mark.parametrize("name", ["wallet", "wallet/lock"])
def test_what_is_in_the_way_is_named(tmp_path: Path, name: str) -> None:
    """A file where the directory should be, a folder where the lock should be: said, with path."""
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True, mode=0o700)
    if name == "wallet":
        path.write_bytes(b"")
    else:
        path.mkdir()
    with pytest.raises(ConfigurationError, match=str(path)):
        WalletFiles(tmp_path / "wallet").add(CPS, EPOCH, records(1), 8)


def test_links_are_not_followed(files: WalletFiles, tmp_path: Path) -> None:
    """A link in the place of a file leads nowhere."""
    files.add(CPS, EPOCH, records(1), 8)
    [path] = files.directory.rglob("*.tokens")
    path.unlink()
    os.symlink(tmp_path / "elsewhere", path)
    with pytest.raises(ConfigurationError):
        files.add(CPS, EPOCH, records(1), 8)
    assert not (tmp_path / "elsewhere").exists()


@given(st.binary(max_size=3 * RECORD_OCTETS))
def test_any_octets_may_lie_there(tmp_path_factory: pytest.TempPathFactory, octets: bytes) -> None:
    """Whatever a file holds, taking gives whole records of it and empties it."""
    files = WalletFiles(tmp_path_factory.mktemp("state") / "wallet")
    files.add(CPS, EPOCH, records(1), 8)
    [path] = files.directory.rglob("*.tokens")
    path.write_bytes(octets)
    taken = files.check_out(CPS, EPOCH, 9)
    assert all(len(record) == RECORD_OCTETS for record in taken)
    assert path.stat().st_size == 0
