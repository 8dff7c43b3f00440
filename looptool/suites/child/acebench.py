"""One category of ACEBench from the user's clone: its own generate.py and eval_main.py, and what came out.

    python -E -s acebench.py job.json

Nothing in the clone is written or edited: the program works in its own folder, into which the category's
data is copied, and finds the clone's modules by the path. The policy is registered at run time as
`gpt-looptool` (the clone's API client wants `gpt` in a name), and that client is pointed at the policy's
socket. A request that fails becomes an answer that says so, where the clone would end the whole run.
"""

import contextlib
import json
import os
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import confine
from entries import ERROR, choose, has_failed, read_lines, write_outcome

VENDORS = ("google", "torch", "transformers", "vllm")
"""Packages that the clone imports for models other than ours."""
MODEL = "gpt-looptool"


def main() -> None:
    """Run the job of the file that the command line names."""
    job = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    confine.end_with_parent()
    confine.limit(job["memory_gib"], job["cpu_s"])
    clone, work = Path(job["clone"]), Path.cwd()
    category, language = job["category"], job["language"]
    entries = read_lines(clone / "data_all" / f"data_{language}" / f"data_{category}.json")
    chosen = choose(entries, job["limit"])
    labels = copy_data(clone, work, category, language, {entry["id"] for entry in chosen})
    sys.path[:0] = [str(clone)]
    confine.stub(VENDORS)
    register(job)
    confine.refuse_the_outside()
    run(clone / "generate.py", "--model", MODEL, "--category", category, "--language", language,
        "--temperature", "0.01", "--max-tokens", str(job["max_tokens"]), "--num-threads",
        str(job["threads"]))  # fmt: skip
    run(clone / "eval_main.py", "--model", MODEL, "--category", category, "--language", language)
    items = collect(work, category, language, chosen, labels)
    write_outcome(work, items, {"available": len(entries)})


def copy_data(
    clone: Path, work: Path, category: str, language: str, ids: set[str]
) -> dict[str, Any]:
    """The chosen questions and labels under the paths that the clone reads; ground truth by id."""
    labels = {}
    for below in (f"data_all/data_{language}", f"data_all/data_{language}/possible_answer"):
        (work / below).mkdir(parents=True, exist_ok=True)
        name = f"{below}/data_{category}.json"
        rows = [row for row in read_lines(clone / name) if row["id"] in ids]
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
        (work / name).write_text("".join(lines), "utf-8")
        labels = {row["id"]: row.get("ground_truth") for row in rows}
    return labels


def register(job: dict[str, Any]) -> None:
    """Make the policy one of the clone's models, with its own API client."""
    import openai

    client = confine.connect(job["socket"], job["request_timeout_s"])
    openai.OpenAI = lambda *_arguments, **_named: client  # type: ignore[assignment,misc]
    os.environ |= {"GPT_BASE_URL": "http://policy/v1", "GPT_API_KEY": "none",
                   "GPT_AGENT_API_KEY": "none", "GPT_AGENT_BASE_URL": "http://policy/v1"}  # fmt: skip
    from category import ACE_DATA_CATEGORY
    from model_inference.apimodel_inference import APIModelInference
    from model_inference.inference_map import inference_map

    class Policy(APIModelInference):  # type: ignore[misc]
        """The clone's API client, of which one failed request does not end the run."""

        def inference(self, *arguments: Any, **named: Any) -> Any:
            """The answer, or a line that says why there is none."""
            try:
                return super().inference(*arguments, **named) or ""
            except Exception as error:
                return f"{ERROR}: {error}"

    inference_map[MODEL] = Policy
    ACE_DATA_CATEGORY.setdefault(job["category"], [job["category"]])  # it knows groups alone


def run(script: Path, *arguments: str) -> None:
    """Run a script of the clone as its own command line would."""
    before = sys.argv
    sys.argv = [str(script), *arguments]
    try:
        with contextlib.suppress(SystemExit):
            runpy.run_path(str(script), run_name="__main__")
    finally:
        sys.argv = before


def collect(
    work: Path,
    category: str,
    language: str,
    chosen: list[dict[str, Any]],
    labels: dict[str, Any],
) -> Iterator[dict[str, Any]]:
    """An item a question: documents, label, answer, official verdict."""
    folder = work / "result_all" / f"result_{language}" / MODEL
    answers = {
        row["id"]: row["result"] for row in read_lines(folder / f"data_{category}_result.json")
    }
    scores = work / "score_all" / f"score_{language}" / MODEL / f"data_{category}_score.json"
    header, *failures = read_lines(scores)
    wrong = {row["id"]: row for row in failures if row.get("valid") is not True}
    # Of several accepted answers, the grader lists one as wrong although it has counted it as right.
    for key in [key for key in wrong if isinstance(labels.get(key), list)]:
        if len(chosen) - len(wrong) < header["correct_count"]:
            del wrong[key]
    for entry in chosen:
        key = entry["id"]
        answer, failure = answers[key], wrong.get(key)
        functions = entry.get("function", [])
        yield {
            "id": key,
            "functions": functions if isinstance(functions, list) else [functions],
            "label": labels.get(key),
            "answer": answer,
            "failed": has_failed(answer),
            "valid": failure is None,
            "why": str((failure or {}).get("error_type", ""))[:200],
            "reported": header.get("accuracy", header.get("end_to_end_accuracy")),
        }


if __name__ == "__main__":
    main()
