"""The ways in which a network can fail, as sets of one-way cuts (source, target).

Each is chosen around one node, the centre. Must not know: how cuts are made.
"""

import itertools


def both_ways(one_side, other_side):
    return {path for a, b in itertools.product(one_side, other_side) for path in ((a, b), (b, a))}


def others(count, centre):
    return [number for number in range(count) if number != centre]


def isolated(count, centre, chance):
    return both_ways([centre], others(count, centre))


def mute(count, centre, chance):
    """It hears the others; they do not hear it."""
    return {(centre, other) for other in others(count, centre)}


def deaf(count, centre, chance):
    """The others hear it; it does not hear them."""
    return {(other, centre) for other in others(count, centre)}


def pair(count, centre, chance):
    """It and one other do not hear each other; all else is well."""
    return both_ways([centre], [chance.choice(others(count, centre))])


def bridge(count, centre, chance):
    """It is the only one that hears all: the others are in two halves."""
    rest = others(count, centre)
    chance.shuffle(rest)
    return both_ways(rest[:len(rest) // 2], rest[len(rest) // 2:])


def minority(count, centre, chance):
    """The largest minority, it among them, is cut off."""
    rest = others(count, centre)
    chance.shuffle(rest)
    size = (count - 1) // 2
    side = [centre, *rest[:size - 1]]
    return both_ways(side, [number for number in range(count) if number not in side])


def apart(count, centre, chance):
    """Nobody hears anybody."""
    return both_ways(range(count), range(count)) - {(number, number) for number in range(count)}


WITH_MAJORITY = {kind.__name__: kind for kind in (isolated, mute, deaf, pair, bridge, minority)}
KINDS = {**WITH_MAJORITY, "apart": apart}


def reachable(count, cuts):
    """The largest set of nodes that all hear each other both ways, found by trying all (few) sets;
    among equals the first."""
    for size in range(count, 0, -1):
        for nodes in itertools.combinations(range(count), size):
            if not any(path in cuts for path in itertools.permutations(nodes, 2)):
                return nodes
    return ()
