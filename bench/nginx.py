"""The peer: nginx, one worker, answering 204 to everything, plain and with TLS."""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from bench.load import pin

_CONFIGURATION = """
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c;
    uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
    server {{ listen 127.0.0.1:{plain}; return 204; }}
    server {{
        listen 127.0.0.1:{tls} ssl;
        ssl_certificate {certificate}; ssl_certificate_key {key};
        return 204;
    }}
}}
"""


def binary() -> str | None:
    """Where nginx is; None where it is not installed."""
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")


def version() -> str:
    """What it says of itself."""
    found = binary()
    if found is None:
        return ""
    said = subprocess.run([found, "-v"], capture_output=True, text=True, check=False).stderr
    return said.strip().rpartition(" ")[2] if "/" in said else said.strip()


@contextlib.contextmanager
def serving(
    folder: Path, certificate: Path, key: Path, processors: tuple[int, ...]
) -> Iterator[tuple[int, int, int]]:
    """Run it on these processors; gives its worker's pid, and its ports without and with TLS."""
    found = binary()
    if found is None:
        raise FileNotFoundError("nginx is not installed")
    folder.mkdir(parents=True)
    plain, tls = _free_port(), _free_port()
    configuration = folder / "nginx.conf"
    configuration.write_text(
        _CONFIGURATION.format(folder=folder, plain=plain, tls=tls, certificate=certificate, key=key)
    )
    process = subprocess.Popen([found, "-c", str(configuration), "-e", str(folder / "error.log")])
    try:
        worker = _worker(process)
        pin(worker, processors)
        yield worker, plain, tls
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=10)


def _worker(process: subprocess.Popen[bytes]) -> int:
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    give_up_at = time.monotonic() + 10
    while time.monotonic() < give_up_at and process.poll() is None:
        if found := children.read_text().split():
            return int(found[0])
        time.sleep(0.05)
    raise OSError("nginx does not start")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])
