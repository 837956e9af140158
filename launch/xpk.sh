#!/usr/bin/env bash
# Trains on GKE through XPK (written for xpk 1.16.0), in a cluster that xpk has made.
#   bash launch/xpk.sh --cluster=C --workload=run1 --tpu-type=v5litepod-256 --docker-image=IMAGE \
#       --storage=STORAGE -- --config configs/covar_1b4.py --config.data.root=/bucket/DATA \
#       --workdir=/bucket/RUN
#   bash launch/xpk.sh ... --num-slices=2 --priority=high -- ...
#   bash launch/xpk.sh ... --dry-run -- ...       prints what xpk would do
# Before -- stand arguments of `xpk workload create`, behind it those of vidact.train. IMAGE is built
# from launch/Dockerfile; STORAGE is a bucket attached at /bucket (xpk storage attach). In a pod
# launch/restart.sh runs the trainer. A pod that is told to stop exits 75 and xpk's job set then
# starts all pods again, as it does on 42 and 127 to 255 (killed); on other codes the workload fails.
set -euo pipefail

case ${1:-} in -h | --help) sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0" && exit ;; esac
command -v xpk >/dev/null || { echo "error: xpk: not found; pip install xpk" >&2 && exit 2; }
mine=()
while [ $# -gt 0 ] && [ "$1" != -- ]; do
  mine+=("$1") && shift
done
if [ $# -lt 2 ]; then
  echo "error: launch/xpk.sh: the arguments of vidact.train are missing after --; see --help" >&2
  exit 2
fi
shift
# exec: xpk's shell sends SIGTERM to its child only. 120 s: time to save before SIGKILL follows.
exec xpk workload create "${mine[@]}" --restart-on-exit-codes=75 --max-restarts=1000 \
  --termination-grace-period-seconds=120 \
  --command="exec bash launch/restart.sh python -m vidact.train$(printf ' %q' "$@")"
