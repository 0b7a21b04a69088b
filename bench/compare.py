"""CPU per attempt against the same nginx, fresh connection each time; memory; highest open-loop rate."""
import argparse
import pathlib
import re
import statistics
import subprocess
import tempfile
import time

from harness import agent_config, agent_watched, cpu_seconds, free_port, get, nginx, running

SERVER_CPU, CLIENT_CPU = 0, 1


def wrk(url, seconds, *flags):
    """(requests, CPU seconds of wrk itself)."""
    command = ["taskset", "-c", str(CLIENT_CPU), "wrk", "-t1", f"-d{seconds}s", *flags, url]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    time.sleep(0.2)
    first, began = cpu_seconds(process.pid), time.monotonic()
    time.sleep(seconds - 0.7)
    used, window = cpu_seconds(process.pid) - first, time.monotonic() - began
    out = process.communicate()[0]
    count, took = re.search(r"([\d.]+) requests in ([\d.]+)s", out).groups()
    return float(count) * window / float(took), used


def floor(url, seconds):
    requests, used = wrk(url, seconds, "-c1", "-H", "Connection: close")
    return used / requests * 1e6


def blackbox(url, seconds):
    port = free_port()
    with tempfile.TemporaryDirectory() as home:
        config = pathlib.Path(home) / "blackbox.yml"
        config.write_text("modules: { page: { prober: http, timeout: 1s, http: { preferred_ip_protocol: ip4 } } }\n")
        command = ["prometheus-blackbox-exporter", f"--config.file={config}", f"--web.listen-address=127.0.0.1:{port}",
                   "--log.level=error"]
        with running(command, port, CLIENT_CPU) as pid:
            probe = f"http://127.0.0.1:{port}/probe?module=page&target={url}"
            if "probe_success 1" not in get(probe):
                raise SystemExit("bench: blackbox_exporter's probe does not succeed")
            first = cpu_seconds(pid)
            driver = subprocess.run(["taskset", "-c", str(SERVER_CPU), "wrk", "-t1", "-c1", f"-d{seconds}s", probe],
                                    capture_output=True, text=True, check=True)
            used = cpu_seconds(pid) - first
            return used / float(re.search(r"(\d+) requests in", driver.stdout).group(1)) * 1e6


def agent(url, seconds, rate, targets=100, settle=2.0):
    """What one agent does at `rate` attempts/s: CPU per attempt, lag, missed slots, memory."""
    admin = free_port()
    with tempfile.TemporaryDirectory() as home:
        config = agent_config(home, admin, targets, url, max(10, round(targets / rate * 1000)))
        seen = agent_watched(config, admin, seconds, CLIENT_CPU, settle)
        if seen["missed"] or abs(seen["attempts"] / rate - 1) > 0.03:
            # What ended within is then not what the CPU of the window was used for.
            print(f"  unfair, the machine is busy: {seen['attempts']:.0f}/s of {rate}/s, {seen['missed']:.0f} slots missed", flush=True)
        return seen


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--seconds", type=int, default=10, help="of each measurement")
    arguments.add_argument("--rate", type=int, default=3000, help="attempts/s of the CPU comparison")
    arguments.add_argument("--idle-rate", type=int, default=1000,
                           help="a lower rate, told beside it: each attempt then pays for waking an idle core")
    arguments.add_argument("--rounds", type=int, default=3, help="rounds of the CPU comparison")
    arguments.add_argument("--memory-seconds", type=int, default=60)
    options = arguments.parse_args()
    with nginx(SERVER_CPU) as port:
        url = f"http://127.0.0.1:{port}/"
        rounds = []
        for n in range(options.rounds):
            row = (agent(url, options.seconds, options.rate)["cpu"], blackbox(url, options.seconds),
                   floor(url, options.seconds), agent(url, options.seconds, options.idle_rate)["cpu"])
            rounds.append(row)
            print(f"round {n + 1}: meshprobe {row[0]:.1f} us at {options.rate}/s and {row[3]:.1f} us at {options.idle_rate}/s, "
                  f"blackbox_exporter {row[1]:.1f} us, wrk {row[2]:.1f} us of CPU per attempt", flush=True)
        median = statistics.median
        ours, theirs, least, idle = (median(column) for column in zip(*rounds))
        print(f"CPU per attempt (median): meshprobe {ours:.1f} us ({idle:.1f} us at {options.idle_rate}/s), blackbox_exporter {theirs:.1f} us, wrk {least:.1f} us")
        print(f"  meshprobe / blackbox_exporter = {median(r[0] / r[1] for r in rounds):.3f} (bar: 0.25)")
        print(f"  meshprobe / wrk               = {median(r[0] / r[2] for r in rounds):.2f} (bar: 1.6)", flush=True)
        seen = agent(url, options.memory_seconds, 200, targets=200)
        print(f"RSS with 200 targets at 1 s after {options.memory_seconds} s and two scrapes: "
              f"{seen['memory'][0] / 1024:.1f} MiB, peak {seen['memory'][1] / 1024:.1f} MiB (bar: 16)", flush=True)
        best = None
        rate = 1000
        while rate <= 64_000:
            seen = agent(url, options.seconds, rate, targets=max(100, rate // 50))
            good = seen["lag"] is not None and seen["lag"] <= 0.005 and seen["missed"] == 0 and seen["met"] > 0.999
            print(f"  {rate}/s asked: {seen['attempts']:.0f}/s made, {seen['busy'] * 100:.0f} % of a core, lag p99 <= {seen['lag']} s, "
                  f"{seen['missed']:.0f} missed, {seen['met'] * 100:.2f} % met", flush=True)
            if not good:
                break
            best = seen["attempts"]
            rate = int(rate * 1.5)
        print(f"highest rate on one core with lag p99 < 5 ms: {best:.0f} attempts/s" if best else "no rate kept its lag")


main()
