#!/usr/bin/env bash
# Runs launch/slurm.sh on a real Slurm cluster of two nodes, both of them this machine.
#   apt-get install -y slurm-wlm munge && bash tests/launch/slurm_cluster.sh     about 4 minutes
#   PYTHON=.venv/bin/python bash tests/launch/slurm_cluster.sh                   with this JAX
# The trainer is a stand-in that exits as it is told; that JAX finds its processes is checked with
# JAX. Root's rights are needed. Everything lies in a temporary folder and is stopped at the end.
set -euo pipefail
cd "$(dirname "$0")/../.."
case ${1:-} in -h | --help) sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0" && exit ;; esac
for tool in munged slurmctld slurmd sbatch; do
  command -v "$tool" >/dev/null || { echo "error: $tool: apt-get install -y slurm-wlm munge" >&2 && exit 2; }
done

# The first node in alphabetical order is the coordinator, so its name is one that resolves.
root=$PWD python=$(realpath -s "${PYTHON:-.venv/bin/python}") host=$(hostname -s) dir=$(mktemp -d)
export SLURM_CONF=$dir/slurm.conf
chmod 755 "$dir" && mkdir -p "$dir/state" "$dir/submit/.venv/bin"
clean() {
  for file in "$dir"/*.pid; do kill "$(cat "$file")" 2>/dev/null || true; done
  sleep 3 && rm -rf "$dir"
}
trap clean EXIT

cat >"$SLURM_CONF" <<CONF
ClusterName=check
SlurmctldHost=$host
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=$dir/munge.sock,cred_expire=5
SlurmctldPort=36817
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool-%n
SlurmctldPidFile=$dir/ctld.pid
SlurmdPidFile=$dir/slurmd-%n.pid
SlurmctldLogFile=$dir/ctld.log
SlurmdLogFile=$dir/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
ReturnToService=2
NodeName=$host NodeHostname=$host NodeAddr=127.0.0.1 Port=36818
NodeName=z$host NodeHostname=$host NodeAddr=127.0.0.1 Port=36819
PartitionName=all Nodes=ALL Default=YES State=UP
CONF
(umask 077 && dd if=/dev/urandom of="$dir/munge.key" bs=128 count=1 status=none)
munged --force --key-file="$dir/munge.key" --socket="$dir/munge.sock" --seed-file="$dir/seed" \
  --pid-file="$dir/munged.pid" --log-file="$dir/munged.log"
slurmctld
for node in "$host" "z$host"; do slurmd -N "$node"; done
until [ "$(sinfo --noheader --format=%A)" = 0/2 ]; do
  sinfo --noheader --format=%A | grep -q '^2' && break
  sleep 1
done

# codes N M...: exits with the next at each start; wait: saves at SIGTERM, finishes the second time.
cat >"$dir/submit/.venv/bin/python" <<TRAINER
#!/usr/bin/env bash
shift 2 && file=starts-\$SLURM_JOB_ID-\$SLURM_PROCID && echo start >>"\$file"
starts=\$(wc -l <"\$file") verb=\$1 && shift
echo "task \$SLURM_PROCID start \$starts arguments\$(printf ' <%s>' "\$@")"
case \$verb in
  codes) exit "\${!starts}" ;;
  jax) exec "$python" -c 'import jax; jax.distributed.initialize()
print("jax process", jax.process_index(), "of", jax.process_count())' ;;
  wait)
    [ "\$starts" = 1 ] || exit 0
    trap 'sleep 2; echo saved; exit 75' TERM
    while :; do sleep 0.1; done ;;
esac
TRAINER
chmod +x "$dir/submit/.venv/bin/python"
cd "$dir/submit"

submit() { sbatch --parsable --nodes=2 "${options[@]}" "$root/launch/slurm.sh" "$@"; }
ended() {  # JOB STATE LINE COUNT: waits for the job's end; its log must have the line COUNT times
  local now found
  while now=$(scontrol show job "$1" | grep -o 'JobState=[A-Z]*') \
    && [[ $now =~ PENDING|RUNNING|COMPLETING ]]; do sleep 2; done
  found=$(grep -c -- "$3" "vidact-$1.log" || true)
  [ "$now" = "JobState=$2" ] && [ "$found" = "$4" ] && echo "ok: job $1: $2, '$3' $4 times" && return
  echo "error: job $1: $now, '$3' $found times, not $2, $4 times" >&2
  cat "vidact-$1.log" >&2 && exit 1
}
options=() && sbatch --test-only --nodes=2 "$root/launch/slurm.sh" codes 0
twice=$(submit codes 75 0 "two words" "don't") failed=$(submit codes 2 0)
jax=$(submit jax) told=$(submit wait)
options=(--time=4) && late=$(submit wait)  # its SIGTERM comes 180 s before the 4 minutes are up
ended "$failed" FAILED "failed with exit code 2" 1
ended "$jax" COMPLETED "jax process [01] of 2" 2
until grep -q "start 1" "vidact-$told.log" 2>/dev/null; do sleep 1; done
scancel --signal=TERM "$told"
ended "$twice" COMPLETED "<two words> <don't>" 4
ended "$told" COMPLETED "^saved" 2
ended "$late" COMPLETED "^saved" 2
