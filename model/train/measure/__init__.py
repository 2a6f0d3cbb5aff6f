"""What is measured of a checkpoint, one module for each subject; put together by `evaluate`."""

SUBJECTS = ("listings", "drawn", "summaries", "answers")
