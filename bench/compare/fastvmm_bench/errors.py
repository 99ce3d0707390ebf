# SPDX-License-Identifier: Apache-2.0
"""What is told to the user in one line."""


class BenchError(Exception):
    """Cannot go on: what, why, what to do."""


class RunFailed(BenchError):
    """One run of one VMM did not give a result."""
