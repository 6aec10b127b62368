"""`snakemake` that asks the cluster once a second; the Slurm plugin adds 10 s to each wait, which no option changes."""

import asyncio
import sys

from snakemake.cli import main
from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor


async def a_second(executor) -> None:
    """In place of the executor's own time between two checks."""
    await asyncio.sleep(1)


RemoteExecutor.sleep = a_second
sys.exit(main())
