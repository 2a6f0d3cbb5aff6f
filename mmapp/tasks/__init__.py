"""Tasks: pure functions from a document or a listing to a payload; prompt beside parser."""
