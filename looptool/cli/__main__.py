"""`python -m looptool.cli`: the command line where its script is not on the path."""

from looptool.cli import app

app(prog_name="looptool")
