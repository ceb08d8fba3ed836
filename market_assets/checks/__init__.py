"""Asset checks: one module per family, each a pure `evaluate_...` function beside what Dagster needs.

Belongs here: judging what was collected. Does not belong here: collecting, and deciding who is told.
"""
