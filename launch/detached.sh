#!/usr/bin/env bash
# Runs a command that outlives the ssh session that started it; launch/tpu_vm.sh uses it on workers.
#   bash launch/detached.sh start COMMAND...   starts it, unless one runs
#   bash launch/detached.sh running            exits 0 while it runs, else 1
#   bash launch/detached.sh follow             shows its output until it ends
#   bash launch/detached.sh code               prints what it exited with, nothing where it has not
#   bash launch/detached.sh stop               sends it SIGTERM, where it runs
# It keeps run.pid, run.log and run.code in the repository's root.
set -euo pipefail
cd "$(dirname "$0")/.."

running() { [ -s run.pid ] && kill -0 "$(cat run.pid)" 2>/dev/null; }

verb=${1:-}
[ $# -eq 0 ] || shift
case $verb in
  start)
    [ $# -gt 0 ] || { echo "error: launch/detached.sh start: no command" >&2 && exit 2; }
    running && exit
    rm -f run.code run.pid
    # The id is that of restart.sh, which SIGTERM is for; its parent stays to note the exit code.
    # shellcheck disable=SC2016  # for the inner shell
    setsid nohup bash -c 'bash launch/restart.sh "$@" & echo $! >run.pid
      code=0; wait $! || code=$?; echo "$code" >run.code.new && mv run.code.new run.code' \
      detached "$@" >run.log 2>&1 </dev/null &
    until [ -s run.pid ]; do sleep 0.1; done ;;
  running) running ;;
  follow)
    [ -s run.pid ] || { echo "error: $PWD: nothing was started here" >&2 && exit 2; }
    tail -n 100 -F run.log --pid="$(cat run.pid)" 2>/dev/null
    for _ in {1..50}; do [ ! -e run.code ] || break; sleep 0.1; done ;;  # written a moment later
  code) [ ! -e run.code ] || cat run.code ;;
  stop)
    running || { echo "vidact: $PWD: nothing runs here" >&2 && exit; }
    kill -TERM "$(cat run.pid)" ;;
  -h | --help) sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0" ;;
  *) echo "error: launch/detached.sh: '$verb': start, running, follow, code or stop" >&2 && exit 2 ;;
esac
