"""Coverage-guided fuzzing of everything that reads what others wrote (`python -m fuzz --help`).

`targets` what must hold for every input · `seeds` inputs to start from · `mutate` seeded mutations of
text and JSON · `run` libFuzzer by atheris. Only `run` needs atheris: a finding is replayed without.
"""
