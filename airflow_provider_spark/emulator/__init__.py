"""A stand-in for the vendor on this machine: the wire, the limits, the errors, real MP4 files.

`python -m airflow_provider_spark.emulator` runs it; tests start it in their own process:

    with running_emulator(render_seconds=1) as emulator:
        ...  # talk to emulator.base_url with emulator.api_key, move emulator.clock, read emulator.stats()
"""

from airflow_provider_spark.emulator.clock import Clock
from airflow_provider_spark.emulator.server import RunningEmulator, running_emulator

__all__ = ["Clock", "RunningEmulator", "running_emulator"]
