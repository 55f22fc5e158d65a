"""What an open stream takes in memory."""
import pathlib
import re
import time

from lab import Cluster, Driver, Service, median
from peers import Nchan, PgSse


def kernel_kilobytes():
    """Memory of TCP sockets and slabs, of the whole machine: streams count on both ends here."""
    pages = re.search(r"^TCP:.* mem (\d+)", pathlib.Path("/proc/net/sockstat").read_text(), re.M)
    slab = re.search(r"^Slab:\s+(\d+)", pathlib.Path("/proc/meminfo").read_text(), re.M)
    return int(pages.group(1)) * 4 + int(slab.group(1))


def idle(server, url, streams):
    before, kernel = server.kilobytes(), kernel_kilobytes()
    with Driver(url, streams) as driver:
        driver.wait_open()
        time.sleep(3)
        return server.kilobytes(), server.kilobytes() - before, kernel_kilobytes() - kernel


def run(quick=False):
    count = 3 if quick else 5
    base, full, kernel = [], [], []
    with Cluster(1) as cluster:
        for _ in range(count):
            with Service(cluster.url, "--max-connections", "100") as small:
                time.sleep(3)
                base.append(small.kilobytes())
            with Service(cluster.url) as service:
                total, _, socket_memory = idle(service, service.stream_url(), 10_000)
                full.append(total)
                kernel.append(socket_memory)
        with PgSse(cluster) as python:
            _, heavy, _ = idle(python.server, python.url(), 1000)
    with Nchan() as nchan:
        _, peer, _ = idle(nchan.server, nchan.url(), 10_000)
    growth = median([f - b for f, b in zip(full, base)])
    return {
        "10,000 idle streams: ours": {
            "megabytes above none": growth / 1024, "bytes a stream": growth * 1024 / 10_000,
            "megabytes in all": median(full) / 1024,
            "kernel, both ends, bytes a stream": median(kernel) * 1024 / 10_000},
        "10,000 idle streams: nchan": {"bytes a stream": peer * 1024 / 10_000},
        "1,000 idle streams: pg-sse": {"bytes a stream": heavy * 1024 / 1000},
    }
