# SPDX-License-Identifier: Apache-2.0
"""fastvmm-bench: compares VMMs by I/O rate, latency and cost, in interleaved runs."""

VERSION = 1  # of the results document (results.py)
