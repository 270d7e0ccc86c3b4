"""`kmodels bench`: how fast a network trains here, beside others that train the same network on the same machine.

`contenders.py` lists who trains, and where each is defined: `ours.py` (kmodels, and stock Keras), `jax_twin.py` and
`torch_twin.py` (written by hand; `graph.py` has the layers that they know). Each is a process of its own (`workers.py`)
that trains for a second when asked, so that a busy moment of the machine meets all of them.

`settings.py` checks what is asked for, `run.py` goes from settings to files, `sections.py` measures. What a section
runs inside a worker is in `costs.py` (callbacks, startup, memory), `profile.py` and `kernels.py`; the last two read
compiled programs with `program_text.py`, and `gpu_target.py` compiles for a GPU that need not be there. `summary.py`,
`tables.py`, `readme.py` and `chart.py` show results.
"""
