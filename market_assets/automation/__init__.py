"""What starts runs by itself: jobs, schedules, sensors.

Belongs here: when which assets are materialized. Does not belong here: what the assets do.
"""
