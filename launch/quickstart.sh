#!/usr/bin/env bash
# From robot episodes to a policy that acts: installs what it needs into .venv, then records
# demonstrations, trains on them, evaluates, exports and writes report.html.
#   bash launch/quickstart.sh [arguments of python -m vidact.quickstart, for example --help]
set -euo pipefail
cd "$(dirname "$0")/.."
source launch/setup.sh

started=$SECONDS
set_up .venv "" metaworld torch || exit
echo "vidact: installed in $((SECONDS - started)) s; starting python -m vidact.quickstart"
exec .venv/bin/python -m vidact.quickstart "$@"
