"""The spiral neural SDE of `cargo bench --bench sde -- --table` as a scan written by hand in JAX: 116 Euler-Maruyama steps, 100 trajectories, value and gradient.

    pip install jax
    taskset -c 0 python benches/peers/spiral_sde_jax.py

Best time of 2 s of calls, compilation not counted; normal numbers drawn anew in every call, as in the bench.
"""
import time

import jax
import jax.numpy as jnp

jax.config.update("jax_enable_x64", True)
PATHS, STEPS = 100, 116


def run(dtype):
    key = jax.random.PRNGKey(0)
    w1, w2, w3 = (0.3 * jax.random.uniform(k, s, dtype, -1, 1)
                  for k, s in zip(jax.random.split(key, 3), ((50, 2), (2, 50), (2, 2))))
    p = (w1, jnp.zeros(50, dtype), w2, jnp.zeros(2, dtype), w3, jnp.zeros(2, dtype))
    h = jnp.asarray(1 / STEPS, dtype)
    # States nearest to the 30 save points.
    saved = jnp.round(jnp.linspace(0, STEPS, 30)).astype(int)

    def loss(p, key):
        w1, b1, w2, b2, w3, b3 = p
        noise = jnp.sqrt(h) * jax.random.normal(key, (STEPS, PATHS, 2), dtype)

        def step(u, w):
            f = jnp.tanh(u**3 @ w1.T + b1) @ w2.T + b2
            u = u + h * f + (u @ w3.T + b3) * w
            return u, u

        u0 = jnp.tile(jnp.asarray([2.0, 0.0], dtype), (PATHS, 1))
        _, path = jax.lax.scan(step, u0, noise)
        path = jnp.concatenate([u0[None], path])[saved]
        mean, var = path.mean(1), path.var(1)
        return jnp.sum((mean - 1) ** 2) + jnp.sum((var - 0.1) ** 2)

    both = jax.jit(jax.value_and_grad(loss))
    jax.block_until_ready(both(p, key))
    least, end = float("inf"), time.time() + 2
    while time.time() < end:
        key, now = jax.random.split(key)
        jax.block_until_ready(now)
        begun = time.perf_counter()
        jax.block_until_ready(both(p, now))
        least = min(least, time.perf_counter() - begun)
    print(f"jax {jax.__version__}, {jnp.dtype(dtype).name}: {1e3 * least:.3f} ms")


for dtype in (jnp.float32, jnp.float64):
    run(dtype)
