"""Does the policy look? The quickstart's training on stock and wide starts, beside controls.

Examples:
  python tests/benchmarks/does_it_look.py --out runs/does_it_look
  python tests/benchmarks/does_it_look.py --out runs/short --steps 800 --starts wide

Each control is trained for the same number of steps on the same data:
  no images   every video is coded as zeros, in training and in the simulator
  no video    the video is never denoised: no video loss, its later frames stay noise; the video
              stream only encodes the first frame for the actions
  no text     every instruction is empty
Then n = 50 fresh starts a task, which no other measurement uses. Prints one line per training, then
whether the joint training stands 30 points above the one without images on wide starts, and on
stock starts at 95, 90 and 90 %; exits with code 1 where it does not. A training that is in --out
already is not repeated. On two cores one of 1,800 steps takes about 8 minutes.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys

from tqdm import tqdm

ROOT = pathlib.Path(__file__).resolve().parents[2]
STOCK_AIMS = {"drawer-open": 0.95, "window-open": 0.90, "button-press": 0.90}
LOOKING_AIM = 0.30
FRESH = 10_000  # first of the fresh starts among the held-out seeds
VARIANTS = {
    "joint": [],
    "no images": ["--config.encoder.blind=True"],
    "no video": [
        "--config.train.loss_weights.video=0.0",
        "--config.model.mode_share=1.0",
        "--config.model.policy_share=1.0",
    ],
    "no text": ["--config.data.instruction_key="],
}


def main() -> None:
    """Records, trains, evaluates and prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("runs/does_it_look"))
    parser.add_argument("--steps", type=int, default=1800)
    parser.add_argument("--episodes", type=int, default=200, help="demonstrations per task")
    parser.add_argument("--rollouts", type=int, default=50, help="fresh starts per task")
    parser.add_argument("--starts", default="wide,stock")
    parser.add_argument("--variants", default=",".join(VARIANTS))
    args = parser.parse_args()
    args.out = args.out.absolute()
    jobs = [(s, v) for s in args.starts.split(",") for v in args.variants.split(",")]
    results: dict[str, dict[str, float]] = {}
    for starts, variant in tqdm(jobs, desc="trainings"):
        results[f"{starts}, {variant}"] = measure(args, starts, variant)
        tqdm.write(line(f"{starts}, {variant}", results[f"{starts}, {variant}"]))
        (args.out / "results.json").write_text(json.dumps(results, indent=2) + "\n")
    print("\n".join(line(name, row) for name, row in results.items()))
    sys.exit(0 if judge(results) else 1)


def judge(results: dict[str, dict[str, float]]) -> bool:
    """Prints the aims beside what was reached, as far as it was measured."""
    good = True
    if {"wide, joint", "wide, no images"} <= results.keys():
        gain = results["wide, joint"]["mean"] - results["wide, no images"]["mean"]
        good &= gain >= LOOKING_AIM
        print(f"wide, points above no images: {100 * gain:.0f} (aim {100 * LOOKING_AIM:.0f})")
    for task, aim in STOCK_AIMS.items() if "stock, joint" in results else ():
        good &= results["stock, joint"][task] >= aim
        print(f"stock, {task}: {results['stock, joint'][task]:.2f} (aim {aim:.2f})")
    return good


def measure(args: argparse.Namespace, starts: str, variant: str) -> dict[str, float]:
    """Success per task, and the mean, of one training."""
    data = args.out / "data" / f"metaworld_{starts}" / "1.0.0"
    run = args.out / f"{starts}-{variant.replace(' ', '-')}"
    config = str(ROOT / "configs/quickstart.py")
    call("demos", f"--out={data}", "--config", config, f"--config.demos.starts={starts}",
         f"--config.demos.episodes={args.episodes}")  # fmt: skip
    call("train", "--config", config, f"--workdir={run}",
         f"--config.data.root={data}", f"--config.train.steps={args.steps}",
         *VARIANTS[variant])  # fmt: skip
    if not (run / "evaluation.json").exists():
        call("evaluate", f"--checkpoint={run}", f"--config.evaluate.starts={starts}",
             f"--config.evaluate.rollouts={args.rollouts}",
             f"--config.evaluate.seed={FRESH}")  # fmt: skip
    found = json.loads((run / "evaluation.json").read_text())
    rates = {task["task"]: task["success"] / task["rollouts"] for task in found["tasks"]}
    return rates | {"mean": found["mean_success"]}


def call(name: str, *options: str) -> None:
    """Runs a command of vidact; its output goes to the screen."""
    environment = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1", **os.environ}
    line = [sys.executable, "-m", f"vidact.{name}", *options]
    subprocess.run(line, check=True, cwd=ROOT, env=environment)


def line(name: str, rates: dict[str, float]) -> str:
    """`wide, joint: drawer-open 0.96 ... mean 0.89`."""
    return f"{name}: " + " ".join(f"{task} {rate:.2f}" for task, rate in rates.items())


if __name__ == "__main__":
    main()
