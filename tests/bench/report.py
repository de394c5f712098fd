"""Figures of rows as text: a line while it runs, and docs/PERFORMANCE.md."""

import datetime
import os
import platform

from rows import ROWS

NAMES = ("drax", "base", "etcd", "zookeeper")

HEAD = """\
# Performance

Written by `./run bench --write` ([HACKING.md](HACKING.md), "Speed"); [PROFILE.md](PROFILE.md) says why. Only the ratios can be compared: the figures
belong to one machine and one day.

"""

FOOT = """
**How.** Three servers of each store on loopback, on one machine, every write synced to disk; default settings, but a
heap of 2 GB for ZooKeeper with a million keys (512 MB else). Values have 256 bytes where nothing else is said. Stores
are measured in turns, each when the servers have done what earlier work left to them (compactions, snapshots; up to a
minute is waited for that), and after a second of the same work that does not count. Figures are medians of the
rounds; [performance.json](performance.json) has the least and the most of each as well. Clients wait for an answer
before they ask again. 64 clients share 16 connections, 256 have 32, 1,000 have 64. Drax and etcd are asked at their leader,
ZooKeeper at all its servers; its linearizable get is a sync and a get. etcd is started again before rows of gets of
256 bytes: until then, after writes, it reads at a fraction of its rate.

**What a figure leaves out.** The load generators share the processors with the servers, and what they take is in no
figure but "client CPU"; a store whose client is cheap has more left for its servers. Server CPU is that of the server
processes, without the kernel's own threads. The p50 of a delivery counts from the moment at which the put was to
begin (Drax) or began (etcd). Times to the next write and to the first read are those of a whole command, its start
included. Memory is what is resident, and counts what the processes of a server share for each of them. Disk is what
the files take on it, when all is quiet. Idle clients and watches are all at the leader, where the puts are asked for.
"""


def machine():
    with open("/proc/cpuinfo", encoding="utf-8") as cpuinfo:
        model = next((line.split(":")[1].strip() for line in cpuinfo if line.startswith("model name")), platform.machine())
    return f"{os.cpu_count()} CPUs ({model}), {platform.system()} {platform.release()}"


def setting(arguments):
    """What a row's figures depend on beside its plan."""
    return {"date": str(datetime.date.today()), "machine": machine(), "rounds": arguments.rounds,
            "seconds": arguments.seconds, "keys": arguments.keys}


def number(value, unit):
    if unit == "us" and value >= 1000:
        value, unit = value / 1000, "ms"
    if unit == "/s" and value >= 10000:
        value, unit = value / 1000, "k/s"
    digits = 0 if value >= 100 else 1 if value >= 10 else 2
    return f"{value:.{digits}f}{'' if unit in ('/s', 'k/s') else ' '}{unit}"


def cell(line, figures, name):
    if name not in figures or line.figure not in figures[name]:
        return "-"
    return number(figures[name][line.figure], line.unit)


def ratio(line, figures, against):
    return f"{figures['drax'][line.figure] / figures[against][line.figure]:.2f}x"


def goal(line, goals):
    """As "at least 3x etcd, 2x zookeeper", or "at most 500 MB"."""
    if not goals:
        return "-"
    bounds = [f"{bound:g}x {against}" if against else number(bound, line.unit) for against, bound in goals.items()]
    return ("at most " if line.less else "at least ") + ", ".join(bounds)


def verdict(line, figures):
    if not line.must and "drax" in figures:
        return "-"
    must, aim = line.kept(line.must, figures), line.kept(line.aim, figures)
    if must is None:
        return "not measured"
    return "aim" if must and aim else "must" if must else "**no**"


def summary(row, figures):
    """One line on a row that has been measured."""
    parts = []
    for line, title in row.titles(row.plan):
        found = ", ".join(f"{name} {cell(line, figures, name)}" for name in NAMES if name in figures)
        parts.append(f"{title if len(row.lines) > 1 else row.name}: {found}: {verdict(line, figures)}")
    return "; ".join(parts)


def table(heads, rows):
    return ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads), *("| " + " | ".join(cells) + " |" for cells in rows)]


def goals_table(found):
    cells = []
    for row in ROWS:
        kept = found.get(row.name, {"plan": row.plan, "figures": {}})
        figures = kept["figures"]
        for line, title in row.titles(kept["plan"]):
            own = cell(line, figures, "drax") + (f" (base {cell(line, figures, 'base')})" if "base" in figures else "")
            ratios = ", ".join(f"{ratio(line, figures, peer)} {peer}" for peer in NAMES[1:]
                               if line.figure in figures.get(peer, {}))
            cells.append([title, own, cell(line, figures, "etcd"), cell(line, figures, "zookeeper"), ratios or "-",
                          goal(line, line.must), goal(line, line.aim), verdict(line, figures)])
    return table(["work", "drax", "etcd", "zookeeper", "drax to", "must", "aim", "kept"], cells)


def costs_table(found):
    """What each operation costs the servers and the clients, and how late the last of a hundred comes."""
    cells = []
    for row in ROWS:
        figures = found.get(row.name, {}).get("figures", {})
        for name in NAMES:
            own = figures.get(name, {})
            if "cpu_us" not in own:
                continue
            spread = own.get("rate_spread", own["p50_us_spread"])
            unit = "/s" if "rate_spread" in own else "us"
            cells.append([row.name, "drax, " + name if name == "base" else name,
                          f"{number(spread[0], unit)} - {number(spread[1], unit)}",
                          number(own["p50_us"], "us"), number(own["p99_us"], "us") if "p99_us" in own else "-",
                          number(own["cpu_us"], "us"), number(own["client_us"], "us"), f"{own.get('errors', 0):.0f}"])
    return table(["row", "store", "rounds", "p50", "p99", "server CPU", "client CPU", "errors"], cells)


def grown_text(kept):
    """What Drax is with many keys and with few."""
    drax, base = kept["figures"]["drax"], kept["figures"]["base"]
    return (f"With {kept['plan']['keys']:,} keys a server of Drax has {drax['memory_mb']:.0f} MB of memory and "
            f"{drax['disk_mb']:.0f} MB on disk; with 100,000, after as much of that work, {base['memory_mb']:.0f} MB and "
            f"{base['disk_mb']:.0f} MB.")


def settings(found):
    """One line for each setting in which rows were measured."""
    names = {}
    for name, kept in found.items():
        text = (f"{kept['date']} on {kept['machine']}: {kept['rounds']} round{'s' * (kept['rounds'] > 1)} "
                f"of {kept['seconds']:g} s, {kept['keys']:,} keys where nothing else is said")
        names.setdefault(text, []).append(name)
    return [f"Measured {text}" + (f" ({', '.join(rows)})." if len(names) > 1 else ".") for text, rows in names.items()]


def markdown(found):
    """The document from {row: {setting, plan, figures}}."""
    lines = [*settings(found), "", "![how many times better than the peers](performance.svg)", "", *goals_table(found), "",
             "`base` is Drax without what the row is about, measured in turns with it. \"kept\": whether Drax reaches the aim,",
             "the must alone, or neither (no).", "", "## What an operation costs", "", *costs_table(found)]
    if "keys" in found:
        lines += ["", grown_text(found["keys"])]
    return HEAD + "\n".join(lines) + "\n" + FOOT
