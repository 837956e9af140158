#!/usr/bin/env bash
# Trains on a Slurm allocation: one process a node, which uses all GPUs of the node.
#   sbatch --nodes=2 --gpus-per-node=8 --cpus-per-task=96 --time=24:00:00 launch/slurm.sh \
#       --config configs/covar_1b4.py --config.data.root=DIR --workdir=RUN
#   sbatch --nodes=1 --gpus-per-node=1 --cpus-per-task=12 --partition=NAME launch/slurm.sh ...
# Submit from the repository's root, where .venv holds the extra gpu. DIR and RUN lie on a file
# system that all nodes share. All tasks get SIGTERM 180 s before the time is up, where the job is
# preempted, and by scancel --signal=TERM ID. They save a checkpoint and exit 75; the job then goes
# back into the queue and continues the run. scancel ID ends it.
#SBATCH --job-name=vidact
#SBATCH --output=vidact-%j.log
#SBATCH --open-mode=append
#SBATCH --ntasks-per-node=1
#SBATCH --requeue
#SBATCH --signal=TERM@180
set -euo pipefail

case ${1:-} in -h | --help) sed -n '2,/^#SBATCH/{/^# /s/^# //p}' "$0" && exit ;; esac
if [ -z "${SLURM_JOB_ID:-}" ]; then
  echo "error: launch/slurm.sh: no Slurm job; submit it: sbatch --nodes=N launch/slurm.sh ..." >&2
  exit 2
fi
cd "$SLURM_SUBMIT_DIR"  # Slurm runs a copy of this file, which lies elsewhere
if [ ! -x .venv/bin/python ]; then
  echo "error: $PWD: no .venv/bin/python; submit from the repository's root, once it is installed" >&2
  exit 2
fi
# Slurm's own detection in JAX gives a task a single GPU; this task is to have the node's.
if [ "${SLURM_GPUS_ON_NODE:-0}" -gt 0 ]; then
  JAX_LOCAL_DEVICE_IDS=$(seq -s, 0 $((SLURM_GPUS_ON_NODE - 1)))
  export JAX_LOCAL_DEVICE_IDS
fi

# --wait: once a task has ended, the others have this many seconds to end by themselves.
code=0
srun --kill-on-bad-exit=0 --wait=120 \
  ${SLURM_CPUS_PER_TASK:+--cpus-per-task="$SLURM_CPUS_PER_TASK"} \
  .venv/bin/python -m vidact.train "$@" || code=$?
case $code in
  0) echo "vidact: job $SLURM_JOB_ID: finished" ;;
  75)
    echo "vidact: job $SLURM_JOB_ID: preempted, all saved; it goes back into the queue"
    scontrol requeue "$SLURM_JOB_ID" ;;
  *) echo "error: job $SLURM_JOB_ID: vidact.train failed with exit code $code; see above" >&2 ;;
esac
exit "$code"
