#!/usr/bin/env bash
# Installs vidact into .venv on a rented machine, with the extras that are named.
#   bash launch/machine.sh tpu
#   bash launch/machine.sh gpu video
# The images of TPU VMs bring Python 3.10: where no Python from 3.11 to 3.13 is found, uv fetches one.
set -euo pipefail
cd "$(dirname "$0")/.."
source launch/setup.sh
case ${1:-} in
  -h | --help) sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0" && exit ;;
  "") echo "error: launch/machine.sh: no extra; name tpu or gpu" >&2 && exit 2 ;;
esac

if [ ! -x .venv/bin/python ] && ! find_python "" >/dev/null 2>&1; then
  python3 -m pip install --quiet --user uv
  python3 -m uv venv --seed --python 3.12 .venv
fi
set_up .venv "" "$@"
