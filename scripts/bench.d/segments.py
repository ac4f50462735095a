"""segments.py --peers DIR --bin DIR --song FILE [--runs N] [--secs S] [--clients N,…]: one segment of a song, again and again, from a
cluster by gRPC and by HTTP; the same bytes from nginx as a range of a file, and from a bare tonic server as one message.

One JSON line as the harness's own scripts print; DIR is the harness's folder. Needs nginx, and release builds of jamd, jam and
jam-chaos in --bin.
"""
import argparse, json, os, shutil, subprocess, sys

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--peers", required=True)
parser.add_argument("--bin", required=True)
parser.add_argument("--song", required=True)
parser.add_argument("--runs", type=int, default=5)
parser.add_argument("--secs", type=float, default=4)
parser.add_argument("--clients", default="1,16,64")
parser.add_argument("--dir", help="parent of the scratch folder")
options = parser.parse_args()
sys.path.insert(0, options.peers)
from common import Target, emit, free_ports, loader, ratios, run_loader, summarise, wait_port, workdir

HERE = os.path.dirname(os.path.abspath(__file__))
NGINX = """daemon off; user root; worker_processes auto; pid {dir}/pid; error_log {dir}/errors;
events {{ worker_connections 1024; }}
http {{ access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000000; default_type application/octet-stream;
  client_body_temp_path {dir}/1; proxy_temp_path {dir}/2; fastcgi_temp_path {dir}/3; uwsgi_temp_path {dir}/4; scgi_temp_path {dir}/5;
  server {{ listen 127.0.0.1:{port}; root {dir}; }} }}
"""
METRICS = ["MB_s", "request_ms.p50", "request_ms.p99", "whole_ms.p50", "whole_ms.p99", "server_cpu_s_per_GB", "cpu.server_cores",
           "cpu.loader_cores", "cpu.server_rss_mb", "cpu.other_cores", "errors"]

song = os.path.abspath(options.song)
segment = json.loads(subprocess.run([f"{options.bin}/jam-chaos", "bench", "segment", song], stdout=subprocess.PIPE, check=True).stdout)
size, folder, servers = segment["bytes"], workdir(options.dir), []
jam = Target(f"{HERE}/jam.json", {"bin": options.bin})
jam.d["setup"].append(["{bin}/jam", "--servers", "{servers}", "--state-dir", "{dir}/host", "add", "{room}", song])


def requests(name, value):
    """How a request over HTTP takes as long as one over gRPC is called."""
    found = value.pop("request_ms", None)
    return value if found is None else dict(value, whole_ms=found)


try:
    jam.start(options.dir)
    nginx_port, tonic_port = free_ports(2)
    with open(f"{folder}/conf", "w") as conf:
        conf.write(NGINX.format(dir=folder, port=nginx_port))
    with open(f"{folder}/segment", "wb") as file:
        file.write(os.urandom(size))
    nginx = subprocess.Popen(["nginx", "-c", f"{folder}/conf", "-p", folder, "-e", f"{folder}/errors"])
    servers.append(nginx)
    tonic = subprocess.Popen([loader(), "chunk-server", "--addr", f"127.0.0.1:{tonic_port}", "--song-bytes", str(-(-size // 8) * 8)])
    servers.append(tonic)
    for port in (nginx_port, tonic_port):
        wait_port(port)
    ranged = ["--range", size, "--file-bytes", size]
    path = f"/audio/{segment['track']}/original/{segment['index']}/{segment['hash']}"
    cases = {
        "nginx": (["http-range", "--addr", f"127.0.0.1:{nginx_port}", "--path", "/segment", *ranged], lambda: [nginx.pid]),
        "jam HTTP": (["http-range", "--addr", jam.addrs[0], "--path", path, *ranged], jam.pids),
        "tonic": (["grpc-stream", "--addrs", f"127.0.0.1:{tonic_port}", "--path", "/peer.Chunks/Stream", "--field", "1=u:1",
                   "--field", f"2=u:{size}"], lambda: [tonic.pid]),
        "jam": (["grpc-stream", "--addrs", ",".join(jam.addrs), "--path", "/jam.v1.Segments/Segment", "--field", f"1=x:{segment['track']}",
                 "--field", f"3=u:{segment['index']}", "--field", f"4=x:{segment['hash']}"], jam.pids),
    }
    runs = {}
    for _ in range(options.runs):
        for name, (arguments, pids) in cases.items():
            for clients in options.clients.split(","):
                run = run_loader([*arguments, "--clients", clients, "--warmup", 0.7, "--secs", options.secs], pids(), options.secs)
                run["server_cpu_s_per_GB"] = run["cpu"]["server_cores"] / max(run["MB_s"] / 1e3, 1e-9)
                runs.setdefault(name, {}).setdefault(f"clients_{clients}", []).append(requests(name, run))
                print(name, clients, run["MB_s"], run["cpu"], file=sys.stderr)
finally:
    for server in servers:
        server.terminate()
        server.wait(10)
    jam.close()
    shutil.rmtree(folder, ignore_errors=True)
results = {name: {case: {k: v for k, v in summarise(rows, METRICS).items() if v is not None} for case, rows in cases.items()} for name, cases in runs.items()}
emit("segments", secs=options.secs, bytes=size, results=results, ratios=ratios(results))
