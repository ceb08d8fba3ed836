"""Proof that a collection which is killed, paused or met by another one leaves nothing half-written.

Belongs here: victims, moments, an independent reader, and the two kinds of torture (`kills.py`, `crossings.py`).
`python -m market_assets_tests.torture` is `make torture`. Does not belong here: tests (`integration/test_torture.py`),
and anything that the package itself needs.
"""
