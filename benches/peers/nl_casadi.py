"""One evaluation of f and c, of gradient and Jacobian, of the Hessian of the Lagrangian: costate beside CasADi's import of the same .nl files.

    python3 -m venv venv && venv/bin/pip install casadi numpy
    venv/bin/python benches/peers/nl_casadi.py [--c] [--bench PROGRAM] FILE.nl...

PROGRAM is benches/nl.rs, built; without it cargo builds it.

CasADi runs its virtual machine; with --c also C made by its code generator (gcc -O2). Times are medians in one run on one machine, one thread.
"""

import gzip
import json
import os
import subprocess
import sys
import tempfile
import time

import casadi as ca
import numpy as np

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")


def plain(path, folder):
    if not path.endswith(".gz"):
        return path
    out = os.path.join(folder, os.path.basename(path)[:-3])
    with gzip.open(path, "rb") as f, open(out, "wb") as g:
        g.write(f.read())
    return out


def median(call):
    call()
    begin, times = time.perf_counter(), []
    while len(times) < 5 or (time.perf_counter() - begin < 0.5 and len(times) < 2000):
        one = time.perf_counter()
        call()
        times.append(time.perf_counter() - one)
    return float(np.median(times))


def compiled(function, folder):
    """The function through generated C, or nothing where the compiler takes longer than ten minutes."""
    name = function.name()
    here = os.getcwd()
    os.chdir(folder)
    try:
        function.generate(name + ".c")
        try:
            subprocess.run(["gcc", "-O2", "-fPIC", "-shared", name + ".c", "-o", name + ".so"], check=True, timeout=600)
        except subprocess.TimeoutExpired:
            return None
        return ca.external(name, os.path.join(folder, name + ".so"))
    finally:
        os.chdir(here)


def timed(function, args):
    """Median of calls through buffers, without conversions."""
    buffer, trigger = function.buffer()
    keep = []
    for k, a in enumerate(args):
        a = np.ascontiguousarray(a, dtype=float)
        keep.append(a)
        buffer.set_arg(k, memoryview(a))
    for k in range(function.n_out()):
        r = np.zeros(max(function.nnz_out(k), 1))
        keep.append(r)
        buffer.set_res(k, memoryview(r))

    def call():
        keep[0][:] *= 1 + 1e-12
        trigger()

    return median(call)


def functions(path):
    nl = ca.NlpBuilder()
    nl.import_nl(path, {"verbose": False})
    # Scalar operations, CasADi's faster representation.
    whole = ca.Function("whole", [ca.vertcat(*nl.x)], [ca.MX(nl.f), ca.MX(ca.vertcat(*nl.g))]).expand()
    x = ca.SX.sym("x", whole.numel_in(0))
    f, g = whole(x)
    y = ca.SX.sym("y", g.numel())
    values = ca.Function("values", [x], [f, g])
    first = ca.Function("first", [x], [ca.gradient(f, x), ca.jacobian(g, x)])
    second = ca.Function("second", [x, y], [ca.tril(ca.hessian(f + ca.dot(y, g), x)[0])])
    lower, upper = np.maximum(np.array(nl.x_lb), -1e3), np.minimum(np.array(nl.x_ub), 1e3)
    x0 = np.array(nl.x_init)
    x0 = np.minimum(np.maximum(x0, lower + 0.01 * (upper - lower)), upper - 0.01 * (upper - lower))
    y0 = 1.0 / (1.0 + np.arange(g.numel()))
    return values, first, second, x0, y0


def main():
    args = sys.argv[1:]
    with_c = "--c" in args
    bench = ["cargo", "bench", "--bench", "nl", "--"]
    if "--bench" in args:
        at = args.index("--bench")
        bench = [os.path.abspath(args[at + 1])]
        del args[at : at + 2]
    files = [os.path.abspath(a) for a in args if a != "--c"]
    ours = subprocess.run([*bench, "--table", *files], cwd=ROOT, capture_output=True, text=True, check=True)
    rows = [json.loads(line) for line in ours.stdout.splitlines() if line.startswith("{")]
    print(f"{'file':28}{'':10}{'f, c':>12}{'grad, J':>12}{'H':>12}   microseconds, and costate / CasADi")
    for row in rows:
        with tempfile.TemporaryDirectory() as folder:
            name = os.path.basename(row["file"])
            our = [row[k] for k in ("values", "first", "second")]
            print(f"{name:28}{'costate':10}" + "".join(f"{1e6 * t:12.1f}" for t in our), flush=True)
            try:
                values, first, second, x0, y0 = functions(plain(row["file"], folder))
            except Exception as e:
                print(f"{name:28}CasADi: {str(e).splitlines()[-1]}", flush=True)
                continue
            for label in ["machine"] + (["C"] if with_c else []):
                made = [f if label == "machine" else compiled(f, folder) for f in (values, first, second)]
                peer = [timed(f, a) if f else float("nan") for f, a in zip(made, ([x0.copy()], [x0.copy()], [x0.copy(), y0]))]
                print(f"{'':28}{label:10}" + "".join(f"{1e6 * t:12.1f}" for t in peer) + "   " + "".join(f"{o / p:8.3f}" for o, p in zip(our, peer)), flush=True)


main()
