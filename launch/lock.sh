#!/usr/bin/env bash
# Solves launch/locks/<python>.txt from setup.cfg, all extras together; versions that still fit stay.
#   bash launch/lock.sh               after a change to setup.cfg
#   bash launch/lock.sh --upgrade     to move to the newest versions
#   bash launch/lock.sh --upgrade-package jax
set -euo pipefail
cd "$(dirname "$0")/.."

uv=(python3 -m uv)
if ! python3 -m uv --version >/dev/null 2>&1; then
  scratch=$(mktemp -d)
  trap 'rm -rf "$scratch"' EXIT
  echo "vidact: installing uv into a scratch folder"
  python3 -m venv "$scratch"
  "$scratch/bin/pip" install --quiet uv
  uv=("$scratch/bin/python" -m uv)
fi

for python in 3.11 3.12 3.13; do
  lock=launch/locks/$python.txt
  echo "vidact: solving $lock"
  "${uv[@]}" pip compile --quiet --config-file launch/locks/uv.toml --all-extras \
    --python-version "$python" --python-platform x86_64-manylinux_2_36 --no-annotate --no-header \
    --no-emit-index-url --output-file "$lock" "$@" setup.cfg launch/locks/also.in
done
