"""Jobs under faults: real Redis, a real database and real workers, all of them harmed on purpose.

Nothing of the application is changed: faults come from outside, as signals, stopped servers,
limits of the kernel and files that are not what they were.
"""
