"""Does closing the loop beat static training? Arms, seeds and sweeps, measured round by round.

    python -m benchmarks.closed_loop                   # every run of the plan; killed, it goes on
    python -m benchmarks.closed_loop --list            # which runs are finished
    python -m benchmarks.closed_loop --page            # docs/evidence.md from the rows
    python -m benchmarks.closed_loop --gradients       # which groups carried one, from the store
    python -m benchmarks.closed_loop --verify loop 0   # one run again in a fresh store
    python -m benchmarks.closed_loop --rehearse        # the plan without training, in minutes

The stages are the real ones, called without a Prefect server, at the sizes of the laptop profile and with its
small policy and noisy scripted teacher. All runs of a seed share one campaign: an artifact is named by what it
was made from, so the seed phase, M_0's answers and round 1 exist once, and a run that was killed goes on
after its last finished stage. M_j is trained from M_{j-1} in every arm, as in the paper: promotion is off.

    arms       what an arm does differently, and the order of the runs
    compose    the datasets of the arms, made of the library's pieces
    run        one run: rounds of train, evaluate, refresh
    measure    the row of a round; the truth about labels is used here alone
    gradients  whether the groups of wrong labels taught anything, from the store
    rows       benchmarks/results/closed_loop.jsonl
    schedule   several runs side by side, each in a process of its own
    bootstrap  intervals over seeds and dialogues
    tables     what the rows say: accuracies, paired differences, aims
    charts     the same as SVG
    page       docs/evidence.md
"""
