"""Botorch's defaults on the problems of benches/bayes_opt.rs: one line of JSON a run.

pip install botorch;  python bayes_opt_botorch.py [SEEDS] [EVALUATIONS] [PROBLEM ...]

SingleTaskGP with its default priors, LogExpectedImprovement (LogConstrainedExpectedImprovement with constraints), optimize_acqf with 10 restarts and 512 raw
samples, one thread. The first 2 (d + 1) points (at most 20) are Sobol points, as many as ours. Seconds are processor time of the proposals.
"""
import json
import math
import sys
import time
import warnings

import torch
from botorch.acquisition.analytic import LogConstrainedExpectedImprovement, LogExpectedImprovement
from botorch.fit import fit_gpytorch_mll
from botorch.models import ModelListGP, SingleTaskGP
from botorch.models.transforms import Standardize
from botorch.optim import optimize_acqf
from gpytorch.mlls import ExactMarginalLogLikelihood, SumMarginalLogLikelihood

warnings.filterwarnings("ignore")
torch.set_num_threads(1)
torch.set_default_dtype(torch.float64)


def branin(x):
    a = x[1] - 5.1 / (4 * math.pi**2) * x[0] ** 2 + 5 / math.pi * x[0] - 6
    return a * a + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x[0]) + 10, []


A = [[10, 3, 17, 3.5, 1.7, 8], [0.05, 10, 17, 0.1, 8, 14], [3, 3.5, 1.7, 10, 17, 8], [17, 8, 0.05, 10, 0.1, 14]]
P = [[1312, 1696, 5569, 124, 8283, 5886], [2329, 4135, 8307, 3736, 1004, 9991], [2348, 1451, 3522, 2883, 3047, 6650], [4047, 8828, 8732, 5743, 1091, 381]]


def hartmann6(x):
    total = 0.0
    for alpha, a, p in zip([1.0, 1.2, 3.0, 3.2], A, P):
        total += alpha * math.exp(-sum(a[j] * (x[j] - 1e-4 * p[j]) ** 2 for j in range(6)))
    return -total, []


def ackley10(x):
    n = len(x)
    r = math.sqrt(sum(v * v for v in x) / n)
    c = sum(math.cos(2 * math.pi * v) for v in x) / n
    return -20 * math.exp(-0.2 * r) - math.exp(c) + 20 + math.e, []


def gramacy(x):
    wave = math.sin(2 * math.pi * (x[0] ** 2 - 2 * x[1]))
    return x[0] + x[1], [1.5 - x[0] - 2 * x[1] - 0.5 * wave, x[0] ** 2 + x[1] ** 2 - 1.5]


PROBLEMS = {
    "branin": (branin, [(-5, 10), (0, 15)], 0, 0.39788735772973816),
    "hartmann6": (hartmann6, [(0, 1)] * 6, 0, -3.322368011415515),
    "ackley10": (ackley10, [(-32.768, 32.768)] * 10, 0, 0.0),
    "gramacy": (gramacy, [(0, 1)] * 2, 2, 0.5997880520),
}


def run(name, seed, evaluations):
    f, bounds, m, optimum = PROBLEMS[name]
    d = len(bounds)
    torch.manual_seed(seed)
    low = torch.tensor([float(b[0]) for b in bounds])
    wide = torch.tensor([float(b[1] - b[0]) for b in bounds])
    unit = torch.stack([torch.zeros(d), torch.ones(d)])
    sobol = torch.quasirandom.SobolEngine(d, scramble=True, seed=seed)
    x = sobol.draw(min(2 * (d + 1), 20), dtype=torch.float64)
    values = [f((low + wide * u).tolist()) for u in x]
    seconds, proposals = 0.0, 0
    feasible = lambda v: all(c <= 0 for c in v[1])
    while len(values) < evaluations:
        began = time.process_time()
        y = torch.tensor([[-v[0]] for v in values])
        best = [-v[0] for v in values if feasible(v)]
        if m == 0:
            model = SingleTaskGP(x, y, outcome_transform=Standardize(1))
            fit_gpytorch_mll(ExactMarginalLogLikelihood(model.likelihood, model))
            acquisition = LogExpectedImprovement(model, best_f=max(best))
        else:
            models = [SingleTaskGP(x, y, outcome_transform=Standardize(1))]
            for k in range(m):
                c = torch.tensor([[v[1][k]] for v in values])
                models.append(SingleTaskGP(x, c, outcome_transform=Standardize(1)))
            model = ModelListGP(*models)
            fit_gpytorch_mll(SumMarginalLogLikelihood(model.likelihood, model))
            limits = {k + 1: (None, 0.0) for k in range(m)}
            first = max(best) if best else float(y.min())
            acquisition = LogConstrainedExpectedImprovement(model, best_f=first, objective_index=0, constraints=limits)
        u, _ = optimize_acqf(acquisition, unit, q=1, num_restarts=10, raw_samples=512)
        seconds += time.process_time() - began
        proposals += 1
        x = torch.cat([x, u])
        values.append(f((low + wide * u[0]).tolist()))
    best = min((v[0] for v in values if feasible(v)), default=math.inf)
    return {"problem": name, "seed": seed, "evaluations": evaluations, "gap": best - optimum, "seconds": seconds / proposals}


if __name__ == "__main__":
    seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    evaluations = int(sys.argv[2]) if len(sys.argv) > 2 else 150
    for seed in range(seeds):
        for name in sys.argv[3:] or PROBLEMS:
            print(json.dumps(run(name, seed, evaluations)), flush=True)
