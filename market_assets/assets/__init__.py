"""The asset graph: one module per kind of asset, each a factory, and the visible registry of them all.

Belongs here: thin steps that hand the collection's functions what they need and describe the result. Does not
belong here: formulas, SQL, fetching.
"""
