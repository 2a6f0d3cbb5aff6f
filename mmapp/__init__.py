"""mmapp: documents and product listings read whole, answered with proofs, through a job queue."""

__version__ = "0.1.0"
