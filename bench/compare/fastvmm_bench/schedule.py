# SPDX-License-Identifier: Apache-2.0
"""The order of runs. A slow drift of the host must not favour anybody, so the order is turned round in
every other round: A B, B A, A B, ... Nor must the place in a round: with more than two settings the order
also begins one further on in every other round: A B C, C B A, B C A, A C B, C A B, B A C, ..."""


def interleaved(settings, rounds):
    """[(round, setting)]."""
    order = []
    for number in range(rounds):
        first = number // 2 % len(settings) if len(settings) > 2 else 0
        rotated = [*settings[first:], *settings[:first]]
        order += [(number, setting) for setting in (rotated if number % 2 == 0 else reversed(rotated))]
    return order
