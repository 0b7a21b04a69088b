"""Processes on loopback for the benchmarks: started, measured by the kernel's own accounts, stopped by pid."""
import contextlib
import os
import pathlib
import socket
import subprocess
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
MESHPROBE = ROOT / "target" / "release" / "meshprobe"


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for(port, host="127.0.0.1", seconds=20):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(OSError):
            socket.create_connection((host, port), 1).close()
            return
        time.sleep(0.05)
    raise SystemExit(f"bench: nothing listens on {host}:{port} after {seconds} s")


def wait_for_file(path, seconds=20):
    end = time.monotonic() + seconds
    while not (path.exists() and path.read_text().endswith("\n")):
        if time.monotonic() > end:
            raise SystemExit(f"bench: no {path} after {seconds} s")
        time.sleep(0.05)
    return path.read_text()


@contextlib.contextmanager
def running(command, port=None, cpu=None, host="127.0.0.1"):
    """Runs `command` until the block ends; `cpu` pins it to one core. Waits for its `port` if it has one."""
    pin = ["taskset", "-c", str(cpu)] if cpu is not None else []
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(pin + [str(c) for c in command], stdout=log, stderr=log)
        try:
            if port is not None:
                wait_for(port, host)
            yield process.pid
        finally:
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextlib.contextmanager
def nginx(cpu=None):
    """An nginx with one worker that answers every request with 200 and two bytes; yields its port."""
    port = free_port()
    with tempfile.TemporaryDirectory() as home:
        config = pathlib.Path(home) / "nginx.conf"
        config.write_text(
            f"daemon off; worker_processes 1; pid {home}/pid; error_log stderr crit;\n"
            "events { worker_connections 4096; }\n"
            "http { access_log off;\n"
            + "".join(f"  {k}_temp_path {home}/{k};\n" for k in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
            + f'  server {{ listen 127.0.0.1:{port} backlog=4096; location / {{ return 200 "ok"; }} }}\n}}\n'
        )
        with running(["/usr/sbin/nginx", "-p", home, "-c", config], port, cpu):
            yield port


def cpu_seconds(pid):
    """User and system time of all threads so far, from the scheduler's nanosecond accounts."""
    total = 0
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError):
            total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


def memory_kib(pid):
    """(VmRSS, VmHWM) in KiB."""
    rows = dict(
        line.split(":", 1) for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line
    )
    return tuple(int(rows[name].split()[0]) for name in ("VmRSS", "VmHWM"))


def get(url, timeout=10):
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=timeout) as reply:
        return reply.read().decode()


def samples(text, name):
    """[(labels, value)] of one metric in the Prometheus text format."""
    found = []
    for line in text.splitlines():
        if line.startswith(name + "{") or line.startswith(name + " "):
            head, value = line.rsplit(" ", 1)
            labels = {}
            if "{" in head:
                for pair in head[head.index("{") + 1 : -1].split('",'):
                    key, _, quoted = pair.partition("=")
                    labels[key] = quoted.strip('"')
            found.append((labels, float(value)))
    return found


def total(text, name, **labels):
    return sum(v for l, v in samples(text, name) if all(l.get(k) == w for k, w in labels.items()))


def quantile(before, after, name, q):
    """The upper bound of the bucket in which quantile `q` of the histogram's growth lies."""
    counts = {}
    for text, sign in ((before, -1), (after, 1)):
        for labels, value in samples(text, name + "_bucket"):
            bound = float(labels["le"].replace("+Inf", "inf"))
            counts[bound] = counts.get(bound, 0) + sign * value
    everything = max(counts.values(), default=0)
    return next((bound for bound in sorted(counts) if counts[bound] >= q * everything), None)


def agent_watched(config, admin, seconds, cpu, settle=2.0, host="127.0.0.1"):
    """What an agent with the configuration `config` does for `seconds`: CPU, attempts, lag, missed slots, memory."""
    with running([MESHPROBE, "agent", "--config", config], admin, cpu, host) as pid:
        time.sleep(settle)
        before, first = get(f"http://{host}:{admin}/metrics"), cpu_seconds(pid)
        time.sleep(seconds)
        used, after = cpu_seconds(pid) - first, get(f"http://{host}:{admin}/metrics")
        grown = lambda name, **labels: total(after, name, **labels) - total(before, name, **labels)
        attempts = grown("meshprobe_attempts_total")
        if not attempts:
            raise SystemExit(f"bench: the agent of {config} made no attempt")
        return {
            "attempts": attempts / seconds,
            "cpu": used / attempts * 1e6,
            "busy": used / seconds,
            "met": grown("meshprobe_attempts_total", verdict="met") / attempts,
            "inconclusive": grown("meshprobe_attempts_total", verdict="inconclusive") / attempts,
            "missed": grown("meshprobe_missed_slots_total"),
            "lag": quantile(before, after, "meshprobe_schedule_lag_seconds", 0.99),
            "memory": memory_kib(pid),
        }


def agent_config(home, admin, targets, address, interval_ms, question="http: {}"):
    """Writes an agent configuration with `targets` equal targets; returns its path."""
    lines = [
        "node: bench", "vantage: plain", f'admin: {{ listen: "127.0.0.1:{admin}" }}',
        f"defaults: {{ interval: {interval_ms}ms, timeout: 1s }}", "modules:",
        f"  page: {{ {question} }}", "targets:",
    ]
    lines += [f'  - {{ name: target-{n}, address: "{address}", module: page }}' for n in range(targets)]
    path = pathlib.Path(home) / "agent.yaml"
    path.write_text("\n".join(lines) + "\n")
    return path
