# shellcheck shell=bash
# Sourced by quickstart.sh and test.sh: makes a virtual environment and installs into it.

# The first interpreter that runs and has a lock: $1 (a version such as 3.12, or a path) where given.
find_python() {
  local candidate candidates=(python3 python3.11 python3.12 python3.13)
  if [ -n "${1:-}" ]; then
    # A pyenv shim may exist and yet not run, so its installed versions are looked at too.
    candidates=("$1" "python$1" "${PYENV_ROOT:-$HOME/.pyenv}/versions/$1".*/bin/python3)
  fi
  for candidate in "${candidates[@]}"; do
    if "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' \
        >/dev/null 2>&1; then
      command -v "$candidate"
      return
    fi
  done
  echo "error: python${1:-3}: no such interpreter among Python 3.11 to 3.13; install it" \
    "(apt-get install -y python3 python3-venv) or name another with launch/test.sh --python" >&2
  return 2
}

# set_up FOLDER INTERPRETER EXTRA...: FOLDER becomes a virtual environment that holds the extras.
set_up() {
  local folder=$1 wish=$2 python
  shift 2
  if [ ! -x "$folder/bin/python" ] || ! "$folder/bin/python" -m pip --version >/dev/null 2>&1; then
    python=$(find_python "$wish") || return
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
      echo "error: $python cannot make virtual environments; run: apt-get install -y python3-venv" >&2
      return 2
    fi
    echo "vidact: making $folder with $("$python" --version)"
    "$python" -m venv "$folder" || return 2
  fi
  "$folder/bin/python" launch/install.py "$@"
}
