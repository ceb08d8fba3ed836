"""Proofs about what was served: no look-ahead, replay, revisions, receipts.

Belongs here: taking the log of versions apart and computing again what was computed from it. Does not belong here:
Dagster, printing, SQL, and any formula: proofs call the same pure functions as a collection.
"""
