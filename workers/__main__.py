"""`python -m workers`: one worker, with the settings of the environment, its roles among them.

Refuses a database that is not migrated. Called by `mmapp worker` and by the stack of `mmapp up`.
"""

from __future__ import annotations

import os
import sys

from mmapp.config import load_settings
from mmapp.errors import BrokerDown, MmappError


def main() -> int:
    # Threads of torch that wait shall sleep: the machine has other things to do.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    settings = load_settings()
    if not settings.redis_url:
        raise BrokerDown("A worker needs a queue: set MMAPP_REDIS_URL, or use `mmapp up`")
    from workers.app import arguments, create_app
    from workers.sweeper import Sweeper

    with Sweeper(settings):
        create_app(settings).worker_main(arguments(settings))
    return 0


# A spawned child imports this module again under another name.
if __name__ == "__main__":
    try:
        sys.exit(main())
    except MmappError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(error.exit_code)
