"""Tools made up along the dual tree (method, section 2).

    context tree ── one path ──┐
                               ├── prompt ── teacher ── normalise ── rules of BOTH paths ── tools
    constraint tree ── path ───┘

`trees` the two data files · `conform` the rules · `synthesise` many, until there are enough. The
paper publishes neither its trees nor its checks; here the trees are files that anyone can replace,
and a tool that does not conform is kept as a rejection with the rule's name.
"""

from looptool.seed.synthetic.conform import CONFORMITY_RULES, Breach, find_breaches
from looptool.seed.synthetic.synthesise import (
    SyntheticOutcome,
    SyntheticReport,
    synthesise_tools,
)
from looptool.seed.synthetic.trees import (
    ConstraintPath,
    ConstraintTree,
    ContextPath,
    ContextTree,
    load_constraint_tree,
    load_context_tree,
)

__all__ = [
    "CONFORMITY_RULES",
    "Breach",
    "ConstraintPath",
    "ConstraintTree",
    "ContextPath",
    "ContextTree",
    "SyntheticOutcome",
    "SyntheticReport",
    "find_breaches",
    "load_constraint_tree",
    "load_context_tree",
    "synthesise_tools",
]
