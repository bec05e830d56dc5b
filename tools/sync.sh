#!/bin/sh
# Make .venv what uv.lock says, on a machine with Python >= 3.11 and nothing else: no uv, no toolchain is assumed, and no
# Python is ever downloaded. Usage: tools/sync.sh [PYTHON]
set -eu
cd "$(dirname "$0")/.."

UV_VERSION=0.13.9  # what is installed when the machine has no uv
UV_MINIMUM=0.9     # an older one reads neither our lock file nor our settings reliably
TOOLS=build/tools

say() { printf '%s\n' "$*" >&2; }
die() {
    say "error: $1"
    shift
    for line in "$@"; do say "  $line"; done
    exit 1
}

is_new_enough() { "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 15))' 2>/dev/null; }

find_python() {
    [ $# -gt 0 ] || set -- python3 python3.11 python3.12 python3.13 python3.14
    for name in "$@"; do
        path=$(command -v "$name" 2>/dev/null) || continue
        is_new_enough "$path" || continue
        # Ask for the real one: a version manager's shim picks another Python in another directory.
        "$path" -c 'import sys; print(sys.executable)'
        return
    done
    die "no Python 3.11 ... 3.14 found (tried: $*)" \
        "Install one (Debian: apt install python3) or name it: make PYTHON=/path/to/python3.11 ..."
}

find_uv() {
    for path in "$(command -v uv 2>/dev/null || true)" "$TOOLS/venv/bin/uv" "$TOOLS/pip/bin/uv"; do
        [ -x "$path" ] || continue
        version=$("$path" --version 2>/dev/null | cut -d' ' -f2) || continue
        [ "$(printf '%s\n%s\n' "$UV_MINIMUM" "$version" | sort -V | head -n 1)" = "$UV_MINIMUM" ] || continue
        printf '%s\n' "$path"
        return
    done
    return 1
}

install_uv() {
    say "uv >= $UV_MINIMUM is not installed: putting uv $UV_VERSION into $TOOLS"
    mkdir -p "$TOOLS"
    log=$TOOLS/install.log
    if "$1" -c 'import ensurepip' 2>/dev/null && "$1" -m venv "$TOOLS/venv" >"$log" 2>&1; then
        "$TOOLS/venv/bin/python" -m pip install --quiet "uv==$UV_VERSION" >>"$log" 2>&1 && return
    elif "$1" -m pip --version >/dev/null 2>&1; then
        "$1" -m pip install --quiet --target "$TOOLS/pip" --upgrade "uv==$UV_VERSION" >"$log" 2>&1 && return
    else
        die "$1 has neither venv nor pip, so uv cannot be installed." \
            "Debian: apt install python3-venv. Elsewhere: install uv (https://docs.astral.sh/uv/) so that it is on PATH."
    fi
    cat "$log" >&2
    die "installing uv $UV_VERSION failed (above); is a package index within reach?" \
        "Or install uv yourself so that it is on PATH: https://docs.astral.sh/uv/"
}

python=$(find_python "$@")
uv=$(find_uv) || { install_uv "$python"; uv=$(find_uv); }

unset VIRTUAL_ENV UV_PROJECT_ENVIRONMENT UV_PYTHON
export UV_PYTHON_DOWNLOADS=never
# An environment that works is kept, whichever Python is first on PATH today.
if ! { [ -x .venv/bin/python ] && is_new_enough .venv/bin/python; }; then
    say "creating .venv from $python"
    "$uv" venv --quiet --clear --python "$python" .venv
fi
UV_PYTHON=$PWD/.venv/bin/python
export UV_PYTHON
"$uv" sync --frozen --all-extras
# `make lint` and pre-commit call this one, wherever it came from.
mkdir -p "$TOOLS"
case $uv in /*) target=$uv ;; *) target=$PWD/$uv ;; esac
ln -sf "$target" "$TOOLS/uv"
