"""Optimal control problems as .nl files: costate beside Ipopt (CasADi's), on the same files.

    python3 -m venv venv && venv/bin/pip install casadi numpy
    cargo run --release --example optimal_control -- solve robot_arm --write robot_arm.nl
    venv/bin/python benches/peers/control_ipopt.py COSTATE FILE.nl...

COSTATE is the command. Seconds of a solve without reading, shortest of three runs, one thread each; CasADi's evaluations are its virtual machine's.
"""

import json
import os
import subprocess
import sys
import time

import casadi as ca

REPEATS = 3
LIMIT = 60


def ipopt(path):
    builder = ca.NlpBuilder()
    builder.import_nl(path)
    options = {"ipopt.print_level": 0, "print_time": False, "ipopt.sb": "yes", "ipopt.max_wall_time": LIMIT}
    nlp = {"f": builder.f, "x": ca.vertcat(*builder.x), "g": ca.vertcat(*builder.g)}
    solver = ca.nlpsol("solver", "ipopt", nlp, options)
    best = float("inf")
    for _ in range(REPEATS):
        begin = time.perf_counter()
        answer = solver(x0=builder.x_init, lbx=builder.x_lb, ubx=builder.x_ub, lbg=builder.g_lb, ubg=builder.g_ub)
        best = min(best, time.perf_counter() - begin)
    stats = solver.stats()
    return best, stats["iter_count"], float(answer["f"]), stats["return_status"]


def costate(command, path):
    best = float("inf")
    for _ in range(REPEATS):
        out = subprocess.run([command, "solve", path, "--json", "--time-limit", str(LIMIT)], capture_output=True, text=True).stdout
        report = json.loads(out)
        best = min(best, report["time"]["solve"])
    return best, report["iterations"], report["objective"], report["stop"]


def name_of(stop):
    return stop if isinstance(stop, str) else next(iter(stop))


print("| file | costate s, iterations, value | Ipopt s, iterations, value | ratio |")
print("|---|---|---|---|")
for path in sys.argv[2:]:
    a, b = costate(sys.argv[1], path), ipopt(path)
    ends = "" if name_of(a[3]) == "converged" and b[3] == "Solve_Succeeded" else f" {name_of(a[3])}, {b[3]}"
    print(f"| {os.path.basename(path)} | {a[0]:.3f}, {a[1]}, {a[2]:.8f} | {b[0]:.3f}, {b[1]}, {b[2]:.8f} | {a[0] / b[0]:.2f}{ends} |", flush=True)
