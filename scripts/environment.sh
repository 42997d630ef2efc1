# Sourced by demo, test and bench: a virtual environment in .venv with the project and what is asked
# for. It says what it installs, asks nothing, and does nothing where all is there already.
#
#   prepare_environment EXTRAS        such as "speed" or "test,speed"

say() { printf '%s\n' "$*" >&2; }

fail() { say "$0: $*"; exit 1; }

find_python() {
    local candidate
    for candidate in python3.13 python3.12 python3.11 python3; do
        if command -v "$candidate" >/dev/null &&
            "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            printf '%s' "$candidate"
            return 0
        fi
    done
    return 1
}

# install_packages NAME…: Debian packages, as root only; returns 1 where they cannot be had
install_packages() {
    command -v apt-get >/dev/null && [ "$(id -u)" = 0 ] || return 1
    say "installing from Debian: $*"
    local apt=(apt-get -qq -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3)
    if ! DEBIAN_FRONTEND=noninteractive "${apt[@]}" install -y --no-install-recommends "$@" \
        >/dev/null 2>&1; then
        # the lists of a new machine are empty, those of an old one name packages that are gone
        "${apt[@]}" update >/dev/null 2>&1 || true
        DEBIAN_FRONTEND=noninteractive "${apt[@]}" install -y --no-install-recommends "$@" \
            >/dev/null || return 1
    fi
}

# install_stopped NAME…: the same, but a service that a package has is not started
install_stopped() {
    local policy=/usr/sbin/policy-rc.d installed=0
    if [ "$(id -u)" = 0 ] && [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' > "$policy"
        chmod 755 "$policy"
        trap 'rm -f /usr/sbin/policy-rc.d' EXIT
    fi
    install_packages "$@" || installed=1
    if [ -n "$(trap -p EXIT)" ]; then
        rm -f "$policy"
        trap - EXIT
    fi
    return "$installed"
}

# prepare_docker: Debian's Docker Engine, where none answers; the tests start it and stop it again
prepare_docker() {
    local ping='import docker; docker.from_env(timeout=20).ping()'
    if .venv/bin/python -W ignore -c "$ping" 2>/dev/null; then
        return 0
    fi
    local missing=()
    PATH=$PATH:/usr/sbin command -v dockerd >/dev/null || missing+=(docker.io)
    docker compose version >/dev/null 2>&1 || command -v docker-compose >/dev/null ||
        missing+=(docker-compose)
    command -v mmdebstrap >/dev/null || missing+=(mmdebstrap)
    if [ "${#missing[@]}" -gt 0 ]; then
        install_stopped "${missing[@]}" || say "no Docker engine: its tests will be skipped"
    fi
}

prepare_environment() {
    local extras=$1 python stamp wanted
    python=$(find_python) || fail "needs python3 >= 3.11"
    stamp=.venv/.prepared
    wanted="$extras $("$python" --version) $(cat setup.cfg pyproject.toml | cksum)"
    if [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ]; then
        return 0
    fi
    if [ ! -x .venv/bin/python ]; then
        say "making .venv, a Python environment in this folder"
        if ! "$python" -m venv .venv 2>/dev/null; then
            rm -rf .venv
            install_packages python3-venv || fail "python3 has no venv: install python3-venv"
            "$python" -m venv .venv
        fi
    fi
    say "installing into .venv: pbx-stir[$extras] and what it depends on"
    .venv/bin/python -m pip --quiet --disable-pip-version-check install --editable ".[$extras]" \
        2> >(grep -v '^WARNING: Location .* is ignored' >&2)
    printf '%s' "$wanted" > "$stamp"
}
