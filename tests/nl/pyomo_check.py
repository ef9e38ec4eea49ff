#!/usr/bin/env python3
"""Pyomo solves models of its own with the command: values, multipliers in the user's sense, ends. usage: pyomo_check.py FOLDER_OF_COSTATE"""
import os
import sys

os.environ["PATH"] = os.path.abspath(sys.argv[1]) + os.pathsep + os.environ["PATH"]
import pyomo.environ as pyo
from pyomo.opt import TerminationCondition as Ends

wrong = []


def close(what, found, expected, tolerance=1e-5):
    if found is None or abs(found - expected) > tolerance * max(1.0, abs(expected)):
        wrong.append(f"{what}: {found}, expected {expected}")


def solve(model, **options):
    model.dual = pyo.Suffix(direction=pyo.Suffix.IMPORT)
    return pyo.SolverFactory("costate").solve(model, options=options).solver.termination_condition


def hs71(sense):
    m = pyo.ConcreteModel()
    m.x = pyo.Var(range(4), bounds=(1, 5), initialize=dict(enumerate([1, 5, 5, 1])))
    x = m.x
    f = x[0] * x[3] * (x[0] + x[1] + x[2]) + x[2]
    m.f = pyo.Objective(expr=f if sense == pyo.minimize else -f, sense=sense)
    m.product = pyo.Constraint(expr=x[0] * x[1] * x[2] * x[3] >= 25)
    m.sphere = pyo.Constraint(expr=sum(x[k] ** 2 for k in range(4)) == 40)
    return m


for sense, sign in [(pyo.minimize, 1), (pyo.maximize, -1)]:
    m = hs71(sense)
    if solve(m) != Ends.optimal:
        wrong.append(f"HS71 {sense}: not solved")
    close("HS71 f", pyo.value(m.f), sign * 17.0140173)
    close("HS71 x[1]", m.x[1].value, 4.7429994)
    close("HS71 product", m.dual[m.product], sign * 0.55229366)
    close("HS71 sphere", m.dual[m.sphere], sign * -0.16146857)

# A linear program: max 3 a + 2 b, a + b <= 4, a + 3 b <= 6, a <= 3: (3, 1), prices 2 and 0.
m = pyo.ConcreteModel()
m.a, m.b = pyo.Var(bounds=(0, 3)), pyo.Var(bounds=(0, None))
m.f = pyo.Objective(expr=3 * m.a + 2 * m.b, sense=pyo.maximize)
m.first, m.second = pyo.Constraint(expr=m.a + m.b <= 4), pyo.Constraint(expr=m.a + 3 * m.b <= 7)
if solve(m) != Ends.optimal:
    wrong.append("LP: not solved")
close("LP f", pyo.value(m.f), 11)
close("LP first", m.dual[m.first], 2)
close("LP second", m.dual[m.second], 0)

# Named expressions, a condition, fixed variables.
m = pyo.ConcreteModel()
m.x, m.y, m.z = pyo.Var(initialize=0.5), pyo.Var(initialize=2.0), pyo.Var(initialize=3.0)
m.z.fix(3)
m.e = pyo.Expression(expr=m.x * m.y)
m.f = pyo.Objective(expr=(m.e - 2) ** 2 + pyo.Expr_if(m.x >= 1, (m.x - 1) ** 2, 4 * (m.x - 1) ** 2) + m.z)
m.c = pyo.Constraint(expr=(1, m.e + m.y, 4))
if solve(m) != Ends.optimal:
    wrong.append("expressions: not solved")
close("expressions f", pyo.value(m.f), 3)

m = pyo.ConcreteModel()
m.x = pyo.Var(initialize=1.0)
m.f = pyo.Objective(expr=m.x)
m.c = pyo.Constraint(expr=m.x**2 <= -1)
ends = solve(m)
if ends != Ends.infeasible:
    wrong.append(f"infeasible: {ends}")
ends = solve(hs71(pyo.minimize), max_iter=2)
if ends != Ends.maxIterations:
    wrong.append(f"max_iter=2: {ends}")

print("\n".join(wrong) or "Pyomo: all as expected")
sys.exit(1 if wrong else 0)
