"""`python -m mmapp.cli`: the same as the console script."""

from __future__ import annotations

from mmapp.cli import main

if __name__ == "__main__":
    main()
