#!/bin/sh
# Make the virtual environment the Makefile works in, and say what to do when that cannot be.
# usage: setup.sh VENV [EXTRA]      EXTRA: dev (default), bench, parity, openmoji or real
# PYTHON: the interpreter to use.  PIP_ARGS: more words for pip install.
set -eu
venv=$1
extra=${2:-dev}
cd "$(dirname "$0")/.."
version=$(sed -n 's/^min_python *= *//p' settings.ini)
need_mb=3000

stop() {
    printf '\nt2i_course: %s\n' "$1" >&2
    shift
    for line in "$@"; do printf '    %s\n' "$line" >&2; done
    exit 1
}
step() { printf '\n[%s] %s\n' "$1" "$2"; }
new_enough() { "$1" -c "import sys; sys.exit(sys.version_info < tuple(map(int, '$version'.split('.'))))" 2>/dev/null; }
free_mb() { df -Pk "$1" | awk 'NR == 2 { print int($4 / 1024) }'; }

if [ ! -x "$venv/bin/python" ]; then
    python=
    for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11 python}; do
        if command -v "$candidate" >/dev/null 2>&1 && new_enough "$candidate"; then python=$candidate; break; fi
    done
    if [ -z "$python" ]; then
        found=$(${PYTHON:-python3} --version 2>&1 || true)
        stop "Python $version or newer is needed; found: ${found:-none}." \
            "Debian, Ubuntu:  sudo apt install python3 python3-venv    (or python3.12 python3.12-venv)" \
            "macOS:           brew install python@3.12" \
            "anywhere:        https://www.python.org/downloads, or 'uv python install 3.12'" \
            "then, if it is not called python3:  make PYTHON=/path/to/python lab"
    fi
    step 1/3 "virtual environment in $venv, with $("$python" --version)"
    mkdir -p "$(dirname "$venv")"
    if [ "$(free_mb "$(dirname "$venv")")" -lt $need_mb ]; then
        stop "only $(free_mb "$(dirname "$venv")") MB are free where $venv would go; about $need_mb MB are needed." \
            "Free some space, or put the environment on another disk:  make VENV=/other/disk/t2i-venv lab"
    fi
    if ! "$python" -m venv "$venv"; then
        rm -rf "$venv"
        stop "'$python -m venv' failed." \
            "Debian, Ubuntu:  sudo apt install python3-venv    (for another version: python3.12-venv)" \
            "then run the same command again."
    fi
else
    step 1/3 "virtual environment in $venv is there"
fi

case $extra in
    dev) cost="some minutes and 1.5 GB the first time, seconds afterwards" ;;
    parity) cost="the reference implementations for the tests, about 100 MB the first time" ;;
    *) cost="a minute or so the first time" ;;
esac
step 2/3 "installing the course and its tools (.[$extra]): $cost"
log=$venv/pip.log
rm -f "$log"
# --log keeps a copy to read when pip fails; the terminal still shows its progress bars
# shellcheck disable=SC2086
pip_install() { "$venv/bin/python" -m pip --disable-pip-version-check --log "$log" install ${PIP_ARGS:-} -c constraints.txt "$@"; }
# the authors' own code, for the parity notebooks: without its dependencies, some of which no longer install
references() {
    [ "$extra" = parity ] || return 0
    # shellcheck disable=SC2046
    pip_install --no-deps $("$venv/bin/python" -c "from configparser import ConfigParser as P; p = P(delimiters='='); p.read('settings.ini'); print(p['DEFAULT']['references'])")
}
if ! { pip_install -e ".[$extra]" && references; }; then
    again="Run the same command again: what was downloaded is kept."
    if grep -q 'No space left on device' "$log" || [ "$(free_mb "$venv")" -lt 200 ]; then
        stop "the disk is full ($(free_mb "$venv") MB free where $venv is)." \
            "Free some space, or:  rm -rf $venv; make VENV=/other/disk/t2i-venv lab" "$again"
    elif ! "$venv/bin/python" -m pip --retries 0 --timeout 15 download -q --no-deps --no-cache-dir -d "$venv/probe" setuptools >/dev/null 2>&1; then
        # setuptools is there for every Python and machine, so what is missing is the way to it
        stop "pip could not reach the package index." \
            "Check the network; behind a proxy, set HTTPS_PROXY=http://host:port; for another index, set PIP_INDEX_URL." "$again"
    fi
    rm -rf "$venv/probe"
    stop "pip failed; its last lines above say why, and $log has them all." \
        "'No matching distribution' for torch means that there is no build for this Python or machine: try Python 3.12." \
        "To start from nothing:  rm -rf $venv" "$again"
fi

step 3/3 "ready"
if [ "$extra" = dev ]; then
    # JupyterLab would ask a news server, and the learner, at every start, and cut long lines
    mkdir -p "$venv/share/jupyter/lab/settings"
    printf '%s\n' '{' \
        '"@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": false},' \
        '"@jupyterlab/notebook-extension:tracker": {"codeCellConfig": {"lineWrap": true}}' '}' \
        > "$venv/share/jupyter/lab/settings/overrides.json"
fi
