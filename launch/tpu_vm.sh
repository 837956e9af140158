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
remove() { tpus queued-resources delete "$name" --force --quiet; }
there() { [ -n "$dry" ] || command -v gcloud >/dev/null || fail "gcloud: not found; install it"; }

case $verb in
  stop) there && on all "bash vidact/launch/detached.sh stop" && exit
    fail "$name in $zone: gcloud could not stop the run on every worker; see above" ;;
  delete) there && remove && exit
    fail "$name in $zone: gcloud could not delete it; see above" ;;
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
there
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
pause=30 outage=60 most=3  # seconds; pauses until gcloud answers; attempts at what it refuses

# What has become of the request, ABSENT where there is none. An outage of gcloud says neither.
state() {
  local try told
  for ((try = 1; try <= outage; try++)); do
    tpus queued-resources describe "$name" --format='value(state.state)' 2>"$scratch/told" && return
    ! grep -Eq 'NOT_FOUND|Not Found|\] not found' "$scratch/told" || { echo ABSENT && return; }
    told=$(grep -m 1 ERROR "$scratch/told" || head -n 1 "$scratch/told")
    echo "vidact: $name: gcloud does not answer, $try of $outage times: $told" >&2
    sleep "$pause"
  done
  fail "$name: gcloud does not answer: $told; once it does, run this command again"
}

request() {
  tpus queued-resources create "$name" --node-id="$name" --accelerator-type="$type" \
    --runtime-version="$runtime" "${spot[@]}" --quiet
}

# Waits until the machines are there; those that were taken away are requested anew.
up() {
  local now refused=0
  while now=$(state) || exit; [ "$now" != ACTIVE ]; do
    case $now in
      FAILED | SUSPENDED) remove || refused=$((refused + 1)) ;;
      ABSENT) request || refused=$((refused + 1)) ;;
      *) refused=0 && echo "vidact: $name: $now" >&2 ;;
    esac
    [ "$refused" -lt "$most" ] \
      || fail "$name: $now; gcloud refused $most times to change it; see above"
    sleep "$pause"
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

if [ -n "$dry" ]; then
  request && start "$@"
  exit
fi
failed=0
while :; do
  up
  if ! on all "bash vidact/launch/detached.sh running" && ! start "$@"; then
    failed=$((failed + 1))
    [ "$failed" -lt "$most" ] \
      || fail "$name: the run could not be started, $failed times; see above"
    sleep "$pause"
    continue
  fi
  failed=0
  on 0 "bash vidact/launch/detached.sh follow" || true
  code=$(on 0 "bash vidact/launch/detached.sh code") || code=""
  [ "$code" != 0 ] || break
  echo "vidact: $name: exit code '$code' (none: out of reach); are the machines there?" >&2
  sleep 60  # those that are being taken away may still be ACTIVE for a moment
  # Where machines are lost, the others end with any code.
  now=$(state) || exit
  [ "$now" = ACTIVE ] && [ -n "$code" ] && [ "$code" != 75 ] || continue
  echo "error: $name: vidact.train failed with exit code $code; see above" >&2 && exit "$code"
done
echo "vidact: $name: finished; delete it: bash launch/tpu_vm.sh delete ..."
