"""Jam and Snapcast, as sync.py measures them: servers on this machine that play SONG, and the commands of their players."""
import glob, json, os, shutil, signal, socket, subprocess, sys, time, wave

HERE = os.path.dirname(os.path.abspath(__file__))
TICKS_PER_SEC = os.sysconf("SC_CLK_TCK")
IDLE_CORES = 0.05
IDLE_SECS_MAX = 300


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def quiet(command, log=subprocess.DEVNULL):
    # In a session of its own, so that Ctrl-C reaches it through us alone, in our order.
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)


def stop(process):
    if process is None or process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def cores(pids, secs=2):
    def ticks():
        fields = [open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split() for pid in pids]
        return sum(int(field[11]) + int(field[12]) for field in fields)
    before = ticks()
    time.sleep(secs)
    return (ticks() - before) / TICKS_PER_SEC / secs


class Way:
    """A poor path to each of `ports`."""

    def __init__(self, ports):
        self.ports = {port: free_port() for port in ports}
        ways = [f"{there}={port}" for port, there in self.ports.items()]
        self.process = quiet([sys.executable, f"{HERE}/lag.py", *ways])

    def wait(self):
        for port in self.ports.values():
            wait_for(lambda port=port: answers(port), f"nothing answers on port {port}")


def answers(port):
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


def wait_for(ready, trouble, secs=30):
    end = time.monotonic() + secs
    while not ready():
        if time.monotonic() > end:
            raise SystemExit(f"sync: {trouble} after {secs} s")
        time.sleep(0.05)


class Jam:
    # How long the node that led is away: the others play on.
    mended_after_secs = 10
    # Whatever happens to the servers, the song goes on where it would be.
    keeps_place = True

    def __init__(self, options, folder, raw):
        self.bin, self.folder, self.raw = os.path.abspath(options.bin), folder, raw
        self.homes = [f"{folder}/player{k}" for k in (1, 2, 3)]
        self.ports = [free_port() for _ in range(3)]
        self.nodes, self.way = [None] * 3, None
        self.servers = ",".join(f"127.0.0.1:{port}" for port in self.ports)
        self.song = f"{folder}/song.wav"
        with wave.open(self.song, "wb") as song, open(raw, "rb") as sound:
            song.setparams((2, 2, 48000, 0, "NONE", ""))
            song.writeframes(sound.read())

    def command(self, *words):
        command = [f"{self.bin}/jam", "--servers", self.servers, "--state-dir", f"{self.folder}/host", "--deadline", "60", "--json", *words]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=True)
        return json.loads(done.stdout.splitlines()[-1])

    def start_nodes(self):
        peers = ",".join(f"{n}=127.0.0.1:{port}" for n, port in enumerate(self.ports, 1))
        for n, port in enumerate(self.ports, 1):
            if self.nodes[n - 1] is None:
                command = [f"{self.bin}/jamd", "--id", str(n), "--data", f"{self.folder}/node{n}", "--listen", f"127.0.0.1:{port}"]
                with open(f"{self.folder}/node{n}.log", "ab") as log:
                    self.nodes[n - 1] = quiet([*command, "--peers", peers], log)

    def serve(self, poor_path):
        """The song plays in a room of its own. What the nodes do once with a song they have done."""
        for home in self.homes:
            shutil.rmtree(home, ignore_errors=True)
            os.mkdir(home)
        self.start_nodes()
        room = self.command("create", "Bench")["room"]
        self.command("add", room, self.song)
        end = time.monotonic() + IDLE_SECS_MAX
        while cores([node.pid for node in self.nodes]) > IDLE_CORES:
            if time.monotonic() > end:
                raise SystemExit(f"sync: the nodes are still busy with the song after {IDLE_SECS_MAX} s")
        detours = ""
        if poor_path:
            self.way = Way(self.ports)
            self.way.wait()
            detours = ",".join(f"127.0.0.1:{port}=127.0.0.1:{there}" for port, there in self.way.ports.items())
        self.command("play", room)
        # rig.py puts the player's number for {k}.
        home = self.folder + "/player{k}"
        command = f"{self.bin}/jam --servers {self.servers} --state-dir {home}/state --cache-dir {home}/cache join {room} --headless"
        return command + (f" --connect-to {detours}" if detours else "") + f" --trace {home}/player{{k}}.trace"

    def left_over(self):
        return glob.glob(f"{self.folder}/player*/*.trace") + glob.glob(f"{self.folder}/*.log")

    def counted(self):
        """The underruns and jumps that each player knows of."""
        last = [open(f"{home}/{os.path.basename(home)}.trace").read().splitlines()[-1] for home in self.homes]
        return [{what: json.loads(line)[what] for what in ("underruns", "jumps")} for line in last]

    def kill_one(self):
        leader = self.command("cluster", "status")["leader"]
        kill(self.nodes[leader - 1])
        self.nodes[leader - 1] = None

    def kill_all(self):
        for node in self.nodes:
            kill(node)
        self.nodes = [None] * 3

    mend = start_nodes

    def close(self):
        for process in [self.way and self.way.process, *self.nodes]:
            stop(process)
        self.nodes, self.way = [None] * 3, None


def kill(process):
    process.send_signal(signal.SIGKILL)
    process.wait()


class Snapcast:
    # There is but one server, so it comes back as soon as a supervisor would start it.
    mended_after_secs = 1
    keeps_place = False

    def __init__(self, options, folder, raw):
        self.folder, self.raw, self.turn = folder, raw, 0
        self.server = self.source = self.way = None

    def serve(self, poor_path):
        self.turn += 1
        self.port, fifo = free_port(), f"{self.folder}/fifo{self.turn}"
        os.mkfifo(fifo)
        with open(f"{self.folder}/conf", "w") as conf:
            conf.write(f"[server]\ndatadir = {self.folder}\n[http]\nenabled = false\n[tcp]\nenabled = false\n"
                       f"[stream]\nbind_to_address = 127.0.0.1\nport = {self.port}\n"
                       f"source = pipe://{fifo}?name=default&sampleformat=48000:16:2&mode=read\ncodec = pcm\n")
        self.mend()
        wait_for(lambda: answers(self.port), "snapserver does not answer")
        # The server reads at the rate of the music. Open both ways, the pipe outlives the server.
        self.source = quiet(["sh", "-c", 'exec cat "$0" 1<>"$1"', self.raw, fifo])
        port = self.port
        if poor_path:
            self.way = Way([port])
            self.way.wait()
            port = self.way.ports[port]
        return f"snapclient -h 127.0.0.1 -p {port} -i {{k}} --hostID bench{{k}} --player alsa --logsink stdout"

    def left_over(self):
        return [f"{self.folder}/server.log"]

    def counted(self):
        return []

    def kill_one(self):
        kill(self.server)

    kill_all = kill_one

    def mend(self):
        with open(f"{self.folder}/server.log", "ab") as log:
            self.server = quiet(["snapserver", "-c", f"{self.folder}/conf"], log)

    def close(self):
        for process in (self.way and self.way.process, self.source, self.server):
            stop(process)
        self.server = self.source = self.way = None
