# SPDX-License-Identifier: Apache-2.0
"""The order of runs. A slow drift of the host must not favour anybody, so the order is turned round in
every other round: A B, B A, A B, ... and A B C, C B A, ... for more than two."""


def interleaved(settings, rounds):
    """[(round, setting)]."""
    order = []
    for number in range(rounds):
        forward = number % 2 == 0
        order += [(number, setting) for setting in (settings if forward else reversed(settings))]
    return order
