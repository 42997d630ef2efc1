"""``pbx-stir keys`` shows, publishes, rotates and revokes, beside a running service."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from pbx_stir.cli.main import main
from pbx_stir.directory.key_files import KeyFiles
from pbx_stir.stir.record import Record, parse_record


class Cps(ThreadingHTTPServer):
    """A CPS that takes every record, or answers with ``status``."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Puts)
        self.status = 201
        self.put: list[tuple[str, Record]] = []


class Puts(BaseHTTPRequestHandler):
    """Takes PUT."""

    server: Cps

    def do_PUT(self) -> None:
        """Keep the record."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.put.append((self.path, parse_record(body.decode("ascii")).record))
        self.send_response(self.server.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def cps() -> Iterator[Cps]:
    """A CPS on loopback."""
    with Cps() as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def config(tmp_path: Path, cps: Cps, capsys: pytest.CaptureFixture[str]) -> str:
    """A company's configuration."""
    main(["authority", "init", str(tmp_path / "ca"), "--name", "Lab"])
    issue = ["authority", "issue", str(tmp_path / "ca"), "--name", "Alice"]
    main([*issue, "--numbers", "+12125551200-+12125551299", "--out", str(tmp_path / "alice")])
    capsys.readouterr()
    path = tmp_path / "pbx-stir.toml"
    path.write_text(
        f"""
state_dir = "state"
[outgoing]
plain_loopback = true
[[credential]]
certificate = "alice.pem"
key = "alice.key"
x5u = "https://cert.example.com/alice.pem"
[publish]
numbers = ["+12125551200-+12125551299"]
cps = ["http://127.0.0.1:{cps.server_port}"]
"""
    )
    return str(path)


def files(config: str) -> KeyFiles:
    """The keys on disk."""
    return KeyFiles(Path(config).parent / "state" / "keys")


def test_new_and_list_show_public_keys_alone(
    config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line a key, in the form that a route's keys take; never a private half."""
    assert main(["keys", "new", "--config", config]) == 0
    assert main(["keys", "list", "--config", config]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert lines[0] == lines[1]
    assert len(lines[0].split()[0]) == 43
    assert "never published" in lines[0]


def test_publish_puts_a_record(config: str, cps: Cps, capsys: pytest.CaptureFixture[str]) -> None:
    """The first publish makes a key, and says what each CPS said."""
    assert main(["keys", "publish", "--config", config]) == 0
    ((path, record),) = cps.put
    assert path == "/cps/12125551200/keys"
    assert [key.public for key in record.keys] == [key.public for key in files(config).load()]
    assert "taken, serial" in capsys.readouterr().out


def test_rotate_publishes_a_new_key_and_keeps_the_old(config: str, cps: Cps) -> None:
    """What is sealed to the old key by an older record still opens; both are published."""
    main(["keys", "publish", "--config", config])
    assert main(["keys", "rotate", "--config", config]) == 0
    new, old = files(config).load()
    assert [key.public for key in cps.put[-1][1].keys] == [new.public, old.public]
    assert [key.public for key in cps.put[0][1].keys] == [old.public]


def test_revoke_holds_until_rotate(
    config: str, cps: Cps, capsys: pytest.CaptureFixture[str]
) -> None:
    """A tombstone is put; publish refuses with a hint; rotate publishes again."""
    main(["keys", "publish", "--config", config])
    assert main(["keys", "revoke", "--config", config]) == 0
    assert cps.put[-1][1].revoked
    assert main(["keys", "publish", "--config", config]) == 1
    assert "keys rotate" in capsys.readouterr().err
    main(["keys", "list", "--config", config])
    assert "revoked" in capsys.readouterr().out
    assert main(["keys", "rotate", "--config", config]) == 0
    assert not cps.put[-1][1].revoked
    assert not files(config).suspended()
    # what was revoked is not named again
    new, _ = files(config).load()
    assert [key.public for key in cps.put[-1][1].keys] == [new.public]
    capsys.readouterr()
    main(["keys", "list", "--config", config])
    first, second = capsys.readouterr().out.splitlines()
    assert not first.endswith("revoked")
    assert second.endswith("revoked")


def test_a_cps_that_refuses_is_exit_status_1(
    config: str, cps: Cps, capsys: pytest.CaptureFixture[str]
) -> None:
    """The CPS and why are printed, and a revocation stays until a CPS took a new key."""
    cps.status = 409
    assert main(["keys", "publish", "--config", config]) == 1
    assert "not taken" in capsys.readouterr().out
    main(["keys", "revoke", "--config", config])
    for _ in range(3):
        assert main(["keys", "rotate", "--config", config]) == 1
        assert files(config).suspended()
        # trying again makes no further keys
        assert len(files(config).load()) == 2


def test_nothing_to_publish_is_said(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Without [publish] the message names the section."""
    text = Path(config).read_text()
    Path(config).write_text(text[: text.index("[publish]")])
    assert main(["keys", "publish", "--config", config]) == 1
    assert "[publish]" in capsys.readouterr().err


def test_lax_permissions_are_said(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The remedy is in the message."""
    main(["keys", "new", "--config", config])
    files(config).directory.chmod(0o755)
    assert main(["keys", "list", "--config", config]) == 1
    assert "chmod 700" in capsys.readouterr().err
