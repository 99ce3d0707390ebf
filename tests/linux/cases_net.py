# SPDX-License-Identifier: Apache-2.0
"""virtio-net under a real driver."""


def tests(quick):
    return []
