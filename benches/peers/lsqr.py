"""scipy's lsqr and numpy's lstsq on the data of examples/large_regression.rs: time and backward error.

large_regression --rows M --columns N --family least-squares --method sketch --write FILE, then: python lsqr.py FILE M N [iterations]
"""
import sys
import time

import numpy as np
import scipy.linalg
import scipy.sparse.linalg

path, m, n = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
limit = int(sys.argv[4]) if len(sys.argv) > 4 else 4 * n
data = np.fromfile(path)
a, b = data[: m * n].reshape(m, n), data[m * n :]
r_factor = scipy.linalg.qr(a, mode="r", check_finite=False)[0][:n]
norm_a, norm_b = np.linalg.norm(a), np.linalg.norm(b)


def backward_error(x):
    """As `randomized::backward_error`, with the exact R."""
    r = b - a @ x
    g = a.T @ r
    weight = (norm_b / norm_a) ** 2 + x @ x
    stacked = np.vstack([r_factor, np.sqrt(r @ r / weight) * np.eye(n)])
    shifted = np.linalg.qr(stacked, mode="r")
    return np.linalg.norm(scipy.linalg.solve_triangular(shifted, g, trans="T")) / (np.sqrt(weight) * norm_a)


def report(name, solve):
    wall, cpu = time.perf_counter(), time.process_time()
    x, steps = solve()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(f"{name:22} {wall:8.2f} wall s {cpu:8.2f} cpu s {steps:6} steps, backward error {backward_error(x):.2e}", flush=True)


def lsqr():
    out = scipy.sparse.linalg.lsqr(a, b, atol=0, btol=0, conlim=0, iter_lim=limit)
    return out[0], out[2]


def householder():
    q, r = scipy.linalg.qr(a, mode="economic", check_finite=False)
    return scipy.linalg.solve_triangular(r, q.T @ b), 1


report("scipy qr", householder)
report("scipy lsqr", lsqr)
