"""`kmodels bench`: how fast a network trains here, beside others that train the same network on the same machine.

settings.py: what is measured, checked before anything heavy starts; contenders.py: who trains, by name. Each contender
is a process of its own (worker.py; workers.py is the parent's side) that trains for a second when it is asked to, so
that throughput.py can go round them and a busy moment of the machine meets all. ours.py, plain*.py and
torch_twin.py are the contenders; callbacks.py, startup.py, memory.py, deterministic.py, profile.py and kernels.py
measure what their names say (program_text.py reads compiled programs, gpu_target.py compiles for a GPU that need not be
there); tables.py, chart.py and readme.py show it.
"""
