"""One collection, free of Dagster: plan what to ask, check what came, build what is derived.

Belongs here: the steps from a source's answer to rows ready to store, as plain functions that a Dagster run, a
simulated week and a replay all call. Does not belong here: Dagster, SQL, HTTP, and the maths of features.
"""
