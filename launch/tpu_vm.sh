#!/usr/bin/env bash
# Trains on a TPU VM or pod slice: requests it, installs HEAD on all workers, trains, and goes on
# after preemptions until the run is finished. Run again, it finds the run and follows it.
#   bash launch/tpu_vm.sh train --name t1 --zone us-west4-a --type v5litepod-16 --spot \
#       --bucket BUCKET -- --config configs/covar_1b4.py --config.data.root=bucket/DATA \
#       --workdir=bucket/RUN
#   bash launch/tpu_vm.sh train ... --dry-run -- ...              only prints the commands
#   bash launch/tpu_vm.sh stop --name t1 --zone us-west4-a        saves and ends; end `train` first
#   bash launch/tpu_vm.sh delete --name t1 --zone us-west4-a      gives the machines back
# BUCKET is mounted as the folder bucket on all workers, which must have gcsfuse. The project is
# gcloud's (gcloud config set project NAME). Keep this command running, for example in tmux: it is
# what requests new machines. The long form is docs/cloud.md.
set -euo pipefail
cd "$(dirname "$0")/.."

fail() { echo "error: $1" >&2 && exit 2; }
need() { [ -n "${2:-}" ] || fail "launch/tpu_vm.sh: $1 needs a value; see --help"; }

verb=${1:-} name="" zone="" type="" bucket="" spot=() dry=""
case $verb in
  train | stop | delete) shift ;;
  -h | --help) sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0" && exit ;;
  *) fail "launch/tpu_vm.sh: '$verb': train, stop or delete; see --help" ;;
esac
while [ $# -gt 0 ]; do
  case $1 in
    --name) need "$@" && name=$2 && shift ;;
    --zone) need "$@" && zone=$2 && shift ;;
    --type) need "$@" && type=$2 && shift ;;
    --bucket) need "$@" && bucket=$2 && shift ;;
    --spot) spot=(--spot) ;;
    --dry-run) dry=yes ;;
    --) shift && break ;;
    *) fail "launch/tpu_vm.sh: $1: unknown argument; see --help (vidact.train's follow after --)" ;;
  esac
  shift
done
[ -n "$name" ] && [ -n "$zone" ] || fail "launch/tpu_vm.sh: --name and --zone are needed"

tpus() {
  local command=(gcloud compute tpus "$@" --zone="$zone")
  if [ -n "$dry" ]; then printf '%q ' "${command[@]}" && echo; else "${command[@]}"; fi
}
on() { tpus tpu-vm ssh "$name" --worker="$1" --command="$2"; }
state() {
  tpus queued-resources describe "$name" --format='value(state.state)' 2>/dev/null || echo ABSENT
}

case $verb in
  stop) on all "bash vidact/launch/detached.sh stop" && exit ;;
  delete) tpus queued-resources delete "$name" --force --quiet && exit ;;
esac

case $type in
  v4-*) runtime=tpu-ubuntu2204-base ;;
  v5litepod-*) runtime=v2-alpha-tpuv5-lite ;;
  v5p-*) runtime=v2-alpha-tpuv5 ;;
  v6e-*) runtime=v2-alpha-tpuv6e ;;
  *) fail "--type '$type': v4-N, v5litepod-N, v5p-N or v6e-N (N: cores of v4 and v5p, else chips)" ;;
esac
[ $# -gt 0 ] || fail "launch/tpu_vm.sh train: the arguments of vidact.train are missing after --"
[ -z "$(git status --porcelain)" ] || [ -n "$dry" ] \
  || fail "$PWD: uncommitted changes; commit them, for the machines get HEAD"

request() {
  tpus queued-resources create "$name" --node-id="$name" --accelerator-type="$type" \
    --runtime-version="$runtime" "${spot[@]}" --quiet
}

# Waits until the machines are there; those that were taken away are requested anew.
up() {
  local now
  while now=$(state) && [ "$now" != ACTIVE ]; do
    case $now in
      FAILED | SUSPENDED) tpus queued-resources delete "$name" --force --quiet ;;
      ABSENT) request ;;
      *) echo "vidact: $name: $now" >&2 && sleep 30 ;;
    esac
  done
}

# The code of this commit, its environment, the bucket and the run, on every worker.
start() {
  local run="bash vidact/launch/detached.sh start .venv/bin/python -m vidact.train"
  git archive --output="$scratch/vidact.tar.gz" HEAD \
    && tpus tpu-vm scp "$scratch/vidact.tar.gz" "$name:vidact.tar.gz" --worker=all \
    && on all "mkdir -p vidact && tar -xzf vidact.tar.gz -C vidact" \
    && on all "bash vidact/launch/machine.sh tpu" \
    && { [ -z "$bucket" ] || on all "mkdir -p vidact/bucket && { mountpoint -q vidact/bucket \
|| gcsfuse --implicit-dirs $(printf %q "$bucket") vidact/bucket; }"; } \
    && on all "$run$(printf ' %q' "$@")"
}

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
if [ -n "$dry" ]; then
  request && start "$@"
  exit
fi
while :; do
  up
  if ! on all "bash vidact/launch/detached.sh running" && ! start "$@"; then
    [ "$(state)" != ACTIVE ] || fail "$name: the run could not be started; see above"
    continue
  fi
  on 0 "bash vidact/launch/detached.sh follow" || true
  code=$(on 0 "bash vidact/launch/detached.sh code") || code=""
  case $code in
    0) echo "vidact: $name: finished; delete it: bash launch/tpu_vm.sh delete ..." && exit ;;
    75 | "") echo "vidact: $name: exit code '$code': preempted or out of reach; it goes on" >&2 ;;
    *) echo "error: $name: vidact.train failed with exit code $code; see above" >&2 && exit "$code" ;;
  esac
  sleep 60  # machines that are being taken away may still be ACTIVE for a moment
done
