"""`kmodels bench`: how fast a network trains here, beside others that train the same network on the same machine.

`contenders.py` lists who trains, and where each is defined: `ours.py` (kmodels, and stock Keras), `jax_twin.py` and
`torch_twin.py` (written by hand; `graph.py` has the layers that they know). Each is a process of its own (`workers.py`)
that trains for a second when asked, so that a temporary load on the machine affects all equally.

`settings.py` checks what is asked for, `run.py` measures and writes, `tables.py` shows results. What runs inside a
worker beside a contender is in `photographs.py` (a network in use) and `kernels.py`, which compiles for the GPU of
`gpu_target.py`.
"""
