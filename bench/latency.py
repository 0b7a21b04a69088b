"""Error of `connect` and `processing` against tcpdump's timestamps of the same connections."""
import argparse
import json
import pathlib
import re
import signal
import subprocess
import tempfile
import time

from harness import MESHPROBE, nginx

LINE = re.compile(r"^(\d+\.\d+) IP 127\.0\.0\.1\.(\d+) > 127\.0\.0\.1\.(\d+): Flags \[([^\]]+)\].* length (\d+)")


def captured(capture, port):
    """{client port: {syn, synack, request, reply}} in seconds, from a capture file."""
    text = subprocess.run(["tcpdump", "-r", capture, "-nn", "-tt", "--nano"], capture_output=True, text=True, check=True).stdout
    flows = {}
    for line in text.splitlines():
        match = LINE.match(line)
        if not match:
            continue
        when, source, target, flags, length = float(match[1]), int(match[2]), int(match[3]), match[4], int(match[5])
        outward = target == port
        flow = flows.setdefault(source if outward else target, {})
        if "S" in flags:
            flow.setdefault("syn" if outward else "synack", when)
        elif length:
            flow.setdefault("request" if outward else "reply", when)
    return flows


def measure(attempts, busy):
    """[(reported - captured)] in microseconds for both phases."""
    with nginx() as port, tempfile.TemporaryDirectory() as home:
        capture = pathlib.Path(home) / "lo.pcap"
        # The spinners compete for every core with what is measured.
        spinners = [subprocess.Popen(["sh", "-c", "while :; do :; done"]) for _ in range(4 if busy else 0)]
        dump = subprocess.Popen(["tcpdump", "-i", "lo", "--nano", "-U", "-B", "16384", "-w", str(capture), "tcp", "port", str(port)],
                                stderr=subprocess.PIPE, text=True)
        try:
            dump.stderr.readline()
            time.sleep(1)
            probe = [MESHPROBE, "probe", "http", f"http://127.0.0.1:{port}/", "-o", "json", "--count", str(attempts), "--interval", "5ms"]
            lines = subprocess.run(probe, capture_output=True, text=True).stdout.splitlines()
            time.sleep(1)
        finally:
            dump.send_signal(signal.SIGINT)
            dump.wait()
            for spinner in spinners:
                spinner.kill()
                spinner.wait()
        flows = captured(str(capture), port)
        errors = {"connect": [], "processing": []}
        for attempt in map(json.loads, lines):
            if not attempt["success"]:
                continue
            flow = flows.get(int(attempt["facts"]["local_address"].rsplit(":", 1)[1]), {})
            for phase, start, end in (("connect", "syn", "synack"), ("processing", "request", "reply")):
                if start in flow and end in flow:
                    errors[phase].append((attempt["phases"][phase] - (flow[end] - flow[start])) * 1e6)
        return errors


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--attempts", type=int, default=2000)
    options = arguments.parse_args()
    for name, busy in (("idle", False), ("busy", True)):
        for phase, errors in measure(options.attempts, busy).items():
            errors.sort(key=abs)
            at = lambda q: abs(errors[min(len(errors) - 1, int(q * len(errors)))])
            shown = ", ".join(f"p{q * 100:g} {at(q):.0f}" for q in (0.1, 0.5, 0.9, 0.99, 0.999))
            print(f"{name} {phase}: {len(errors)} attempts matched, |error| in us: {shown}, max {at(1):.0f} (bar: p50 50, p99 300)", flush=True)


main()
