"""table.py FILE: the harness's figures (a JSON object a line) as one Markdown table; the ratio is of Jam over etcd."""
import json, sys

# In the order of the rows; what is not named here stays in the file only.
METRICS = {
    "ops_s": "writes/s",
    "ms.p50": "p50, ms",
    "ms.p99": "p99, ms",
    "errors": "errors",
    "send_to_last_ms.p50": "send to last, p50, ms",
    "send_to_last_ms.p99": "send to last, p99, ms",
    "lost": "lost",
    "first_ok_ms": "to the first write, ms",
    "all_ok_ms": "to a write of each of 8 clients, ms",
    "gap_ms": "longest time without a write, ms",
    "acks_s_before": "writes/s before",
    "failed_attempts": "failed attempts",
    "first_write_ms": "start to the first write, ms",
    "server_cpu_us_per_op": "CPU of all nodes a write, µs",
    "cpu.server_cores": "CPU of all nodes, cores",
    "cpu.server_rss_mb": "memory of all nodes, MB",
    "rss_mb": "memory of all nodes, MB",
}


def read(path):
    """Figures by case, metric and target; and the targets in order."""
    cases, targets = {}, []
    for line in open(path):
        for target, results in json.loads(line)["results"].items():
            if target not in targets:
                targets.append(target)
            for case, figures in results.items():
                if isinstance(figures, dict):
                    for metric, figure in figures.items():
                        if isinstance(figure, dict):
                            by_target = cases.setdefault(case.replace("subs_", "watchers_"), {}).setdefault(metric, {})
                            by_target[target] = figure
    return cases, targets


def words(figure):
    if not figure:
        return ""
    return "%.4g [%.4g–%.4g]" % (figure["median"], figure["min"], figure["max"])


def ratio(figures):
    etcd, jam = figures.get("etcd"), figures.get("jam")
    return "%.2f" % (jam["median"] / etcd["median"]) if etcd and jam and etcd["median"] else ""


cases, targets = read(sys.argv[1])
print("| | | %s | jam / etcd |" % " | ".join(targets))
print("| --- | --- |%s --- |" % (" --- |" * len(targets)))
for case, metrics in cases.items():
    name = " ".join(reversed(case.split("_"))) if case[-1].isdigit() else case.replace("_", " ")
    for metric, label in METRICS.items():
        if metric in metrics:
            figures = metrics[metric]
            print("| %s | %s | %s | %s |" % (name, label, " | ".join(words(figures.get(t)) for t in targets), ratio(figures)))
