# SPDX-License-Identifier: GPL-2.0-or-later
"""Results as a table, as a plot, and beside an older one."""
import statistics
import subprocess

SLOWER = 1.15       # times an older result's ratio: said, and the exit status


def median(runs, key):
    values = [run[key] for run in runs if run.get(key) is not None]
    return statistics.median(values) if values else None


def summary(runs):
    """The medians of one tool in one row; both sides' CPU as one, and the larger memory."""
    if not runs:
        return {}
    cpu = [run["cpu_send"] + run["cpu_receive"] for run in runs]
    latencies = sorted(value for run in runs for value in run.get("latencies", []))
    return {
        "runs": len(runs),
        "seconds": median(runs, "seconds"),
        "cpu": statistics.median(cpu),
        "cpu_send": median(runs, "cpu_send"),
        "cpu_receive": median(runs, "cpu_receive"),
        "wire_bytes": median(runs, "wire_bytes"),
        "data_bytes": median(runs, "data_bytes"),
        "rss": max(max(run["rss_send"], run["rss_receive"]) for run in runs),
        "latency": statistics.median(latencies) if latencies else None,
        "latency_worst": latencies[-1] if latencies else None,
    }


def judge(target, tools):
    """A target of a row against its medians: (text, ratio or None, whether it holds)."""
    ours, peer = tools.get(target["ours"]), tools.get(target["peer"])
    what = f"{target['ours']} {target['figure']} / {target['peer']} {target['of']}"
    if not ours or not peer or ours.get(target["figure"]) is None or not peer.get(target["of"]):
        return what, None, None
    ratio = ours[target["figure"]] / peer[target["of"]]
    return what, ratio, ratio <= target["at_most"]


def table(results):
    lines = []
    for name, row in results["rows"].items():
        lines.append(f"\n{name}: {row['work']}")
        lines.append(f"  {'':<22}{'s':>9}{'CPU s':>9}{'send':>8}{'receive':>8}{'MB wire':>10}"
                     f"{'MB memory':>11}")
        for tool, t in row["medians"].items():
            if not t:
                lines.append(f"  {tool:<22}  not measured")
                continue
            lines.append(f"  {tool:<22}{t['seconds']:>9.3f}{t['cpu']:>9.3f}{t['cpu_send']:>8.3f}"
                         f"{t['cpu_receive']:>8.3f}{t['wire_bytes'] / 1e6:>10.1f}"
                         f"{t['rss'] / 1e6:>11.1f}")
            if t["latency"] and len(row["medians"]) == 1:
                lines.append(f"  {'':<22}  from cut to durable: median {1e3 * t['latency']:.1f} ms, "
                             f"worst {1e3 * t['latency_worst']:.1f} ms")
        for target in row["judged"]:
            if target["ratio"] is None:
                continue
            lines.append(f"  {'held' if target['held'] else 'MISSED':<8}{target['what']}: "
                         f"{target['ratio']:.2f}, target {target['at_most']}")
    lines.append("\nthe machine itself, MB/s: " + ", ".join(
        f"{what} {speed / 1e6:.0f}" for what, speed in results["limits"].items()))
    return "\n".join(lines)


def plot(results, path):
    """Seconds and CPU seconds of each tool, relative to vmreplica's, one group a row."""
    data, labels = path.with_suffix(".dat"), []
    with open(data, "w") as out:
        at = 0
        for name, row in results["rows"].items():
            ours = next((t for t in row["medians"].values() if t), None)
            for tool, t in row["medians"].items():
                if not t or len(row["medians"]) < 2:
                    continue
                labels.append(f'"{name}: {tool}" {at}')
                out.write(f"{at} {t['seconds'] / ours['seconds']:.4f} "
                          f"{t['cpu'] / max(ours['cpu'], 0.001):.4f}\n")
                at += 1
            at += 1
    if not labels:
        return
    script = (
        f"set terminal svg size 900,{120 + 18 * at} font 'sans,11' background 'white'\n"
        f"set output '{path}'\nset style fill solid\nset logscale x\nset grid x\n"
        f"set yrange [{at}:-1]\nset ytics ({', '.join(labels)})\nset lmargin 42\n"
        "set title 'time and CPU time of both sides, times that of vmreplica'\n"
        "set key below\n"
        f"plot '{data}' using 2:1 with points pt 7 ps 0.9 lc rgb '#1f5fa8' title 'seconds', "
        f"'{data}' using 3:1 with points pt 6 ps 0.9 lc rgb '#c0392b' title 'CPU seconds'\n")
    subprocess.run(["gnuplot"], input=script, text=True, check=True)
    data.unlink()


def against(old, new):
    """What has become slower since: by the ratio to the row's peer, where both have one."""
    slower = []
    for name, row in new["rows"].items():
        before = old["rows"].get(name)
        if not before:
            continue
        for tool, t in row["medians"].items():
            then = before["medians"].get(tool)
            if not tool.startswith("vmreplica") or not t or not then:
                continue
            for figure in ("seconds", "cpu"):
                now_value, then_value, by = t[figure], then[figure], "itself"
                for peer, p in row["medians"].items():
                    q = before["medians"].get(peer)
                    if not peer.startswith("vmreplica") and p and q:
                        now_value, then_value, by = now_value / p[figure], then_value / q[figure], peer
                        break
                if then_value and now_value > SLOWER * then_value:
                    slower.append(f"{name}: {tool} takes {now_value / then_value:.2f} times the "
                                  f"{figure} that it took, measured by {by}")
    return slower
