"""The figures of a comparison as a drawing: how many times better Drax is than each peer, on a logarithmic scale."""

import math
from xml.sax.saxutils import escape

from rows import ROWS

COLOURS = {"etcd": "#1f6f8b", "zookeeper": "#c07f2f"}
WIDTH, LABEL, MARGIN, TOP, BAR, GAP = 900, 370, 60, 56, 13, 14
LEAST, MOST = 0.25, 64  # of the scale; what lies beyond ends there


def x_of(times):
    span = math.log(MOST / LEAST)
    place = math.log(min(max(times, LEAST), MOST) / LEAST) / span
    return LABEL + place * (WIDTH - LABEL - MARGIN)


def times_better(line, figures, peer):
    own, other = figures["drax"][line.figure], figures[peer][line.figure]
    return other / own if line.less else own / other


def goal_better(line, goals, figures, peer):
    """A goal on the same scale; None when it is not about this peer."""
    if peer in goals:
        return 1 / goals[peer] if line.less else goals[peer]
    if "" in goals:
        return figures[peer][line.figure] / goals[""] if line.less else goals[""] / figures[peer][line.figure]
    return None


def line_svg(line, title, figures, y):
    """A bar a peer, with a mark where must and aim are."""
    peers = [peer for peer in COLOURS if line.figure in figures.get(peer, {})]
    middle = y + BAR * len(peers) / 2 + 4
    parts = [f'<text x="{LABEL - 10}" y="{middle:.0f}" text-anchor="end">{escape(title)}</text>']
    for peer in peers:
        times = times_better(line, figures, peer)
        left, right = sorted((x_of(1), x_of(times)))
        parts.append(f'<rect x="{left:.1f}" y="{y}" width="{right - left:.1f}" height="{BAR - 2}" fill="{COLOURS[peer]}"/>')
        parts.append(f'<text x="{right + 5:.1f}" y="{y + BAR - 4}" font-size="10">{times:.3g}x</text>')
        for goals, dashes in ((line.must, ""), (line.aim, ' stroke-dasharray="2,2"')):
            bound = goal_better(line, goals, figures, peer)
            if bound:
                parts.append(f'<line x1="{x_of(bound):.1f}" x2="{x_of(bound):.1f}" y1="{y - 2}" y2="{y + BAR}" '
                             f'stroke="#c03030" stroke-width="2"{dashes}/>')
        y += BAR
    return parts, y + GAP


def axis_svg(height):
    parts = []
    times = LEAST
    while times <= MOST:
        colour = "#606060" if times == 1 else "#dddddd"
        x = x_of(times)
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP - 8}" y2="{height - 10}" stroke="{colour}"/>')
        parts.append(f'<text x="{x:.1f}" y="{TOP - 14}" text-anchor="middle" fill="#606060">{times:g}x</text>')
        times *= 2
    return parts


def key_svg():
    parts = ['<text x="10" y="20" font-weight="bold">Drax, times better than</text>']
    x = 170
    for peer, colour in COLOURS.items():
        parts.append(f'<rect x="{x}" y="10" width="12" height="12" fill="{colour}"/><text x="{x + 18}" y="20">{peer}</text>')
        x += 100
    parts.append(f'<line x1="{x}" x2="{x}" y1="9" y2="23" stroke="#c03030" stroke-width="2"/>'
                 f'<text x="{x + 8}" y="20">must</text>')
    parts.append(f'<line x1="{x + 60}" x2="{x + 60}" y1="9" y2="23" stroke="#c03030" stroke-width="2" '
                 f'stroke-dasharray="2,2"/><text x="{x + 68}" y="20">aim</text>')
    return parts


def plot_svg(found):
    """From {row: {plan, figures}}; rows without a peer are left out."""
    parts, y = [], TOP
    for row in ROWS:
        kept = found.get(row.name)
        if not kept or not any(peer in kept["figures"] for peer in COLOURS):
            continue
        for line, title in row.titles(kept["plan"]):
            drawn, y = line_svg(line, title, kept["figures"], y)
            parts += drawn
    head = (f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y}" font-family="sans-serif" '
            f'font-size="12">\n<rect width="{WIDTH}" height="{y}" fill="#ffffff"/>\n')
    return head + "\n".join(key_svg() + axis_svg(y) + parts) + "\n</svg>\n"
