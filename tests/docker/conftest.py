"""A Docker engine, the images, and the demo as docker/compose.yaml has it: once for all tests.

An engine that answers is used as it is; otherwise, as root on Debian, one of our own is started,
with its images in .lab/docker, so that a second run builds nothing that has not changed.
"""

from __future__ import annotations

import contextlib
import gc
import os
import shutil
import subprocess
import sys
import time
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import pytest

from lab import base_image, docker_engine
from lab.debian import LabError

REPOSITORY = Path(__file__).resolve().parent.parent.parent
CACHE = REPOSITORY / ".lab/docker"
# Of what the images are made, as .dockerignore has it, and what the demo mounts.
SOURCES = ("setup.cfg", "pyproject.toml", "README.md", "LICENSE", ".dockerignore")
FOLDERS = ("pbx_stir", "dialplan", "docker")
OWN_BASE = "pbx-stir-base:forky"
HUB_BASES = ("debian:trixie-slim", "debian:forky-slim")
BUILD_SECONDS = 600
HEALTHY_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Engine:
    """A client of the engine, and the environment by which commands find it."""

    client: Any
    environment: dict[str, str]


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """The engine that answers, else one of our own."""
    with contextlib.ExitStack() as stack:
        host = os.environ.get("DOCKER_HOST")
        try:
            with contextlib.closing(docker.from_env(timeout=20)) as asked:
                asked.ping()
        except docker.errors.DockerException:
            _collect()
            reason = docker_engine.why_not()
            if reason:
                pytest.skip(reason)
            try:
                host = stack.enter_context(docker_engine.running_engine(CACHE))
            except LabError as error:
                pytest.skip(f"no Docker engine: {error}")
        environment = os.environ | ({"DOCKER_HOST": host} if host else {})
        client = docker.DockerClient.from_env(environment=environment, timeout=BUILD_SECONDS)
        stack.callback(_collect)
        stack.callback(client.close)
        if host is not None and str(docker_engine.run_folder(CACHE)) in host:
            # all that is in it is of an aborted run
            for one in client.containers.list(all=True):
                one.remove(force=True, v=True)
            for volume in client.volumes.list():
                volume.remove(force=True)
            client.networks.prune()
            client.images.prune({"dangling": True, "until": "168h"})
        yield Engine(client, environment)


@pytest.fixture(autouse=True)
def _collected() -> Iterator[None]:
    """No test's sockets are left to the next one."""
    yield
    _collect()


def _collect() -> None:
    """Let go of the sockets that the SDK leaves to the garbage collector, without its warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.fixture(scope="session")
def bases(engine: Engine) -> tuple[str, str]:
    """Base images for the listener and for Asterisk: Debian's, else one of our own for both."""
    with contextlib.suppress(docker.errors.APIError):
        for name in HUB_BASES:
            try:
                engine.client.images.get(name)
            except docker.errors.ImageNotFound:
                engine.client.images.pull(name)
        return HUB_BASES
    try:
        engine.client.images.get(OWN_BASE)
    except docker.errors.ImageNotFound:
        reason = base_image.why_not()
        if reason:
            pytest.skip(f"no image registry is reached, and {reason}")
        repository, _, tag = OWN_BASE.partition(":")
        made = base_image.base_image("forky", CACHE)
        engine.client.api.import_image_from_file(str(made), repository=repository, tag=tag)
    return OWN_BASE, OWN_BASE


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what is built from, so that a build leaves nothing in the work tree."""
    copy = tmp_path_factory.mktemp("docker") / "pbx-stir"
    copy.mkdir()
    for name in SOURCES:
        shutil.copy(REPOSITORY / name, copy / name)
    for name in FOLDERS:
        ignored = shutil.ignore_patterns("__pycache__", "*.whl")
        shutil.copytree(REPOSITORY / name, copy / name, ignore=ignored)
    return copy


@pytest.fixture(scope="session")
def wheels(engine: Engine, bases: tuple[str, str], tree: Path) -> None:
    """What the image needs of PyPI, in the tree's wheelhouse, where the base is our own."""
    if bases[0] != OWN_BASE:
        return
    client = engine.client
    image, _ = client.images.build(
        path=str(tree),
        dockerfile="docker/pbx-stir.Dockerfile",
        target="python",
        buildargs={"BASE": bases[0]},
        network_mode="host",
        tag="pbx-stir-python:tests",
        rm=True,
        forcerm=True,
    )
    asked = ["python3", "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
    version = printed(client, image, asked).strip()
    wanted = f"{zlib.crc32((REPOSITORY / 'setup.cfg').read_bytes()):08x}"
    cached = CACHE / f"wheels-{version}-{wanted}"
    place = tree / "docker/wheelhouse" / version
    if not cached.exists():
        _run(
            [str(tree / "docker/fill-wheelhouse"), version],
            os.environ | {"PYTHON3": sys.executable},
        )
        for old in CACHE.glob("wheels-*"):
            shutil.rmtree(old)
        shutil.copytree(place, cached)
    elif not place.exists():
        shutil.copytree(cached, place)


def printed(client: Any, image: Any, words: list[str], **options: Any) -> str:
    """What a container prints, without network; it goes with its volumes. Fails if it fails."""
    container = client.containers.run(image, words, detach=True, network_mode="none", **options)
    try:
        status = container.wait()["StatusCode"]
        said: str = container.logs().decode()
        assert status == 0, said
        return said
    finally:
        container.remove(force=True, v=True)


class Demo:
    """The demo of docker/compose.yaml, up and running."""

    def __init__(self, engine: Engine, tree: Path, bases: tuple[str, str]) -> None:
        self.client = engine.client
        self.project = f"pbx-stir-tests-{os.getpid()}"
        self._environment = engine.environment | {
            "BASE": bases[0],
            "ASTERISK_BASE": bases[1],
            "TAG": "tests",
            "REDIS_IMAGE": "pbx-stir-redis:tests",
            "BUILD_NETWORK": "host",
        }
        file = str(tree / "docker/compose.yaml")
        self._command = [*_compose(), "-f", file, "-p", self.project]

    def compose(self, *arguments: str) -> str:
        """What ``docker compose ARGUMENTS`` prints. Fails the test where it does not succeed."""
        return _run([*self._command, *arguments], self._environment)

    def printed(self, image: str, words: list[str], **options: Any) -> str:
        """What a container of the image prints, beside the demo and without network."""
        return printed(self.client, image, words, **options)

    def container(self, service: str) -> Any:
        """The container of a service."""
        labels = [f"com.docker.compose.project={self.project}"]
        labels.append(f"com.docker.compose.service={service}")
        (found,) = self.client.containers.list(all=True, filters={"label": labels})
        return found

    def state(self, service: str) -> dict[str, Any]:
        """A container's state, as the engine has it now."""
        state: dict[str, Any] = self.container(service).attrs["State"]
        return state

    def wait_healthy(self, *services: str) -> None:
        """Return as soon as all are. Fails the test where they are not within a minute."""
        give_up_at = time.monotonic() + HEALTHY_SECONDS
        while True:
            found = {one: self.state(one)["Health"]["Status"] for one in services}
            if set(found.values()) == {"healthy"}:
                return
            assert time.monotonic() < give_up_at, (found, self.compose("logs", "--tail", "20"))
            time.sleep(0.5)


def _compose() -> list[str]:
    """The command that this machine has: the engine's plug-in, else the one that came before it."""
    plugin = ["docker", "compose"]
    with contextlib.suppress(OSError):
        if subprocess.run([*plugin, "version"], capture_output=True, check=False).returncode == 0:
            return plugin
    if shutil.which("docker-compose") is None:
        pytest.skip("no compose: install Debian's package docker-compose")
    return ["docker-compose"]


def _run(command: list[str], environment: dict[str, str]) -> str:
    done = subprocess.run(
        command,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=BUILD_SECONDS,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, f"{command[:4]}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
    return done.stdout


@pytest.fixture(scope="session")
def demo(engine: Engine, tree: Path, bases: tuple[str, str], wheels: None) -> Iterator[Demo]:
    """The demo, built and brought up; taken down with its volumes."""
    running = Demo(engine, tree, bases)
    try:
        running.compose("build")
        running.compose("up", "-d")
        yield running
    finally:
        running.compose("down", "--volumes", "--timeout", "5")
