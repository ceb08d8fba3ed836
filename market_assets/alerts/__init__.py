"""Alerts: from what the checks of finished runs found to the few messages that a person needs.

Belongs here: when a failure is worth telling, what is said, and to whom it is posted. Does not belong here: the checks
(`checks/`), SQL (`store/alerts.py`), Dagster (`automation/sensors.py`).

One way leads through it: evaluations (evaluations.py) change states (states.py); states that differ from what people
believe make changes (telling.py); changes make one message (messages.py); messages wait in the store until every target
has taken them (delivery.py, posting.py). service.py puts the parts together.
"""
