"""table.py FILE: the harness's figures (a JSON object a line) as one Markdown table, with Jam's ratios to its peers."""
import json, statistics, sys

# In the order of the rows; what is not named here stays in the file only.
METRICS = {
    "MB_s": "MB/s",
    "whole_ms.p50": "a segment, p50, ms",
    "whole_ms.p99": "a segment, p99, ms",
    "server_cpu_s_per_GB": "CPU of the servers, s/GB",
    "ops_s": "writes/s",
    "ms.p50": "p50, ms",
    "ms.p99": "p99, ms",
    "errors": "errors",
    "send_to_last_ms.p50": "send to last, p50, ms",
    "send_to_last_ms.p99": "send to last, p99, ms",
    "lost": "events lost",
    "first_ok_ms": "to the first write, ms",
    "all_ok_ms": "to a write of each client, ms",
    "gap_ms": "longest time without a write, ms",
    "acks_s_before": "writes/s before",
    "lost_trials": "without a write until the end",
    "first_write_ms": "start to the first write, ms",
    "server_cpu_us_per_op": "CPU of all nodes a write, µs",
    "cpu.server_cores": "CPU of all nodes, cores",
    "cpu.server_rss_mb": "memory of all nodes, MB",
    "rss_mb": "memory of all nodes, MB",
    "disk_mb": "disk of a node, MB",
}

# What is compared: Jam's figure over the peer's.
RATIOS = [("jam", "etcd"), ("jam HTTP", "nginx"), ("jam", "tonic")]


def spread(values):
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def figures(line):
    """Yields (target, case, metric, figure) of one line."""
    for target, results in line["results"].items():
        for case, found in results.items():
            if isinstance(found, dict):
                for metric, figure in found.items():
                    if isinstance(figure, dict):
                        yield target, case.replace("subs_", "watchers_"), metric, figure
            elif case == "lost_trials":
                yield target, "kill", case, spread([found])
    for target, sizes in line.get("disk_mb", {}).items():
        yield target, "at the end", "disk_mb", spread(sizes)


def number(x):
    """Three digits, or all before the point."""
    return "%.0f" % x if abs(x) >= 100 else "%.3g" % x


def words(figure):
    return "%s [%s–%s]" % tuple(number(figure[k]) for k in ("median", "min", "max")) if figure else ""


def ratio(by_target, ours, peer):
    ours, peer = by_target.get(ours), by_target.get(peer)
    return "%.2f" % (ours["median"] / peer["median"]) if ours and peer and peer["median"] else ""


def name(case):
    """`clients_16` is 16 clients."""
    what, _, count = case.rpartition("_")
    return "%s %s" % (count, what[:-1] if count == "1" else what) if count.isdigit() else case.replace("_", " ")


targets, cases = [], {}
for line in open(sys.argv[1]):
    for target, case, metric, figure in figures(json.loads(line)):
        if target not in targets:
            targets.append(target)
        cases.setdefault(case, {}).setdefault(metric, {})[target] = figure
ratios = [pair for pair in RATIOS if set(pair) <= set(targets)]
print("| | | %s |" % " | ".join(targets + ["%s / %s" % pair for pair in ratios]))
print("| --- | --- |%s" % (" --- |" * (len(targets) + len(ratios))))
for case, metrics in cases.items():
    for metric in [metric for metric in METRICS if metric in metrics]:
        cells = [words(metrics[metric].get(target)) for target in targets] + [ratio(metrics[metric], *pair) for pair in ratios]
        print("| %s | %s | %s |" % (name(case), METRICS[metric], " | ".join(cells)))
