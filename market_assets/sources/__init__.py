"""Where bars come from: the source interface, Yahoo, the fetch pool, and a simulator that speaks Yahoo's protocol.

Belongs here: everything between the wire and clean bars. Does not belong here: storing, formulas, Dagster.
"""
