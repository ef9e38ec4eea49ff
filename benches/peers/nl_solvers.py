"""Solve times of costate and other solvers on .nl models, side by side in one run.

    python3 -m venv venv && venv/bin/pip install pounce-solver
    venv/bin/python benches/peers/nl_solvers.py COSTATE FOLDER [POUNCE ipopt ...]

POUNCE is the program inside its package (lib/python3*/site-packages/pounce/bin/pounce): the script beside Python takes most of a second to start.

Each solver is called as AMPL does (STUB -AMPL), whole processes are timed, in turn, three runs each, the least counts (one run where it takes more than two
seconds; a limit of 120 seconds). A model counts where reference.csv in the folder expects a solution and both say that they have one; the mean is geometric,
with a shift of 1 ms.
"""

import csv
import gzip
import math
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time


def run(command, stub, folder):
    sol = os.path.join(folder, "m.sol")
    if os.path.exists(sol):
        os.remove(sol)
    begin = time.perf_counter()
    process = subprocess.Popen([command, stub, "-AMPL"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    # A wait with a limit would poll.
    limit = threading.Timer(120.0, process.kill)
    limit.start()
    process.wait()
    seconds = time.perf_counter() - begin
    limit.cancel()
    solved = False
    if os.path.exists(sol):
        with open(sol, errors="replace") as f:
            status = [line.split() for line in f if line.startswith("objno")]
        solved = bool(status) and 0 <= int(status[-1][2]) < 200
    return seconds, solved


def main():
    costate, folder, peers = os.path.abspath(sys.argv[1]), sys.argv[2], sys.argv[3:] or ["pounce"]
    here = os.path.dirname(sys.executable)
    commands = [costate] + [shutil.which(p, path=here + os.pathsep + os.environ["PATH"]) or sys.exit(f"{p} is not there") for p in peers]
    with open(os.path.join(folder, "reference.csv")) as f:
        rows = [r for r in csv.DictReader(f) if r["expect"] == "solve"]
    peers = [os.path.basename(p) for p in peers]
    logs = {p: [] for p in peers}
    solved = dict.fromkeys(["costate", *peers], 0)
    for row in rows:
        path = os.path.join(folder, row["name"] + ".nl")
        with tempfile.TemporaryDirectory() as work:
            stub = os.path.join(work, "m.nl")
            if os.path.exists(path):
                shutil.copy(path, stub)
            else:
                with gzip.open(path + ".gz", "rb") as f, open(stub, "wb") as g:
                    g.write(f.read())
            best = [(math.inf, False)] * len(commands)
            for _ in range(3):
                for k, command in enumerate(commands):
                    if best[k][0] <= 2.0 or best[k][0] == math.inf:
                        seconds, ok = run(command, stub, work)
                        best[k] = (min(best[k][0], seconds), ok)
        for name, (_, ok) in zip(solved, best):
            solved[name] += ok
        for peer, (seconds, ok) in zip(peers, best[1:]):
            if ok and best[0][1]:
                logs[peer].append(math.log((best[0][0] + 1e-3) / (seconds + 1e-3)))
        print(f"{row['name']:28}" + "".join(f"{1e3 * s:12.1f}{' ' if ok else '!'}" for s, ok in best), flush=True)
    print("solved: " + ", ".join(f"{name} {count}" for name, count in solved.items()) + f" of {len(rows)}")
    for peer, values in logs.items():
        print(f"costate / {peer}: {math.exp(sum(values) / len(values)):.3f} (geometric mean of {len(values)}, shift 1 ms)")


main()
