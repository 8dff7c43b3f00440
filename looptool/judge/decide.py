"""From votes to a verdict: an explicit rule, and no verdict where the votes do not agree.

Unlike the released code, which asks once with the label first, a verdict must be carried by both
orders. What the votes do not agree on is `unjudged`; there is no fifth verdict and no default.
"""

from collections import Counter
from collections.abc import Sequence

from looptool.config import JudgeConfig
from looptool.judge.pairs import Pair, RuleCheck
from looptool.records import Judgement, Label, Verdict4, Vote


def decide_verdict(votes: Sequence[Vote], config: JudgeConfig) -> tuple[Verdict4 | None, str]:
    """The verdict that the readable votes agree on, or None and why there is none.

    It needs more than `agreement_rate` of the readable votes (by default of one or two all, of more
    of them more than two thirds) and a lead of `margin`; with both orders asked, a vote in each
    order must carry it.
    """
    readable = [vote for vote in votes if vote.verdict != "unreadable"]
    if not readable:
        return None, "no readable vote"
    if config.both_orders and len({vote.label_first for vote in readable}) < 2:
        return None, "no readable vote in one of the two orders"
    counts = Counter(vote.verdict for vote in readable)
    (verdict, most), *others = counts.most_common(2)
    agreed = most > config.agreement_rate * len(readable) + 1e-9
    leads = most - (others[0][1] if others else 0) >= config.margin
    carriers = {vote.label_first for vote in readable if vote.verdict == verdict}
    carried = len(carriers) == 2 or not config.both_orders
    if verdict == "unreadable" or not (agreed and leads and carried):
        spread = ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
        return None, f"the votes disagree: {spread}"
    return verdict, ""


def judge_pair(
    pair: Pair, votes: tuple[Vote, ...], config: JudgeConfig, rule_check: RuleCheck
) -> Judgement:
    """The judgement of one pair; a replacing label is proposed here and applied elsewhere.

    A prediction that breaks the rules cannot be right, whatever the votes say: such a verdict is set
    aside.
    """
    problem = pair.trouble or "; ".join(rule_check(pair.sample, pair.predicted))
    verdict, note = decide_verdict(votes, config)
    first = next((vote for vote in votes if vote.verdict == verdict), None)
    proposed: Label | None = None
    set_aside = bool(problem) and verdict in ("LABEL_WRONG", "BOTH_CORRECT")
    if set_aside:
        note = f"{verdict} set aside: {problem}"
    elif verdict == "LABEL_WRONG":
        words = "" if pair.predicted.calls else pair.predicted.text
        proposed = Label(calls=pair.predicted.calls, text=words)
    return Judgement(
        sample_id=pair.sample.sample_id,
        verdict="unjudged" if verdict is None or set_aside else verdict,
        votes=votes,
        predicted=pair.predicted,
        error_type=first.error_type if first else "",
        error_analysis=first.error_analysis if first else "",
        right_approach=first.right_approach if first else "",
        proposed_label=proposed,
        marked=pair.marked,
        sound=not problem,
        note=note,
    )
