#!/usr/bin/env bash
# Runs a command again for as long as it exits 75 (preempted, all saved). Every launcher does.
#   bash launch/restart.sh python -m vidact.train --config configs/covar_1b4.py --workdir=RUN
#   bash launch/restart.sh srun python -m vidact.train --config configs/covar_1b4.py --workdir=RUN
# SIGTERM and Ctrl-C reach the command as SIGTERM; what it exits with then is passed on, so that
# the scheduler above decides, and 75 where it died of it (143), nothing saved. Else 0 means
# finished, and any code but 75 is an error, not repeated.
set -euo pipefail

case ${1:-} in
  -h | --help) sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0" && exit ;;
  "") echo "error: launch/restart.sh: no command; see launch/restart.sh --help" >&2 && exit 2 ;;
esac

child="" told="" interrupted=""
# shellcheck disable=SC2329  # called by trap
stop() {
  told=yes interrupted=yes
  [ -z "$child" ] || kill -TERM "$child" 2>/dev/null || true
}
trap stop TERM INT

for ((start = 1; ; start++)); do
  "$@" &
  child=$!
  [ -z "$told" ] || kill -TERM "$child" 2>/dev/null || true  # told before there was a child
  code=0
  wait "$child" || code=$?
  # A signal ends `wait` before the command does, which then saves its checkpoint.
  while [ -n "$interrupted" ]; do
    interrupted="" code=0
    wait "$child" || code=$?
  done
  child=""
  [ "$code" = 75 ] && [ -z "$told" ] || break
  echo "vidact: exit code 75: preempted, all saved; start $((start + 1)) follows" >&2
  sleep 1  # a command that always exits 75 does not keep a core busy
  [ -z "$told" ] || break
done
[ -z "$told" ] || [ "$code" != 143 ] || code=early
case $code in
  0) ;;
  early)
    code=75
    echo "vidact: $1: was told to stop, and saved nothing; exit code 75 at start $start" >&2 ;;
  75) echo "vidact: $1: was told to stop, all saved; exit code 75 at start $start" >&2 ;;
  *) echo "error: $1: failed; exit code $code at start $start" >&2 ;;
esac
exit "$code"
