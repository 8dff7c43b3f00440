"""A tiny clone with ACEBench's layout: its folders, its modules, its command lines, our own items.

The grader is of our own making and simpler than the real one; what it shares with it is where files lie,
what is in them, and that text which it cannot read counts as wrong.
"""

import json
import subprocess
from pathlib import Path

NAMES = ("Ann", "Bob", "Cid", "Dee", "Eve", "Flo")
FUNCTION = {
    "name": "Diary.greet",
    "description": "Greet somebody.",
    "arguments": {
        "type": "object",
        "properties": {"name": {"type": "string"}, "times": {"type": "int"}},
        "required": ["name"],
    },
    "results": {"type": "object"},
}
CATEGORY = (
    'ACE_DATA_CATEGORY = {"normal": ["normal_atom_bool"], "special": ["special_irrelevant"]}\n'
)
INFERENCE_MAP = """
import google.generativeai as genai
from vllm import LLM, SamplingParams
from model_inference.apimodel_inference import APIModelInference

inference_map = {"gpt-4o": APIModelInference}
"""
API = """
import os
from openai import OpenAI


class APIModelInference:
    def __init__(self, model_name, model_path, temperature, top_p, max_tokens, turns, user, language):
        if "gpt" in model_name:
            base_url = os.getenv("GPT_BASE_URL")
        self.client = OpenAI(base_url=base_url, api_key=os.getenv("GPT_AGENT_API_KEY"))
        self.model_name, self.temperature, self.max_tokens = model_name, temperature, max_tokens

    def inference(self, question, functions, time, profile, test_case, id):
        messages = [{"role": "system", "content": str(functions)}, {"role": "user", "content": question}]
        answer = self.client.chat.completions.create(
            messages=messages, model=self.model_name, temperature=self.temperature,
            max_tokens=self.max_tokens,
        )
        return answer.choices[0].message.content
"""
GENERATE = """
import argparse, json, os
from model_inference.inference_map import inference_map
from category import ACE_DATA_CATEGORY

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    for name in ("--model", "--category"):
        parser.add_argument(name, nargs="+")
    parser.add_argument("--temperature", type=float, default=0.7)
    parser.add_argument("--max-tokens", type=int)
    parser.add_argument("--num-threads", type=int)
    parser.add_argument("--language")
    args = parser.parse_args()
    (model,) = args.model
    for category in [name for group in args.category for name in ACE_DATA_CATEGORY[group]]:
        folder = f"./result_all/result_{args.language}/{model}"
        os.makedirs(folder, exist_ok=True)
        for line in open(f"./data_all/data_{args.language}/data_{category}.json", encoding="utf-8"):
            case = json.loads(line)
            asked = inference_map[model](model, None, args.temperature, 1, args.max_tokens, 40, "", "en")
            result = asked.inference(case["question"], case["function"], "", "", case, case["id"])
            with open(f"{folder}/data_{category}_result.json", "a+", encoding="utf-8") as file:
                file.write(json.dumps({"id": case["id"], "result": result}) + "\\n")
"""
EVAL_MAIN = """
import argparse, json, os

def read(path):
    return [json.loads(line) for line in open(path, encoding="utf-8")]

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    for name in ("--model", "--category"):
        parser.add_argument(name, nargs="+")
    parser.add_argument("--language", default="zh")
    args = parser.parse_args()
    (model,), (category,), language = args.model, args.category, args.language
    results = read(f"./result_all/result_{language}/{model}/data_{category}_result.json")
    labels = read(f"./data_all/data_{language}/possible_answer/data_{category}.json")
    assert len(results) == len(labels), "please check the input files for completeness"
    wrong = []
    for result, label in zip(results, labels):
        text, truth = result["result"], label["ground_truth"]
        if category.startswith("special"):
            valid = "the limitations of the function" in text
        else:
            ((name, arguments),) = truth.items()
            valid = f"{name}(" in text and str(arguments["name"]) in text  # numbers are never compared
        if not valid:
            wrong.append({"id": result["id"], "valid": False, "error": ["?"], "error_type": "value_error"})
    header = {"accuracy": 1 - len(wrong) / len(results), "correct_count": len(results) - len(wrong),
              "total_count": len(results)}
    folder = f"./score_all/score_{language}/{model}"
    os.makedirs(folder, exist_ok=True)
    with open(f"{folder}/data_{category}_score.json", "w", encoding="utf-8") as file:
        file.write("\\n".join(json.dumps(row) for row in [header, *wrong]))
"""


def make_clone(folder: Path) -> tuple[Path, str]:
    """The clone and its commit."""
    files = {
        "category.py": CATEGORY,
        "generate.py": GENERATE,
        "eval_main.py": EVAL_MAIN,
        "model_inference/inference_map.py": INFERENCE_MAP,
        "model_inference/apimodel_inference.py": API,
    }
    for category in ("normal_atom_bool", "special_irrelevant"):
        rows = [
            {"id": f"{category}_{n}", "question": f"user: greet {name} {n + 1} times", "time": "",
             "function": [FUNCTION]}
            for n, name in enumerate(NAMES)
        ]  # fmt: skip
        truth = [
            {"id": row["id"], "ground_truth": {"Diary.greet": {"name": name, "times": n + 1}}}
            for n, (row, name) in enumerate(zip(rows, NAMES, strict=True))
        ]
        files[f"data_all/data_en/data_{category}.json"] = _lines(rows)
        files[f"data_all/data_en/possible_answer/data_{category}.json"] = _lines(truth)
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    git = ["git", "-C", str(folder), "-c", "user.name=t", "-c", "user.email=t@example.org"]
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "all"]):
        subprocess.run([*git, *command], check=True)
    done = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    return folder, done.stdout.strip()


def _lines(rows: list[dict[str, object]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)
