"""`kmodels doctor`: whether training will work here, what is wrong and how to fix it, and the facts.

machine.py: the description of this machine; probe.py: what only a process that loads the backend can tell, and a
training step there; traps.py: what may be wrong with a machine; datasets.py: the datasets found; page.py: the words.

Nothing here imports a library at its top but Python's own: it is for the day when one of them is broken.
"""

import json as encoder
import sys


def doctor(*, json: bool = False) -> int:
    """Say whether training will work here, what is wrong and how to fix it, and what kmodels would run on.

    A process of its own trains a tiny network for two steps. The exit status is 0 if training will work, else 1.

    Args:
        json: print everything as one JSON object.
    """
    from kmodels.commands.doctor import page
    from kmodels.commands.doctor.machine import describe
    from kmodels.commands.doctor.traps import find_problems

    if sys.stderr.isatty():
        print("loading the backend and training a tiny network ...", file=sys.stderr)
    machine = describe()
    problems = find_problems(machine)
    print(encoder.dumps(page.as_json(machine, problems), indent=1) if json else page.as_text(machine, problems))
    return int(not page.works(problems))
