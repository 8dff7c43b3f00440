"""One category of BFCL in the environment of bfcl-eval: generate, grade, and say what came out.

    python -E -s bfcl.py job.json

The model is registered at run time with BFCL's own OpenAI handler, pointed at the policy's socket; generation
and grading are bfcl-eval's own functions, untouched. Fresh project root, one process: the grader keeps state
in module globals. Writes `items.jsonl`, a line an item with its documents and labels, the answer and the
official verdict, and `summary.json`. Understands the last v3 wheel (2025.8.6.2) and v4.
"""

import inspect
import json
import os
import sys
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import confine
from entries import choose, has_failed, read_lines, write_outcome

VENDORS = (
    "anthropic", "boto3", "botocore", "cohere", "databricks", "datamodel_code_generator", "faiss", "google",
    "huggingface_hub", "mistralai", "qwen_agent", "sentence_transformers", "serpapi", "sglang", "torch",
    "transformers", "vllm", "writerai",
)  # fmt: skip
"""Packages that bfcl-eval imports for models other than ours."""
MODEL = "looptool-policy-FC"
"""Name in bfcl-eval's registry: with an underscore the grader would look for another one."""


def main() -> None:
    """Run the job of the file that the command line names."""
    job = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    confine.end_with_parent()
    confine.limit(job["memory_gib"], job["cpu_s"])
    root = Path(os.environ["BFCL_PROJECT_ROOT"])
    confine.stub(VENDORS)
    from bfcl_eval import _llm_response_generation as generation
    from bfcl_eval.constants import model_config
    from bfcl_eval.eval_checker import eval_runner

    register(model_config, job)
    entries = load_entries(generation, job["category"])
    chosen = choose(entries, job["limit"])
    confine.refuse_the_outside()
    generate(generation, root, job, chosen)
    summary = grade(eval_runner, job["category"], {entry["id"] for entry in chosen})
    items = collect(root, job["category"], chosen, load_labels(generation, job["category"]))
    summary |= {"version": metadata.version("bfcl-eval"), "available": len(entries)}
    write_outcome(root, items, summary)


def register(model_config: Any, job: dict[str, Any]) -> None:
    """Make the policy one of bfcl-eval's models, with its own OpenAI handler."""
    from bfcl_eval.model_handler.api_inference.openai_completion import OpenAICompletionsHandler

    class PolicyHandler(OpenAICompletionsHandler):  # type: ignore[misc]
        """BFCL's handler with another client; `store` is a word of one vendor's."""

        def __init__(self, *arguments: Any, **named: Any) -> None:
            super().__init__(*arguments, **named)
            self.client = confine.connect(job["socket"], job["request_timeout_s"])

        def generate_with_backoff(self, **named: Any) -> Any:
            """One request."""
            named.pop("store", None)
            return super().generate_with_backoff(**named)

    model_config.MODEL_CONFIG_MAPPING[MODEL] = model_config.ModelConfig(
        model_name=MODEL,
        display_name=MODEL,
        url="",
        org="",
        license="",
        model_handler=PolicyHandler,
        is_fc_model=True,
        underscore_to_dot=True,
    )


def load_entries(generation: Any, category: str) -> list[dict[str, Any]]:
    """The category's questions with their function documents, in bfcl-eval's order."""
    if hasattr(generation, "load_dataset_entry"):
        found: list[dict[str, Any]] = generation.load_dataset_entry(category)
    else:
        found = generation.load_file(
            generation.PROMPT_PATH / generation.TEST_FILE_MAPPING[category]
        )
        found = generation.process_multi_turn_test_case(found)
    return sorted(found, key=generation.sort_key)


def load_labels(generation: Any, category: str) -> dict[str, Any]:
    """Ground truth by id; empty where a category has none."""
    from bfcl_eval.constants.category_mapping import VERSION_PREFIX
    from bfcl_eval.constants.eval_config import POSSIBLE_ANSWER_PATH

    file = POSSIBLE_ANSWER_PATH / f"{VERSION_PREFIX}_{category}.json"
    rows = generation.load_file(file) if file.is_file() else []
    return {row["id"]: row["ground_truth"] for row in rows}


def generate(
    generation: Any, root: Path, job: dict[str, Any], chosen: list[dict[str, Any]]
) -> None:
    """Ask the policy, as `bfcl generate --run-ids` does."""
    ids = {job["category"]: [entry["id"] for entry in chosen]}
    (root / "test_case_ids_to_generate.json").write_text(json.dumps(ids), "utf-8")
    generation.main(
        SimpleNamespace(
            model=[MODEL],
            test_category=[job["category"]],
            temperature=0.0,
            num_threads=job["threads"],
            result_dir=None,
            allow_overwrite=True,
            run_ids=job["limit"] is not None,
            include_input_log=False,
            exclude_state_log=True,
            skip_server_setup=True,
            num_gpus=1,
            gpu_memory_utilization=0.9,
            backend="vllm",
            local_model_path=None,
            enable_lora=False,
            max_lora_rank=None,
            lora_modules=None,
        )
    )


def grade(eval_runner: Any, category: str, ids: set[str]) -> dict[str, Any]:
    """Grade as `bfcl evaluate` does; v4 can grade a part by itself, v3 is shown that part alone."""
    partial = {}
    if "partial_eval" in inspect.signature(eval_runner.main).parameters:
        partial = {"partial_eval": True}
    else:
        load_file = eval_runner.load_file
        eval_runner.load_file = lambda *a, **n: [r for r in load_file(*a, **n) if r["id"] in ids]
    try:
        eval_runner.main([MODEL], [category], None, None, **partial)
    except (
        Exception
    ) as error:  # scores are written before the leaderboard, which wants whole benchmarks
        return {"table_error": f"{type(error).__name__}: {error}"[:300]}
    return {}


def collect(
    root: Path, category: str, chosen: list[dict[str, Any]], labels: dict[str, Any]
) -> list[dict[str, Any]]:
    """An item a question: documents, label, answer, official verdict."""
    results = {row["id"]: row for row in read_results(root / "result", category, "result")}
    header, *failures = read_results(root / "score", category, "score")
    wrong = {row["id"]: row for row in failures}
    reported = header["accuracy"]
    items = []
    for entry in chosen:
        key = entry["id"]
        answer = results[key]["result"]
        items.append(
            {
                "id": key,
                "functions": documents(entry),
                "turns": len(entry["question"]),
                "label": labels.get(key),
                "answer": answer,
                "failed": has_failed(answer),
                "valid": key not in wrong,
                "why": describe(wrong.get(key)),
                "reported": reported,
            }
        )
    return items


def documents(entry: dict[str, Any]) -> list[dict[str, Any]]:
    """Function documents, those that are handed out in a later turn included."""
    later = entry.get("missed_function") or {}
    more = [doc for docs in later.values() for doc in docs if isinstance(doc, dict)]
    return [*entry.get("function", []), *more]


def describe(failure: dict[str, Any] | None) -> str:
    """The grader's kind of error."""
    if failure is None:
        return ""
    error = failure.get("error")
    kind = failure.get("error_type") or (error.get("error_type") if isinstance(error, dict) else "")
    return str(kind or error)[:200]


def read_results(folder: Path, category: str, kind: str) -> list[dict[str, Any]]:
    """The one file of a category that bfcl-eval wrote below a folder."""
    (file,) = folder.rglob(f"BFCL_v?_{category}_{kind}.json")
    rows: list[dict[str, Any]] = read_lines(file)
    return rows


if __name__ == "__main__":
    main()
