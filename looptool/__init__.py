"""LoopTool: train small models to call tools, by letting the data and the model improve each other.

The library knows nothing of Prefect: `flows/` and `tasks/` in the repository are thin layers over
it. Importing this package loads no torch, transformers, ray, vllm or prefect.
"""

__version__ = "0.1.0"
