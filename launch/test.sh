#!/usr/bin/env bash
# Installs what the tests need into a virtual environment, then runs the linter, the type checker
# and the tests.
#   bash launch/test.sh                   the default suite, in .venv
#   bash launch/test.sh --slow            also what takes longer
#   bash launch/test.sh --python 3.12     with another interpreter, in .venv-3.12
#   bash launch/test.sh --without torch   where no CPU build of PyTorch is to be had
#   bash launch/test.sh --extra gpu       with one more extra of setup.cfg
#   bash launch/test.sh tests/nn -k rope  other arguments go to pytest
set -euo pipefail
cd "$(dirname "$0")/.."
source launch/setup.sh

folder=.venv python="" extras=(metaworld sim torch text hdf5 video tpu convert wandb test) tests=()
while [ $# -gt 0 ]; do
  case $1 in
    --slow) extras+=(colab) tests+=(--slow) ;;
    --python) python=${2:?--python needs a version, for example 3.12} folder=.venv-${2##*/} && shift ;;
    --without)
      [ "${2:-}" = torch ] || { echo "error: --without ${2:-}: only torch can be left out" >&2; exit 2; }
      extras=("${extras[@]/torch/}") tests+=(--without-torch) && shift ;;
    --extra) extras+=("${2:?--extra needs a name, for example gpu}") && shift ;;
    -h | --help) sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0" && exit ;;
    *) tests+=("$1") ;;
  esac
  shift
done

started=$SECONDS
# shellcheck disable=SC2068  # unquoted: leaves out the empty place of torch
set_up "$folder" "$python" ${extras[@]} || exit
bin=$PWD/$folder/bin
echo "vidact: installed in $((SECONDS - started)) s; ruff, mypy and pytest follow"
failed=()
"$bin/ruff" check . || failed+=(ruff)
"$bin/mypy" || failed+=(mypy)
"$bin/python" -m pytest -n "${VIDACT_TEST_WORKERS:-2}" "${tests[@]}" || failed+=(pytest)
if [ ${#failed[@]} -gt 0 ]; then
  echo "error: ${failed[*]}: failed, see above" >&2
  exit 1
fi
