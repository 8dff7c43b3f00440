"""TRL and veRL on the same samples, reward, settings and number of steps: two reward curves.

    make engines
    python -m benchmarks.trainers [--steps 24] [--only trl]

Both start from the committed policy. The order of the prompts, the random numbers and the batching of
the update differ, so the curves may; what both must show is that the reward rises. A trainer whose curve
is in the JSON is not run again, and a veRL run that was killed resumes at its last checkpoint.
"""

import argparse
import asyncio
import json
from pathlib import Path
from typing import Any

from looptool.chat import AsgiTransport, Teacher
from looptool.config import SeedConfig, TeacherConfig, TrainConfig
from looptool.records import Kind, Sample, Split, StepMetrics
from looptool.seed import load_catalogue, simulate_dialogues
from looptool.simulator import create_app
from looptool.train import train_policy

BASE = Path("models/nano-base")
PROMPTS = 8
COLOURS = {"trl": "#0b6e99", "verl": "#c2410c"}
NAMES = {"trl": "TRL 1.16", "verl": "veRL 0.9.1"}
WIDTH, HEIGHT, MARGIN = 640, 300, 46


def draw_samples(count: int) -> list[Sample]:
    """Samples of the scripted expert, as the seed stage makes them: the shortest that want one call.

    The committed policy solves some of them always, some at times and some never.
    """
    config = SeedConfig(
        train_samples=8 * count, tools_min=2, tools_max=3, turns_max=2, self_consistency=False
    )

    async def run() -> list[Sample]:
        teaching = TeacherConfig(model="scripted-expert")
        async with Teacher(teaching, AsgiTransport(create_app(teaching.simulator))) as teacher:
            made = await simulate_dialogues(
                config,
                load_catalogue(),
                teacher,
                split=Split.TRAIN,
                target_samples=config.train_samples,
                random_seed=1,
            )
            return list(made.samples)

    single = [sample for sample in asyncio.run(run()) if sample.kind is Kind.SINGLE]
    return sorted(single, key=lambda s: len(str(s.chat())))[:count]


def make_config(trainer: str, steps: int) -> TrainConfig:
    """The same for both but for the name and what veRL needs."""
    return TrainConfig.model_validate(
        {
            "trainer": trainer,
            "verl_config": "laptop_cpu",
            "batch_size": PROMPTS,
            "group_size": 8,
            "epochs": steps,
            "learning_rate": 3e-4,
            "temperature": 1.3,
            "max_prompt_tokens": 768,
            "max_response_tokens": 96,
            "save_steps": 4,
            "timeout_s": 7200,
            "stall_timeout_s": 3600,
        }
    )


def train(trainer: str, steps: int, work: Path) -> dict[str, Any]:
    """One training, step by step."""

    def show(step: StepMetrics, total: int) -> None:
        print(f"{trainer} {step.step}/{total} reward {step.reward_mean:.3f}", flush=True)

    outcome = train_policy(
        draw_samples(PROMPTS),
        BASE.resolve(),
        work.resolve() / trainer,
        make_config(trainer, steps),
        random_seed=7,
        on_progress=show,
    )
    report = outcome.report
    return {
        "reward": [round(step.reward_mean, 4) for step in outcome.steps],
        "entropy": [step.entropy and round(step.entropy, 4) for step in outcome.steps],
        "step_seconds": [round(step.seconds, 2) for step in outcome.steps],
        "seconds": round(report.seconds, 1),
        "rollouts": report.rollouts,
        "generated_tokens": report.generated_tokens,
        "resumed_from": report.resumed_from,
    }


def draw_curves(found: dict[str, Any]) -> str:
    """The reward by step, as SVG."""
    steps = found["steps"]
    across, up = WIDTH - 2 * MARGIN, HEIGHT - 2 * MARGIN

    def place(step: int, reward: float) -> str:
        x = MARGIN + across * (step - 1) / max(1, steps - 1)
        return f"{x:.1f},{HEIGHT - MARGIN - up * reward:.1f}"

    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
    ]
    for tick in range(0, 11, 2):
        y = HEIGHT - MARGIN - up * tick / 10
        lines += [
            f'<line x1="{MARGIN}" y1="{y:.1f}" x2="{WIDTH - MARGIN}" y2="{y:.1f}" stroke="#ddd"/>',
            f'<text x="{MARGIN - 8}" y="{y + 4:.1f}" text-anchor="end">{tick / 10:.1f}</text>',
        ]
    for step in (1, *range(4, steps + 1, 4)):
        x = place(step, 0).partition(",")[0]
        lines.append(f'<text x="{x}" y="{HEIGHT - MARGIN + 16}" text-anchor="middle">{step}</text>')
    lines.append(f'<text x="{WIDTH / 2}" y="{HEIGHT - 10}" text-anchor="middle">step</text>')
    lines.append(f'<text x="{MARGIN}" y="20">mean reward of the rollouts of a step</text>')
    trainers = [name for name in COLOURS if name in found["curves"]]
    for number, name in enumerate(trainers):
        rewards = found["curves"][name]["reward"]
        points = " ".join(place(step, reward) for step, reward in enumerate(rewards, 1))
        colour, y = COLOURS[name], HEIGHT - MARGIN - 14 - 18 * number
        lines += [
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>',
            f'<text x="{WIDTH - MARGIN - 6}" y="{y}" text-anchor="end" fill="{colour}">'
            f"{NAMES[name]}</text>",
        ]
    return "\n".join([*lines, "</svg>", ""])


def main() -> None:
    """Command line of the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--only", choices=tuple(COLOURS))
    parser.add_argument("--work", type=Path, default=Path(".looptool/trainers"))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/trainers.json"))
    parser.add_argument("--picture", type=Path, default=Path("docs/trainers.svg"))
    options = parser.parse_args()
    found: dict[str, Any] = {"steps": options.steps, "prompts": PROMPTS, "curves": {}}
    if options.out.is_file():
        known = json.loads(options.out.read_text(encoding="utf-8"))
        if (known["steps"], known["prompts"]) == (options.steps, PROMPTS):
            found = known
    options.work.mkdir(parents=True, exist_ok=True)
    for trainer in (options.only,) if options.only else COLOURS:
        if trainer not in found["curves"]:
            found["curves"][trainer] = train(trainer, options.steps, options.work)
            options.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    options.picture.write_text(draw_curves(found), encoding="utf-8")
    for name, curve in found["curves"].items():
        first, last = sum(curve["reward"][:5]) / 5, sum(curve["reward"][-5:]) / 5
        print(f"{name}: reward {first:.3f} -> {last:.3f} (means of 5 steps), {curve['seconds']} s")


if __name__ == "__main__":
    main()
