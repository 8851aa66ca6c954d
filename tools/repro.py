"""Run the pipeline, the domains of the selected profile side by side: what `make` calls.

Usage: python tools/repro.py

Each domain has a `dvc repro` of its own, with its share of the processor cores; a last one runs what belongs to none,
such as the report. Plain `dvc repro` runs the same stages one after the other.
"""

import os
import subprocess
import sys
import threading

from gcdp.experiments.profile import repository_root
from gcdp.experiments.selection import selected

DVC = (sys.executable, "-m", "dvc")


def start(domain: str, threads: int) -> subprocess.Popen:
    """Begin the stages of one domain; their output is piped."""
    command = [*DVC, "--wait-for-lock", "repro", "--glob", f"*@{domain}*"]
    environment = {"OMP_NUM_THREADS": str(threads), **os.environ, "PYTHONUNBUFFERED": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "errors": "replace"}
    return subprocess.Popen(command, cwd=repository_root(), env=environment, **pipes)


def relay(domain: str, process: subprocess.Popen) -> None:
    """Print the output of a domain as it comes, each line after the name of the domain."""
    for line in process.stdout:
        print(f"[{domain}] {line}", end="", flush=True)


def main() -> int:
    """Run everything; returns the first exit status that is not 0."""
    domains = selected()["domains"]
    if len(domains) > 1:
        threads = max(1, (os.cpu_count() or 1) // len(domains))
        running = {domain: start(domain, threads) for domain in domains}
        readers = [threading.Thread(target=relay, args=item) for item in running.items()]
        for reader in readers:
            reader.start()
        try:
            failed = [status for process in running.values() if (status := process.wait())]
        except KeyboardInterrupt:  # the stages got it too: they save what they have
            failed = [process.wait() for process in running.values()]
        for reader in readers:
            reader.join()
        if failed:
            return failed[0]
    return subprocess.run([*DVC, "repro"], cwd=repository_root(), check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
