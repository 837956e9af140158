#!/usr/bin/env bash
# From robot episodes to a policy that acts: installs what it needs into .venv, then records
# demonstrations, trains on them, evaluates, exports and writes report.html.
#   bash launch/quickstart.sh
#   bash launch/quickstart.sh --out runs/second --config.seed=1
# Its arguments are those of python -m vidact.quickstart, which has a --help of its own.
set -euo pipefail
cd "$(dirname "$0")/.."
source launch/setup.sh
case ${1:-} in -h | --help) sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0" && exit ;; esac

started=$SECONDS
set_up .venv "" metaworld torch || exit
echo "vidact: installed in $((SECONDS - started)) s; starting python -m vidact.quickstart"
exec .venv/bin/python -m vidact.quickstart "$@"
