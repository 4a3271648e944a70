"""Runs the scheduled campaign on a real Airflow against the emulator, all on this machine."""
