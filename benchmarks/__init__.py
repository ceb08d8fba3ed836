"""What a tick costs, measured side by side with a plain script; `python -m benchmarks.tick` (`make bench`).

Belongs here: measuring programs and the yardstick. Does not belong here: anything the collector needs to run.
"""
