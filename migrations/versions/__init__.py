"""One module for each migration, in the order of `down_revision`."""
