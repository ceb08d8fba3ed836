"""Pure building blocks of the metrics: bars as arrays, splits, session closes, windows, masked quantities.

Belongs here: mathematics on arrays whose every result at T has the same bits whichever frame it was computed in. Does
not belong here: what a metric or an indicator means (`metrics.py`, `indicators/`), any import of Dagster or a store.
"""
