"""Alembic migrations; a package so that an installed application brings them along."""
