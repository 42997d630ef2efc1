"""docker/healthy.py without Docker: whom it finds connected, what of a CPS it takes for health."""

from __future__ import annotations

import http.server
import importlib.util
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import pytest

FILE = Path(__file__).resolve().parent.parent.parent / "docker/healthy.py"


@pytest.fixture(scope="module")
def healthy() -> ModuleType:
    """The program, as a module."""
    found = importlib.util.spec_from_file_location("healthy", FILE)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def _listener(folder: Path, port: int) -> str:
    (folder / "secret").write_text("x")
    (folder / "secret").chmod(0o600)
    file = folder / "pbx-stir.toml"
    file.write_text(f'[[asterisk]]\nname = "hall"\nport = {port}\nsecret_file = "secret"\n')
    return str(file)


@pytest.mark.parametrize("address", ["127.0.0.1", "::ffff:127.0.0.1"])
def test_a_connected_listener_is_healthy(healthy: ModuleType, tmp_path: Path, address: str) -> None:
    """It finds the connection to the PBX, also on a socket that does IPv6; and its loss."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server(("127.0.0.1", 0)) as pbx, socket.socket(family) as connection:
        port = pbx.getsockname()[1]
        file = _listener(tmp_path, port)
        assert healthy._listener(file) == "not connected to hall"
        connection.connect((address, port))
        assert healthy._listener(file) == ""
    assert "not connected" in healthy._listener(file)


@contextmanager
def _serving(path: str, status: int, page: str = "") -> Iterator[int]:
    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == path else 404)
            self.end_headers()
            self.wfile.write(page.encode())

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with http.server.HTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("page", "said"),
    [
        ('pbx_stir_heartbeat_age_seconds{pbx="hall"} 1.5\n', ""),
        ('pbx_stir_heartbeat_age_seconds{pbx="hall"} 7.5\n', "not connected to hall"),
        ('pbx_stir_heartbeat_age_seconds{pbx="yard"} 1.5\n', "not connected to hall"),
        ("", "not connected to hall"),
    ],
)
def test_metrics_tell_of_heartbeats(
    healthy: ModuleType, tmp_path: Path, page: str, said: str
) -> None:
    """Where there are metrics, what counts is that the PBX took a heartbeat within 5 s."""
    file = Path(_listener(tmp_path, 5038))
    with _serving("/metrics", 200, page) as port:
        file.write_text(f'{file.read_text()}\n[metrics]\nlisten = "0.0.0.0:{port}"\n')
        assert healthy._listener(str(file)) == said
    with pytest.raises(OSError):
        healthy._listener(str(file))


@pytest.mark.parametrize(("status", "said"), [(200, ""), (503, "GET /health: 503")])
def test_a_cps_must_say_200(healthy: ModuleType, status: int, said: str) -> None:
    """It asks on loopback where the CPS listens everywhere."""
    with _serving("/health", status) as port:
        words = ["pbx-stir", "cps", "--listen", f"0.0.0.0:{port}", "--no-tls"]
        assert healthy._cps(words, "") == said
    with pytest.raises(OSError):
        healthy._cps(words, "")


def test_the_configuration_says_where(healthy: ModuleType, tmp_path: Path) -> None:
    """With ``--config`` it reads the port and whether there is TLS from the file."""
    with _serving("/health", 200) as port:
        file = tmp_path / "cps.toml"
        file.write_text(f'[cps]\nlisten = "127.0.0.1:{port}"\ntls = false\n')
        assert healthy._cps(["pbx-stir", "cps", "--config", str(file)], str(file)) == ""
