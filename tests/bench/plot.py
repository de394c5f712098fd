"""The rates of a comparison as bars, in an SVG of its own making."""

from xml.sax.saxutils import escape

COLOURS = {"drax": "#1f6f8b", "etcd": "#c0a04f", "zookeeper": "#9a6fb0"}
WIDTH, LABEL, BAR, GAP, FIGURE = 760, 220, 14, 16, 70


def bars_svg(table):
    """One group of bars a work, each group on a scale of its own, as rates differ by orders of magnitude."""
    parts = []
    y = 34
    for title, row in table.items():
        most = max(figures["rate"] for figures in row.values()) or 1
        middle = y + BAR * len(row) / 2 + 4
        parts.append(f'<text x="{LABEL - 10}" y="{middle}" text-anchor="end">{escape(title)}</text>')
        for name, figures in row.items():
            width = (WIDTH - LABEL - FIGURE) * figures["rate"] / most
            parts.append(f'<rect x="{LABEL}" y="{y}" width="{width:.1f}" height="{BAR - 2}" fill="{COLOURS[name]}"/>')
            parts.append(f'<text x="{LABEL + width + 6:.1f}" y="{y + BAR - 4}">{figures["rate"]:.0f}/s</text>')
            y += BAR
        y += GAP
    x = LABEL
    for name in next(iter(table.values())):
        parts.insert(0, f'<rect x="{x}" y="10" width="12" height="12" fill="{COLOURS[name]}"/>'
                        f'<text x="{x + 18}" y="20">{escape(name)}</text>')
        x += 110
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y}" font-family="sans-serif" font-size="12">\n'
            f'<rect width="{WIDTH}" height="{y}" fill="#ffffff"/>\n' + "\n".join(parts) + "\n</svg>\n")
