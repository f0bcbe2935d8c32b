"""A Ray cluster of two simulated machines: prints its address, and ends when its stdin closes.

A separate process, because test processes may only connect to localhost.
"""

from __future__ import annotations

import logging
import os
import sys

os.environ |= {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_worker_niceness": "0",  # nice workers would wait for the tests that run at the same time
}

from ray.cluster_utils import Cluster

ROOM = {"num_cpus": 1, "object_store_memory": 100_000_000, "include_dashboard": False}

if __name__ == "__main__":
    logging.getLogger("ray").setLevel(logging.CRITICAL)
    cluster = Cluster(initialize_head=True, head_node_args=ROOM)
    cluster.add_node(**ROOM)
    print(cluster.address, flush=True)
    sys.stdin.read()
    cluster.shutdown()
