"""CPU of HBONE attempts beside bare rustls handshakes; of an agent with a whole truth table; a lab of 50 nodes."""
import argparse
import contextlib
import json
import os
import pathlib
import re
import statistics
import subprocess
import tempfile
import time

from harness import (MESHPROBE, ROOT, agent_config, agent_watched, cpu_seconds, free_port, memory_kib, running, wait_for,
                     wait_for_file)

SERVER_CPU, CLIENT_CPU = 0, 1
TARGETS = 100
# Windows that may be spoiled by other load before a figure is given up.
TRIES = 6


def programs():
    """Builds meshprobe and bench/mesh.rs in one go; returns where the latter is."""
    command = ["cargo", "build", "--release", "--quiet", "--bin", "meshprobe", "--bench", "mesh", "--message-format=json"]
    built = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    found = [m["executable"] for m in map(json.loads, built.stdout.splitlines()) if m.get("executable")]
    return next(path for path in found if path != str(MESHPROBE))


@contextlib.contextmanager
def far_end(mesh):
    """A ztunnel's stand-in on the server's core; yields its directory, HBONE address, page and SPIFFE ID."""
    with tempfile.TemporaryDirectory() as home:
        directory = pathlib.Path(home)
        with running([mesh, "serve", directory], cpu=SERVER_CPU):
            hbone, page, spiffe = wait_for_file(directory / "addresses").split()
            wait_for(int(hbone.split(":")[1]), hbone.split(":")[0])
            yield directory, hbone, f"http://{page}/", spiffe


def floor(mesh, hbone, directory, seconds, rate, *mutual):
    """CPU of one handshake in microseconds; with a rate of 0 one follows right after the other."""
    command = ["taskset", "-c", str(CLIENT_CPU), mesh, "handshake", hbone, directory, str(seconds), str(rate), *mutual]
    count, used = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.split()
    return float(used) / int(count) * 1e6


def agent(address, question, rate, seconds):
    """CPU of one attempt in microseconds.

    Only of a window in which as much began as ended: when the machine is short of CPU, a backlog from before it ends within,
    and its CPU would be divided by attempts whose work was not counted, or the other way round. Such a window is measured again.
    """
    for _ in range(TRIES):
        admin = free_port()
        with tempfile.TemporaryDirectory() as home:
            config = agent_config(home, admin, TARGETS, address, round(TARGETS / rate * 1000), question)
            seen = agent_watched(config, admin, seconds, CLIENT_CPU)
        if abs(seen["attempts"] / rate - 1) < 0.03 and seen["met"] > 0.99 and seen["missed"] == 0:
            return seen["cpu"]
        print(f"  measured again: {seen['attempts']:.0f}/s of {rate}/s ended, {seen['met'] * 100:.1f} % met, {seen['missed']:.0f} slots missed, "
              f"load {os.getloadavg()[0]:.1f}: `{question[:40]}`", flush=True)
    raise SystemExit(f"bench: the machine is too busy for {rate}/s: no ratio is told")


def handshakes(options, mesh):
    with far_end(mesh) as (directory, hbone, page, spiffe):
        trust = f'ca: "{directory}/root.pem", spiffe_id: "{spiffe}"'
        own = f'{trust}, cert: "{directory}/client.pem", key: "{directory}/client.key"'
        # Each floor right beside what is held against it: the machine's own speed drifts.
        cases = {
            "flat out": lambda: floor(mesh, hbone, directory, options.seconds, 0),
            "handshake": lambda: floor(mesh, hbone, directory, options.seconds, options.rate),
            "uncredentialed": lambda: agent(hbone, f"hbone: {{ credentialed: false, tls: {{ {trust} }} }}", options.rate, options.seconds),
            "fresh": lambda: agent(page, f"hbone: {{ tls: {{ {own} }} }}", options.rate, options.seconds),
            "mutual": lambda: floor(mesh, hbone, directory, options.seconds, options.rate, "mutual"),
            "http": lambda: agent(page, "http: {}", options.warm_rate, options.seconds),
            "warm": lambda: agent(page, f"hbone: {{ warm: true, tls: {{ {own} }} }}", options.warm_rate, options.seconds),
            "kept": lambda: agent(page, "http: { keepalive: true }", options.warm_rate, options.seconds),
        }
        rounds = []
        for n in range(options.rounds):
            rounds.append({name: case() for name, case in cases.items()})
            shown = ", ".join(f"{name} {value:.0f}" for name, value in rounds[-1].items())
            print(f"round {n + 1}: us of CPU: {shown}; load {os.getloadavg()[0]:.1f}", flush=True)
    ratio = lambda above, below: statistics.median(r[above] / r[below] for r in rounds)
    bars = (("uncredentialed", "handshake", 1.3), ("fresh", "handshake", 1.6), ("fresh", "mutual", None), ("warm", "http", 1.5),
            ("warm", "kept", None), ("uncredentialed", "flat out", None), ("fresh", "flat out", None))
    for above, below, bar in bars:
        print(f"{above} / {below} = {ratio(above, below):.2f}" + (f" (bar: {bar})" if bar else ""), flush=True)


def truth_table(options, _):
    """Each agent of one node with ten peers; the lab has the other core."""
    with tempfile.TemporaryDirectory() as home:
        lab = [MESHPROBE, "lab", "--nodes", "11", "--peers", "10", "--interval", "5s", "--export", home]
        with running(lab, cpu=SERVER_CPU):
            for side in ("ambient", "plain"):
                config = pathlib.Path(home) / f"node-1-{side}.yaml"
                text = wait_for_file(config)
                host, admin = re.search(r'admin: \{ listen: "([\d.]+):(\d+)"', text).groups()
                for _ in range(TRIES):
                    # Past the first certificate and a control or two.
                    seen = agent_watched(config, int(admin), options.table_seconds, CLIENT_CPU, 12, host)
                    if seen["met"] > 0.99:
                        break
                    print(f"  measured again: {seen['met'] * 100:.1f} % met, load {os.getloadavg()[0]:.1f}: {side} truth table", flush=True)
                else:
                    raise SystemExit("bench: the machine is too busy for a truth table: no figure is told")
                now, peak = (kib / 1024 for kib in seen["memory"])
                print(f"{side} truth table, 10 peers at 5 s, {text.count('- { name:')} targets: {seen['busy'] * 1e3:.2f} ms of CPU per "
                      f"second (bar: 5), {seen['attempts']:.1f} attempts/s of {seen['cpu']:.0f} us, RSS {now:.1f} MiB, peak {peak:.1f} MiB "
                      f"(bar: 20), {seen['met'] * 100:.1f} % met, {seen['missed']:.0f} missed, lag p99 <= {seen['lag']} s, load {os.getloadavg()[0]:.1f}", flush=True)


def big_lab(options, _):
    """A lab of fifty nodes on every core there is."""
    with tempfile.TemporaryFile("w+") as log:
        lab = subprocess.Popen([MESHPROBE, "lab", "--nodes", "50", "--duration", f"{options.lab_seconds}s"], stdout=log, stderr=log, text=True)
        began = time.monotonic()
        time.sleep(options.lab_seconds / 2)
        first, at = cpu_seconds(lab.pid), time.monotonic()
        time.sleep(options.lab_seconds / 2 - 2)
        busy, memory = (cpu_seconds(lab.pid) - first) / (time.monotonic() - at), memory_kib(lab.pid)
        code = lab.wait(120)
        log.seek(0)
        lines = log.read().splitlines()
    print(f"lab of 50 nodes: exit code {code} after {time.monotonic() - began:.0f} s, {busy * 100:.0f} % of a core in its second half, "
          f"peak {memory[1] / 1024:.0f} MiB")
    print("\n".join(f"  {line}" for line in lines[:1] + lines[-1:]), flush=True)


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--seconds", type=int, default=10, help="of each measurement of CPU per attempt")
    arguments.add_argument("--rounds", type=int, default=3, help="rounds of the same")
    arguments.add_argument("--rate", type=int, default=500, help="attempts/s with a handshake")
    arguments.add_argument("--warm-rate", type=int, default=1000, help="attempts/s without one")
    arguments.add_argument("--table-seconds", type=int, default=60, help="for which each agent is watched")
    arguments.add_argument("--lab-seconds", type=int, default=60)
    parts = {"handshakes": handshakes, "table": truth_table, "lab": big_lab}
    arguments.add_argument("--only", choices=parts, help="one part of it")
    options = arguments.parse_args()
    mesh = programs()
    for name, part in parts.items():
        if options.only in (None, name):
            part(options, mesh)


main()
